import { SAFE_SYSCTLS } from '../api/safe-sysctls.ts';
import type { AgentPod } from './pod.ts';

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
