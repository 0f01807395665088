import type { Host } from '../runtime/base/host.ts';
import type { Check, Finding } from './finding.ts';
import { findRouteOverlaps, parseListeningPorts } from './parse-network.ts';

const BOTH = ['init', 'join'] as const;
const MIN_CPUS = 2;
const MIN_MEMORY_KIB = 1700 * 1000;
const MIN_DISK_MIB = 1024;
const SYSCTL_FILE = '/etc/sysctl.d/99-tkadm.conf';

/** Commands that a node needs, and the Debian package of each. */
const COMMANDS = [
  { command: 'nft', packageName: 'nftables' },
  { command: 'ip', packageName: 'iproute2' },
  { command: 'nsenter', packageName: 'util-linux' },
  { command: 'unshare', packageName: 'util-linux' },
  { command: 'mount', packageName: 'mount' },
  { command: 'umount', packageName: 'mount' },
  { command: 'cp', packageName: 'coreutils' },
  { command: 'tar', packageName: 'tar' },
] as const;

/** Every check, in the order in which findings are shown. */
export const CHECKS: readonly Check[] = [
  {
    name: 'IsPrivilegedUser',
    scopes: BOTH,
    async observe(host) {
      const { stdout } = await host.run(['id', '-u']);
      const uid = stdout.trim();
      return uid === '0'
        ? []
        : [error('IsPrivilegedUser', 'root is needed', `id -u says ${uid}`, 'sudo tkadm ...')];
    },
  },
  {
    name: 'NumCPU',
    scopes: ['init'],
    async observe(host) {
      const count = ((await host.readFile('/proc/cpuinfo')) ?? '').match(/^processor\s*:/gm)?.length ?? 0;
      return count >= MIN_CPUS || count === 0
        ? []
        : [error('NumCPU', `a control plane needs ${MIN_CPUS} CPUs`, `/proc/cpuinfo shows ${count}`)];
    },
  },
  {
    name: 'Mem',
    scopes: ['init'],
    async observe(host) {
      const kib = Number(/MemTotal:\s+(\d+)/.exec((await host.readFile('/proc/meminfo')) ?? '')?.[1] ?? 0);
      return kib === 0 || kib >= MIN_MEMORY_KIB
        ? []
        : [
            error(
              'Mem',
              'a control plane needs 1700 MB of memory',
              `/proc/meminfo shows ${Math.round(kib / 1000)} MB`,
            ),
          ];
    },
  },
  {
    name: 'Port',
    scopes: BOTH,
    async observe(host, { ports }) {
      const listening = new Set([
        ...parseListeningPorts((await host.readFile('/proc/net/tcp')) ?? ''),
        ...parseListeningPorts((await host.readFile('/proc/net/tcp6')) ?? ''),
      ]);
      return ports
        .filter((port) => listening.has(port))
        .map((port) =>
          error(
            `Port-${port}`,
            `port ${port} is in use`,
            'a socket listens on it',
            `ss -ltnp 'sport = :${port}'`,
          ),
        );
    },
  },
  {
    name: 'FileAvailable',
    scopes: BOTH,
    async observe(host, { absentFiles }) {
      const found = await Promise.all(
        absentFiles.map(async (path) => ((await host.stat(path)) ? path : undefined)),
      );
      return found
        .filter((path) => path !== undefined)
        .map((path) =>
          error(
            `FileAvailable-${path.replaceAll('/', '-')}`,
            `"${path}" is there already`,
            'it is left from an earlier run',
            'tkadm reset -f',
          ),
        );
    },
  },
  {
    name: 'FileContent--proc-sys-net-ipv4-ip_forward',
    scopes: BOTH,
    async observe(host) {
      const path = '/proc/sys/net/ipv4/ip_forward';
      const value = (await host.readFile(path))?.trim();
      if (value === '1') return [];
      const script = `mkdir -p /etc/sysctl.d && echo net.ipv4.ip_forward=1 > ${SYSCTL_FILE} && echo 1 > ${path}`;
      return [
        {
          ...error(
            'FileContent--proc-sys-net-ipv4-ip_forward',
            'packets are not forwarded between interfaces',
            `${path} is ${value}`,
            'sysctl -w net.ipv4.ip_forward=1',
          ),
          repair: [['sh', '-c', script]],
        },
      ];
    },
  },
  {
    name: 'Swap',
    scopes: BOTH,
    async observe(host) {
      const rows = ((await host.readFile('/proc/swaps')) ?? '').trim().split('\n').slice(1);
      if (rows.length === 0) return [];
      const devices = rows.map((row) => row.split(/\s+/)[0]).join(', ');
      return [
        {
          check: 'Swap',
          severity: 'warning',
          reason: 'swap is on: memory limits do not bound it',
          evidence: `/proc/swaps has ${devices}`,
          fix: 'swapoff -a, and take swap out of /etc/fstab',
          repair: [['swapoff', '-a']],
        },
      ];
    },
  },
  { name: 'FileExisting', scopes: BOTH, observe: observeCommands },
  {
    name: 'SystemVerification',
    scopes: BOTH,
    async observe(host) {
      const [filesystems, mounts, kernel] = await Promise.all([
        host.readFile('/proc/filesystems'),
        host.readFile('/proc/self/mountinfo'),
        host.readFile('/proc/sys/kernel/osrelease'),
      ]);
      const findings: Finding[] = [];
      if (!/\boverlay$/m.test(filesystems ?? '')) {
        findings.push({
          ...error(
            'SystemVerification',
            'the kernel has no overlayfs',
            '/proc/filesystems does not name it',
            'modprobe overlay',
          ),
          repair: [['modprobe', 'overlay']],
        });
      }
      if (!/ - cgroup2? /.test(mounts ?? '')) {
        findings.push(
          error(
            'SystemVerification',
            'no cgroup hierarchy is mounted',
            '/proc/self/mountinfo has none',
            'mount -t cgroup2 none /sys/fs/cgroup',
          ),
        );
      }
      const [major = 0, minor = 0] = (kernel ?? '').split('.').map(Number);
      if (major < 5 || (major === 5 && minor < 4)) {
        findings.push(
          warning('SystemVerification', 'the kernel is older than 5.4', `it is ${kernel?.trim()}`),
        );
      }
      return findings;
    },
  },
  {
    name: 'Hostname',
    scopes: BOTH,
    async observe(_host, { nodeName }) {
      const isLabel =
        /^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$/.test(nodeName) &&
        nodeName.length <= 253;
      return isLabel
        ? []
        : [
            error(
              'Hostname',
              `"${nodeName}" is no DNS name`,
              'letters, digits, "-" and "." are allowed',
              'tkadm ... --node-name NAME',
            ),
          ];
    },
  },
  {
    name: 'DiskSpace',
    scopes: BOTH,
    async observe(host) {
      const { stdout, exitCode } = await host.run(['df', '-Pm', '/var/lib']);
      const free = Number(stdout.trim().split('\n').at(-1)?.split(/\s+/)[3] ?? Number.NaN);
      if (exitCode !== 0 || Number.isNaN(free) || free >= MIN_DISK_MIB) return [];
      return [
        error(
          'DiskSpace',
          `less than ${MIN_DISK_MIB} MiB are free`,
          `/var/lib has ${free} MiB`,
          'df -h /var/lib',
        ),
      ];
    },
  },
  {
    name: 'CIDROverlap',
    scopes: ['init'],
    async observe(host, { clusterCidrs }) {
      const { stdout } = await host.run(['ip', '-j', '-4', 'route', 'show']);
      return findRouteOverlaps(stdout, clusterCidrs).map(({ cidr, route }) =>
        warning(
          'CIDROverlap',
          `the range ${cidr} is used by this machine's network`,
          `ip route shows ${route}`,
          'choose another --pod-network-cidr or --service-cidr',
        ),
      );
    },
  },
];

async function observeCommands(host: Host): Promise<readonly Finding[]> {
  const names = COMMANDS.map((row) => row.command);
  const script = 'PATH=$PATH:/usr/sbin:/sbin; for c; do command -v "$c" >/dev/null || echo "$c"; done';
  const { stdout } = await host.run(['sh', '-c', script, 'sh', ...names]);
  const missing = COMMANDS.filter((row) => stdout.split('\n').includes(row.command));
  return missing.map(({ command, packageName }) => ({
    ...error(
      `FileExisting-${command}`,
      `the command "${command}" is missing`,
      'it is not in PATH',
      `apt-get install -y --no-install-recommends ${packageName}`,
    ),
    repair: [
      [
        'sh',
        '-c',
        `DEBIAN_FRONTEND=noninteractive; export DEBIAN_FRONTEND; apt-get install -y --no-install-recommends ${packageName} || { apt-get update && apt-get install -y --no-install-recommends ${packageName}; }`,
      ],
    ],
  }));
}

function error(check: string, reason: string, evidence: string, fix?: string): Finding {
  return { check, severity: 'error', reason, evidence, ...(fix ? { fix } : {}) };
}

function warning(check: string, reason: string, evidence: string, fix?: string): Finding {
  return { ...error(check, reason, evidence, fix), severity: 'warning' };
}
