import { PATHS } from '../../runtime/base/paths.ts';

/** Directories that only tkadm fills: whatever is in them is its own, and no part of a snapshot. */
export const STATE_DIRS = [PATHS.state, PATHS.run, PATHS.logs] as const;

/** Directories that tkadm shares with others, to which a snapshot looks. */
export const SHARED_DIRS = [
  PATHS.kubernetes,
  PATHS.kubelet,
  PATHS.podLogs,
  PATHS.containerLogs,
  '/etc/cni',
  '/opt/cni',
  '/var/lib/cni',
  '/var/lib/etcd',
  '/run/netns',
  '/etc/sysctl.d',
  '/etc/modules-load.d',
  '/etc/systemd/system',
  '/etc/init.d',
  '/etc/runlevels',
] as const;

/** Single files that are looked at. */
export const SHARED_FILES = ['/etc/fstab', '/etc/hosts', '/etc/resolv.conf', '/etc/sysctl.conf'] as const;

/** nftables tables, of family ip: of the service proxy, of the bridge plugin and of `tkadm ctr`. */
export const TABLES = ['kube-proxy', 'tkadm-bridge', 'tkadm-ctr0'] as const;
/** Bridges of pods, and of `tkadm ctr`. */
export const BRIDGES = ['tkadm0', 'tkadm-ctr0'] as const;
export const CNI_FILE = '10-tkadm.conflist';
/** Parent cgroups of all pods, as the kubelet's, and of image builds and monitors. */
export const CGROUPS = ['kubepods', 'tkadm'] as const;
/** The mark on routes to other nodes' pods: ip-route(8) `proto`. */
export const ROUTE_PROTOCOL = '116';

const PROC_IPV4 = '/proc/sys/net/ipv4';

/** Parameters that the programs of a node set themselves. */
export const OWN_PARAMETERS: readonly string[] = [`${PROC_IPV4}/ip_forward`];

/** Directories whose parameters a snapshot holds; "*" is any one name. */
export const PARAMETER_DIRS: readonly string[] = [
  `${PROC_IPV4}/conf/all`,
  `${PROC_IPV4}/conf/default`,
  '/proc/sys/net/ipv6/conf/all',
  '/proc/sys/net/ipv6/conf/default',
  '/proc/sys/net/bridge',
  '/proc/sys/fs/inotify',
  '/proc/sys/kernel/keys',
];

/** Single parameters beside them. */
export const PARAMETERS: readonly string[] = [
  ...OWN_PARAMETERS,
  ...[
    'core/somaxconn',
    'core/rmem_max',
    'core/wmem_max',
    'ipv4/ip_local_port_range',
    'ipv4/ip_nonlocal_bind',
  ].map((name) => `/proc/sys/net/${name}`),
  ...['panic', 'panic_on_oops', 'pid_max', 'threads-max'].map((name) => `/proc/sys/kernel/${name}`),
  ...['overcommit_memory', 'panic_on_oom', 'swappiness', 'max_map_count'].map(
    (name) => `/proc/sys/vm/${name}`,
  ),
  '/proc/sys/fs/file-max',
];
