import { cidrContains, formatUrlHost, parseCidr, parseIp } from '../../runtime/base/cidr.ts';
import type { Host } from '../../runtime/base/host.ts';
import {
  BOTH,
  type Check,
  errorFinding,
  type Finding,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { findRouteOverlaps, parseInterfaceAddresses, parseListeningPorts } from '../parse-network.ts';

const SYSCTL_FILE = '/etc/sysctl.d/99-tkadm.conf';

/** A switch of the kernel that must be on, by IP family. */
const FORWARDING = [
  { family: 4, key: 'net.ipv4.ip_forward', path: '/proc/sys/net/ipv4/ip_forward' },
  { family: 6, key: 'net.ipv6.conf.default.forwarding', path: '/proc/sys/net/ipv6/conf/default/forwarding' },
] as const;

/** What the network must have and must not have. */
export const NETWORK_CHECKS: readonly Check[] = [
  { name: 'Port', scopes: BOTH, observe: observePorts },
  { name: 'AdvertiseAddress', scopes: BOTH, observe: observeAdvertiseAddress },
  { name: 'FileContent', scopes: BOTH, observe: observeForwarding },
  { name: 'CIDROverlap', scopes: BOTH, observe: observeOverlaps },
  { name: 'CNIConfig', scopes: BOTH, observe: observeCniConfig },
  { name: 'Firewalld', scopes: BOTH, observe: observeFirewalld },
  { name: 'HTTPProxy', scopes: BOTH, observe: observeProxy },
];

async function observePorts(host: Host, { ports }: PreflightInput): Promise<readonly Finding[]> {
  if (ports.length === 0) return [];
  const texts = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((path) => host.readFile(path)));
  const listening = new Set(texts.flatMap((text) => parseListeningPorts(text ?? '')));
  return ports
    .filter((port) => listening.has(port))
    .map((port) =>
      errorFinding(
        `Port-${port}`,
        `port ${port} is in use`,
        'a socket listens on it',
        `ss -ltnp 'sport = :${port}'`,
      ),
    );
}

/** The address that other nodes will use: when it is wrong, say which there are. */
async function observeAdvertiseAddress(
  host: Host,
  { advertiseAddress }: PreflightInput,
): Promise<readonly Finding[]> {
  if (advertiseAddress === undefined) return [];
  const { stdout } = await host.run(['ip', '-j', 'addr', 'show']);
  const addresses = parseInterfaceAddresses(stdout);
  if (addresses.length === 0 || addresses.some((row) => row.address === advertiseAddress)) return [];
  const others = addresses.filter((row) => row.isGlobal).map((row) => `${row.address} (${row.device})`);
  return [
    errorFinding(
      'AdvertiseAddress',
      `no interface has the address "${advertiseAddress}"`,
      others.length > 0
        ? `this machine has ${others.join(', ')}`
        : 'this machine has loopback addresses alone',
      `tkadm init --apiserver-advertise-address ${others[0]?.split(' ')[0] ?? 'ADDRESS'}`,
    ),
  ];
}

async function observeForwarding(host: Host, { clusterCidrs }: PreflightInput): Promise<readonly Finding[]> {
  const families = new Set(clusterCidrs.map((text) => parseCidr(text)?.family));
  const rows = FORWARDING.filter((row) => row.family === 4 || families.has(6));
  const findings = await Promise.all(
    rows.map(async ({ key, path }) => {
      const value = (await host.readFile(path))?.trim();
      if (value === '1') return [];
      const script =
        'mkdir -p /etc/sysctl.d && { grep -qsx "$1=1" "$2" || echo "$1=1" >> "$2"; } && echo 1 > "$3"';
      const evidence = value === undefined ? `${path} is not there` : `${path} is ${value}`;
      return [
        {
          ...errorFinding(
            `FileContent-${path.replaceAll('/', '-')}`,
            'packets are not forwarded between interfaces',
            evidence,
            `sysctl -w ${key}=1 && echo ${key}=1 >> ${SYSCTL_FILE}`,
          ),
          ...(value === undefined ? {} : { repair: [['sh', '-c', script, 'sh', key, SYSCTL_FILE, path]] }),
        },
      ];
    }),
  );
  return findings.flat();
}

async function observeOverlaps(host: Host, { clusterCidrs }: PreflightInput): Promise<readonly Finding[]> {
  if (clusterCidrs.length === 0) return [];
  const families = ['-4', ...(clusterCidrs.some((cidr) => cidr.includes(':')) ? ['-6'] : [])];
  const outputs = await Promise.all(families.map((flag) => host.run(['ip', '-j', flag, 'route', 'show'])));
  return outputs
    .flatMap(({ stdout }) => findRouteOverlaps(stdout, clusterCidrs))
    .map(({ cidr, route }) =>
      warningFinding(
        'CIDROverlap',
        `the range ${cidr} is used by this machine's network`,
        `ip route shows ${route}`,
        'choose another --pod-network-cidr or --service-cidr',
      ),
    );
}

/** A network configuration of another product comes before ours, or is left from an earlier cluster. */
async function observeCniConfig(
  host: Host,
  { engine = 'embedded' }: PreflightInput,
): Promise<readonly Finding[]> {
  if (engine !== 'embedded') return [];
  const names = await host.list('/etc/cni/net.d');
  const others = names.filter((name) => /\.(conf|conflist|json)$/.test(name) && !name.includes('tkadm'));
  if (others.length === 0) return [];
  return [
    warningFinding(
      'CNIConfig',
      'another pod network is configured, and it is used instead of the built-in one',
      `/etc/cni/net.d has ${others.join(', ')}`,
      `mv ${others.map((name) => `/etc/cni/net.d/${name}`).join(' ')} /root/`,
    ),
  ];
}

async function observeFirewalld(host: Host, { ports }: PreflightInput): Promise<readonly Finding[]> {
  if (!(await host.stat('/run/systemd/system'))) return [];
  const { stdout } = await host.run(['systemctl', 'is-active', 'firewalld'], { timeoutMs: 5_000 });
  if (stdout.trim() !== 'active') return [];
  const open = ports.filter((port) => ![10248, 10257, 10259].includes(port));
  const flags = open.map((port) => `--add-port=${port}/tcp`).join(' ');
  return [
    warningFinding(
      'Firewalld',
      `firewalld runs: the ports ${open.join(', ')} must be open`,
      'systemctl is-active firewalld says active',
      `firewall-cmd --permanent ${flags} && firewall-cmd --reload`,
    ),
  ];
}

/** A proxy must not stand between the machine and the cluster's own addresses. */
async function observeProxy(_host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const { env = {}, advertiseAddress, clusterCidrs } = input;
  const proxy = env['HTTPS_PROXY'] ?? env['https_proxy'];
  if (!proxy) return [];
  const exceptions = (env['NO_PROXY'] ?? env['no_proxy'] ?? '').split(',').map((text) => text.trim());
  const fix = (target: string) => `export NO_PROXY=${[...exceptions.filter(Boolean), target].join(',')}`;
  const findings: Finding[] = [];
  if (advertiseAddress && !isExcepted(advertiseAddress, exceptions)) {
    findings.push(
      warningFinding(
        'HTTPProxy',
        `requests to https://${formatUrlHost(advertiseAddress)} go through a proxy`,
        'HTTPS_PROXY is set, and NO_PROXY does not name the address',
        fix(advertiseAddress),
      ),
    );
  }
  for (const cidr of clusterCidrs) {
    const first = cidr.split('/')[0]!;
    if (isExcepted(first, exceptions)) continue;
    findings.push(
      warningFinding(
        'HTTPProxyCIDR',
        `requests to the range ${cidr} go through a proxy`,
        'HTTPS_PROXY is set, and NO_PROXY does not name the range',
        fix(cidr),
      ),
    );
  }
  return findings;
}

function isExcepted(address: string, exceptions: readonly string[]): boolean {
  const ip = parseIp(address);
  return exceptions.some((text) => {
    const cidr = parseCidr(text);
    return (
      text === '*' || text === address || (cidr !== undefined && ip !== undefined && cidrContains(cidr, ip))
    );
  });
}
