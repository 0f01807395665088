import type { Capability } from './capabilities.ts';
import type { OciMount, OciNamespaceType, OciSpec } from './oci-spec.ts';

/** What a container may do unless its Pod says otherwise; the same 14 as Docker's and containerd's. */
export const DEFAULT_CAPABILITIES = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
] as const satisfies readonly Capability[];

/** Paths that an unprivileged container sees empty: they tell about the host. */
export const DEFAULT_MASKED_PATHS = [
  '/proc/acpi',
  '/proc/asound',
  '/proc/interrupts',
  '/proc/kcore',
  '/proc/keys',
  '/proc/latency_stats',
  '/proc/timer_list',
  '/proc/timer_stats',
  '/proc/sched_debug',
  '/proc/scsi',
  '/sys/devices/virtual/powercap',
  '/sys/firmware',
] as const;

/** Paths through which an unprivileged container could change the host. */
export const DEFAULT_READONLY_PATHS = [
  '/proc/bus',
  '/proc/fs',
  '/proc/irq',
  '/proc/sys',
  '/proc/sysrq-trigger',
] as const;

/** Mounts of every container, runtime-spec config-linux.md "Default Filesystems". */
export const DEFAULT_MOUNTS = [
  { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
  {
    destination: '/dev',
    type: 'tmpfs',
    source: 'tmpfs',
    options: ['nosuid', 'strictatime', 'mode=755', 'size=65536k'],
  },
  {
    destination: '/dev/pts',
    type: 'devpts',
    source: 'devpts',
    options: ['nosuid', 'noexec', 'newinstance', 'ptmxmode=0666', 'mode=0620', 'gid=5'],
  },
  {
    destination: '/dev/shm',
    type: 'tmpfs',
    source: 'shm',
    options: ['nosuid', 'noexec', 'nodev', 'mode=1777', 'size=65536k'],
  },
  { destination: '/dev/mqueue', type: 'mqueue', source: 'mqueue', options: ['nosuid', 'noexec', 'nodev'] },
  { destination: '/sys', type: 'sysfs', source: 'sysfs', options: ['nosuid', 'noexec', 'nodev', 'ro'] },
  {
    destination: '/sys/fs/cgroup',
    type: 'cgroup',
    source: 'cgroup',
    options: ['nosuid', 'noexec', 'nodev', 'relatime', 'ro'],
  },
] as const satisfies readonly OciMount[];

/** Namespaces of a container that shares nothing. */
const DEFAULT_NAMESPACES = [
  'pid',
  'network',
  'ipc',
  'uts',
  'mount',
  'cgroup',
] as const satisfies readonly OciNamespaceType[];

const DEFAULT_ENV = ['PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'] as const;

export interface DefaultSpecOptions {
  readonly args: readonly string[];
  readonly env?: readonly string[];
  readonly cwd?: string;
  readonly hostname?: string;
  readonly terminal?: boolean;
  readonly rootPath?: string;
  readonly isRootReadonly?: boolean;
  readonly cgroupsPath?: string;
}

/** A complete spec of an unprivileged container as root user, to be spread and changed. */
export function buildDefaultSpec(options: DefaultSpecOptions): OciSpec {
  return {
    ociVersion: '1.2.0',
    process: {
      terminal: options.terminal ?? false,
      user: { uid: 0, gid: 0 },
      args: options.args,
      env: options.env ?? DEFAULT_ENV,
      cwd: options.cwd ?? '/',
      capabilities: {
        bounding: DEFAULT_CAPABILITIES,
        effective: DEFAULT_CAPABILITIES,
        permitted: DEFAULT_CAPABILITIES,
      },
      noNewPrivileges: false,
    },
    root: { path: options.rootPath ?? 'rootfs', readonly: options.isRootReadonly ?? false },
    ...(options.hostname === undefined ? {} : { hostname: options.hostname }),
    mounts: DEFAULT_MOUNTS,
    linux: {
      namespaces: DEFAULT_NAMESPACES.map((type) => ({ type })),
      maskedPaths: DEFAULT_MASKED_PATHS,
      readonlyPaths: DEFAULT_READONLY_PATHS,
      resources: { devices: [{ allow: false, access: 'rwm' }] },
      ...(options.cgroupsPath === undefined ? {} : { cgroupsPath: options.cgroupsPath }),
    },
  };
}
