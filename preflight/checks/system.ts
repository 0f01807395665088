import type { Host } from '../../runtime/base/host.ts';
import {
  BOTH,
  type Check,
  errorFinding,
  type Finding,
  type PreflightInput,
  warningFinding,
} from '../finding.ts';

const SYSTEM = 'SystemVerification';
const MIN_KERNEL = [5, 4] as const;
/** Controllers that limits and freezing need. On cgroup v2 "devices" and "freezer" are part of the core. */
const CONTROLLERS = {
  1: ['cpu', 'cpuset', 'devices', 'freezer', 'memory', 'pids'],
  2: ['cpu', 'cpuset', 'memory', 'pids'],
};
const NAMESPACES = ['cgroup', 'ipc', 'mnt', 'net', 'pid', 'uts'];

/** What the kernel and the init system give. */
export const SYSTEM_CHECKS: readonly Check[] = [
  {
    name: SYSTEM,
    scopes: BOTH,
    async observe(host, input) {
      const parts = [observeKernel, observeOverlay, observeCgroups, observeNamespaces, observeNftables];
      return (await Promise.all(parts.map((part) => part(host, input)))).flat();
    },
  },
  { name: 'TimeSync', scopes: BOTH, observe: observeTimeSync },
  { name: 'SELinux', scopes: BOTH, observe: observeSelinux },
];

async function observeKernel(host: Host): Promise<readonly Finding[]> {
  const release = (await host.readFile('/proc/sys/kernel/osrelease'))?.trim();
  if (release === undefined) {
    return [errorFinding(SYSTEM, 'only Linux is supported', '/proc/sys/kernel/osrelease is not there')];
  }
  const [major = 0, minor = 0] = release.split('.').map((part) => Number.parseInt(part, 10));
  if (major > MIN_KERNEL[0] || (major === MIN_KERNEL[0] && minor >= MIN_KERNEL[1])) return [];
  return [warningFinding(SYSTEM, `the kernel is older than ${MIN_KERNEL.join('.')}`, `it is ${release}`)];
}

async function observeOverlay(host: Host): Promise<readonly Finding[]> {
  if (/\boverlay$/m.test((await host.readFile('/proc/filesystems')) ?? '')) return [];
  const evidence = '/proc/filesystems does not name it';
  return [
    {
      ...errorFinding(SYSTEM, 'the kernel has no overlayfs', evidence, 'modprobe overlay'),
      repair: [['modprobe', 'overlay']],
    },
  ];
}

async function observeCgroups(
  host: Host,
  { engine = 'embedded' }: PreflightInput,
): Promise<readonly Finding[]> {
  const unified = await host.readFile('/sys/fs/cgroup/cgroup.controllers');
  if (unified !== undefined) return reportControllers(unified.trim().split(/\s+/), 2);
  const mounts = (await host.readFile('/proc/self/mountinfo')) ?? '';
  const mounted = [...mounts.matchAll(/ - cgroup \S+ (\S+)$/gm)].flatMap((match) => match[1]!.split(','));
  if (mounted.length === 0) {
    const evidence = '/proc/self/mountinfo has none';
    return [
      errorFinding(
        SYSTEM,
        'no cgroup hierarchy is mounted',
        evidence,
        'mount -t cgroup2 none /sys/fs/cgroup',
      ),
    ];
  }
  if (engine === 'embedded') return reportControllers(mounted, 1);
  return [
    errorFinding(
      SYSTEM,
      'kubelet 1.35 and later needs cgroup v2',
      '/proc/self/mountinfo has cgroup v1',
      'boot with systemd.unified_cgroup_hierarchy=1',
    ),
  ];
}

function reportControllers(found: readonly string[], version: 1 | 2): readonly Finding[] {
  const missing = CONTROLLERS[version].filter((name) => !found.includes(name));
  if (missing.length === 0) return [];
  return [
    errorFinding(
      SYSTEM,
      `cgroup controllers are missing: ${missing.join(', ')}`,
      `cgroup v${version} has ${found.filter((name) => CONTROLLERS[1].includes(name)).join(', ')}`,
      'boot with cgroup_enable=memory and without cgroup_disable',
    ),
  ];
}

async function observeNamespaces(host: Host): Promise<readonly Finding[]> {
  const found = await host.list('/proc/self/ns');
  const missing = NAMESPACES.filter((name) => !found.includes(name));
  if (missing.length === 0) return [];
  return [
    errorFinding(
      SYSTEM,
      `the kernel has no ${missing.join(', ')} namespaces`,
      `/proc/self/ns has ${found.join(', ')}`,
    ),
  ];
}

/** Asks the kernel to judge a table without making it. A missing command is another check's finding. */
async function observeNftables(host: Host): Promise<readonly Finding[]> {
  const { exitCode, stderr } = await host.run(['nft', '--check', 'add table inet tkadm_preflight']);
  if (exitCode === 0 || exitCode >= 126) return [];
  const evidence = `nft says: ${stderr.trim().split('\n')[0]}`;
  return [
    {
      ...errorFinding(SYSTEM, 'nftables does not work', evidence, 'modprobe nf_tables'),
      repair: [['modprobe', 'nf_tables']],
    },
  ];
}

/** Certificates and tokens fail in odd ways when clocks differ. */
async function observeTimeSync(host: Host): Promise<readonly Finding[]> {
  if (!(await host.stat('/run/systemd/system'))) return [];
  const { stdout, exitCode } = await host.run(
    ['timedatectl', 'show', '--property=NTPSynchronized', '--value'],
    { timeoutMs: 5_000 },
  );
  if (exitCode !== 0 || stdout.trim() !== 'no') return [];
  return [
    warningFinding(
      'TimeSync',
      'the clock is not synchronised: certificates and tokens depend on it',
      'timedatectl says NTPSynchronized=no',
      'timedatectl set-ntp true',
    ),
  ];
}

async function observeSelinux(
  host: Host,
  { engine = 'embedded' }: PreflightInput,
): Promise<readonly Finding[]> {
  if (engine !== 'embedded' || (await host.readFile('/sys/fs/selinux/enforce'))?.trim() !== '1') return [];
  return [
    warningFinding(
      'SELinux',
      'SELinux is enforcing, and the embedded runtime sets no labels',
      '/sys/fs/selinux/enforce is 1',
      'setenforce 0',
    ),
  ];
}
