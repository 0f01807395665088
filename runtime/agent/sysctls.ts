import type { AgentPod } from './pod.ts';

/** What every pod may set: parameters of its own namespaces that disturb no other pod (Kubernetes docs "sysctl"). */
const SAFE_SYSCTLS: readonly string[] = [
  'kernel.shm_rmid_forced',
  'net.ipv4.ip_local_port_range',
  'net.ipv4.ip_local_reserved_ports',
  'net.ipv4.ip_unprivileged_port_start',
  'net.ipv4.ping_group_range',
  'net.ipv4.tcp_fin_timeout',
  'net.ipv4.tcp_keepalive_intvl',
  'net.ipv4.tcp_keepalive_probes',
  'net.ipv4.tcp_keepalive_time',
  'net.ipv4.tcp_rmem',
  'net.ipv4.tcp_syncookies',
  'net.ipv4.tcp_wmem',
];

/** Why the pod's sysctls are forbidden, or undefined. `allowed` is `allowedUnsafeSysctls`: names, or "net.core.*". */
export function findForbiddenSysctl(pod: AgentPod, allowed: readonly string[]): string | undefined {
  const { securityContext, hostNetwork, hostIPC } = pod.spec;
  for (const { name: spelt } of securityContext?.sysctls ?? []) {
    const name = normalizeSysctl(spelt);
    const isOfNetwork = name.startsWith('net.');
    if (!isAllowed(name, [...SAFE_SYSCTLS, ...allowed])) return `"${spelt}" not allowlisted`;
    if (isOfNetwork && hostNetwork) return `"${spelt}" not allowed with host net enabled`;
    if (!isOfNetwork && hostIPC) return `"${spelt}" not allowed with host ipc enabled`;
  }
  return undefined;
}

function isAllowed(name: string, patterns: readonly string[]): boolean {
  return patterns
    .map(normalizeSysctl)
    .some((pattern) => (pattern.endsWith('*') ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
}

/** "net/ipv4/conf/eth0.1/forwarding" → with dots for slashes and the other way round, as sysctl(8) reads names. */
function normalizeSysctl(name: string): string {
  const first = /[./]/.exec(name)?.[0];
  if (first !== '/') return name;
  return name.replaceAll(/[./]/g, (separator) => (separator === '/' ? '.' : '/'));
}
