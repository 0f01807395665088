import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { computePodShares } from './linux-resources.ts';
import { type AgentPod, computeQosClass } from './pod.ts';

const CGROUP_ROOT = '/sys/fs/cgroup';
/** What pods that ask for nothing get together: the least there is (kubelet `cm/qos_container_manager_linux.go`). */
const BEST_EFFORT_SHARES = 2;
const MAX_SHARES = 262_144;

/** cpu.shares of the cgroups of both classes: what the pods of "burstable" ask for, and as little as possible. */
function computeQosShares(pods: readonly AgentPod[]): Readonly<Record<string, number>> {
  const burstable = pods
    .filter((pod) => computeQosClass(pod) === 'Burstable')
    .reduce((sum, pod) => sum + computePodShares(pod), 0);
  return {
    besteffort: BEST_EFFORT_SHARES,
    burstable: Math.min(Math.max(burstable, BEST_EFFORT_SHARES), MAX_SHARES),
  };
}

/**
 * Writes the shares to the cgroups that the runtime has made, of v1 or v2. Beside them are the guaranteed pods, each with
 * its own shares: with the kernel's defaults a crowd of pods that asked for nothing would outweigh them.
 */
export async function writeQosShares(pods: readonly AgentPod[], root = CGROUP_ROOT): Promise<void> {
  const writes = Object.entries(computeQosShares(pods)).flatMap(([name, shares]) => [
    [join(root, 'kubepods', name, 'cpu.weight'), String(toWeight(shares))] as const,
    [join(root, 'cpu', 'kubepods', name, 'cpu.shares'), String(shares)] as const,
  ]);
  // One of both is there, or none before the first pod of a class.
  await Promise.all(writes.map(([path, value]) => writeFile(path, value, { flag: 'r+' }).catch(() => {})));
}

/** cpu.shares [2, 262144] → cpu.weight [1, 10000], as the runtime does for containers. */
function toWeight(shares: number): number {
  return 1 + Math.floor(((shares - 2) * 9999) / 262_142);
}
