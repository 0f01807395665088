import { parseCidr } from '../../runtime/base/cidr.ts';
import type { Host } from '../../runtime/base/host.ts';
import {
  type Check,
  clusterCidrs,
  errorFinding,
  type Finding,
  NODES,
  type Observation,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';
import { type ListeningSocket, parseListeningSockets } from '../parse-network.ts';
import { findSocketHolders, formatProcess, listProcesses } from '../processes.ts';

const SYSCTL_FILE = '/etc/sysctl.d/99-tkadm.conf';

/** Ports that are for the machine itself. */
const LOCAL_PORTS: readonly number[] = [10248, 10257, 10259, 2381];

const IPV4_CONF = '/proc/sys/net/ipv4/conf';

/** A switch of the kernel that must be on, by IP family, and what the kernel sets along with it (ip-sysctl). */
const FORWARDING = [
  {
    family: 4,
    key: 'net.ipv4.ip_forward',
    path: '/proc/sys/net/ipv4/ip_forward',
    alongWith: [`${IPV4_CONF}/default/forwarding`, `${IPV4_CONF}/all/accept_redirects`],
  },
  {
    family: 6,
    key: 'net.ipv6.conf.default.forwarding',
    path: '/proc/sys/net/ipv6/conf/default/forwarding',
    alongWith: [],
  },
] as const;

/** Ports, forwarding and the firewall. */
export const NETWORK_CHECKS: readonly Check[] = [
  {
    name: 'Port',
    scopes: NODES,
    severity: 'error',
    looksAt: {
      embedded:
        'the API server (6443), 10257, 10259, 10250 and 10248 are free, 2379 to 2381 too with etcd; a node of ours may hold its own',
      upstream: '6443, 10257, 10259, 10250, and 2379 to 2381 with a local etcd, are free',
    },
    observe: observePorts,
  },
  {
    name: 'FileContent',
    scopes: NODES,
    severity: 'error',
    looksAt: 'forwarding is on for each IP family of the cluster, 4 in any case',
    observe: observeForwarding,
  },
  {
    name: 'Firewalld',
    scopes: ['init', 'join-control-plane'],
    severity: 'warning',
    looksAt: 'a firewalld process, which closes ports that are not named to it',
    observe: observeFirewalld,
  },
];

async function observePorts(host: Host, input: PreflightInput): Promise<Observation> {
  if (input.ports.length === 0) return undefined;
  const texts = await Promise.all(['/proc/net/tcp', '/proc/net/tcp6'].map((path) => host.readFile(path)));
  const sockets = texts
    .flatMap((text) => parseListeningSockets(text ?? ''))
    .filter((socket) => input.ports.includes(socket.port));
  const holders = await findSocketHolders(
    host,
    sockets.map((socket) => socket.inode),
  );
  return input.ports.flatMap((port) => {
    const busy = sockets.filter((socket) => socket.port === port);
    const isForeign = (socket: ListeningSocket) => !(input.isOwnNode && holders.get(socket.inode)?.isOwn);
    const socket = busy.find(isForeign);
    if (!socket) return [];
    const holder = holders.get(socket.inode);
    return [
      errorFinding(
        `Port-${port}`,
        `port ${port} is in use`,
        holder
          ? `${formatProcess(holder)} listens on it`
          : 'a socket listens on it, of a process that is not seen from here',
        holder ? `kill ${holder.pid}, or stop its service` : `ss -ltnp 'sport = :${port}'`,
      ),
    ];
  });
}

async function observeForwarding(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const families = new Set(clusterCidrs(input).map((text) => parseCidr(text)?.family));
  const rows = FORWARDING.filter((row) => row.family === 4 || families.has(6));
  const findings = await Promise.all(
    rows.map(async ({ key, path, alongWith }) => {
      const value = (await host.readFile(path))?.trim();
      if (value === '1') return [];
      const evidence = value === undefined ? `${path} is not there` : `${path} is ${value}`;
      return [
        {
          ...errorFinding(
            `FileContent-${path.replaceAll('/', '-')}`,
            'packets are not forwarded between interfaces',
            evidence,
            `sysctl -w ${key}=1 && echo ${key}=1 >> ${SYSCTL_FILE}`,
          ),
          ...(value === undefined ? {} : repairSysctl(key, '1', alongWith)),
        },
      ];
    }),
  );
  return findings.flat();
}

/** The repair that sets a kernel parameter now and for the next boot; sysctl(8) need not be installed. */
export function repairSysctl(
  key: string,
  value: string,
  alongWith: readonly string[] = [],
): Required<Pick<Finding, 'repair' | 'alters'>> {
  const path = `/proc/sys/${key.replaceAll('.', '/')}`;
  const script =
    'mkdir -p /etc/sysctl.d && { grep -qsx "$1=$2" "$3" || echo "$1=$2" >> "$3"; } && echo "$2" > "$4"';
  return {
    repair: [['sh', '-c', script, 'sh', key, value, SYSCTL_FILE, path]],
    alters: [
      { kind: 'file', path: SYSCTL_FILE },
      { kind: 'kernel-parameter', path, alongWith },
    ],
  };
}

async function observeFirewalld(host: Host, { ports }: PreflightInput): Promise<readonly Finding[]> {
  const process = (await listProcesses(host)).find((row) => row.name === 'firewalld');
  if (!process) return [];
  const open = ports.filter((port) => !LOCAL_PORTS.includes(port));
  const flags = open.map((port) => `--add-port=${port}/tcp`).join(' ');
  return [
    warningFinding(
      'Firewalld',
      `firewalld runs: the ports ${open.join(', ')} must be open`,
      formatProcess(process),
      `firewall-cmd --permanent ${flags} && firewall-cmd --reload`,
    ),
  ];
}
