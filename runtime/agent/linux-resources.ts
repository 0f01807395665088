import { quantityToInteger, quantityToMilli } from '../api/quantity.ts';
import type { InitOf } from '../base/protobuf.ts';
import type { LinuxContainerResources } from '../cri/messages/linux.ts';
import { type AgentPod, allContainers, type Container, computeQosClass, isSidecar } from './pod.ts';

type Resources = InitOf<typeof LinuxContainerResources>;

const PERIOD_US = 100_000;
const MIN_QUOTA_US = 1000;
const MIN_SHARES = 2;
const MAX_SHARES = 262_144;
/** CRI has no field for it; the runtime takes this one of cgroup v2 for both versions. */
const PIDS_FILE = 'pids.max';
const CRITICAL_PRIORITY = 2_000_000_000;

/** A container's cgroup settings: shares from the CPU request, quota from its limit, memory limit, OOM score. */
export function buildContainerResources(
  pod: AgentPod,
  container: Container,
  nodeMemoryBytes: number,
): Resources {
  const { requests = {}, limits = {} } = container.resources ?? {};
  const limitCpu = quantityToMilli(limits['cpu']);
  const memory = quantityToInteger(limits['memory']);
  return {
    cpuPeriod: PERIOD_US,
    cpuShares: toShares(requests['cpu'] === undefined ? limitCpu : quantityToMilli(requests['cpu'])),
    ...(limitCpu > 0 ? { cpuQuota: toQuota(limitCpu) } : {}),
    ...(memory > 0 ? { memoryLimitInBytes: memory, memorySwapLimitInBytes: memory } : {}),
    oomScoreAdj: computeOomScoreAdj(pod, container, nodeMemoryBytes),
    hugepageLimits: Object.entries(limits)
      .filter(([name]) => name.startsWith('hugepages-'))
      .map(([name, size]) => ({
        pageSize: `${name.slice('hugepages-'.length)}B`,
        limit: quantityToInteger(size),
      })),
  };
}

/**
 * The pod's cgroup settings: the sum of its containers; limits only when every container has one.
 * @param pidsLimit of the kubelet's configuration, below 1 for none
 */
export function buildPodResources(pod: AgentPod, pidsLimit: number): Resources {
  const containers = allContainers(pod);
  const total = (read: (container: Container) => number) => sumPod(pod, read);
  const hasAll = (name: string) =>
    containers.every(({ resources }) => resources?.limits?.[name] !== undefined);
  const limitCpu = hasAll('cpu') ? total(({ resources }) => quantityToMilli(resources?.limits?.['cpu'])) : 0;
  const memory = hasAll('memory')
    ? total(({ resources }) => quantityToInteger(resources?.limits?.['memory']))
    : 0;
  return {
    cpuPeriod: PERIOD_US,
    cpuShares: computePodShares(pod),
    ...(limitCpu > 0 ? { cpuQuota: toQuota(limitCpu) } : {}),
    ...(memory > 0 ? { memoryLimitInBytes: memory } : {}),
    ...(pidsLimit > 0 ? { unified: { [PIDS_FILE]: String(pidsLimit) } } : {}),
  };
}

/** cpu.shares of all that a pod asks for. */
export function computePodShares(pod: AgentPod): number {
  return toShares(
    sumPod(pod, ({ resources }) =>
      quantityToMilli(resources?.requests?.['cpu'] ?? resources?.limits?.['cpu']),
    ),
  );
}

/** What runs together, or the largest of what runs before it. */
function sumPod(pod: AgentPod, read: (container: Container) => number): number {
  const init = pod.spec.initContainers ?? [];
  const running = [...pod.spec.containers, ...init.filter(isSidecar)];
  const steady = running.reduce((sum, container) => sum + read(container), 0);
  return Math.max(steady, ...init.map(read));
}

/** Thousandths of a core as cpu.shares. */
export function toShares(milliCpu: number): number {
  return Math.min(Math.max(Math.floor((milliCpu * 1024) / 1000), MIN_SHARES), MAX_SHARES);
}

function toQuota(milliCpu: number): number {
  return Math.max(Math.floor((milliCpu * PERIOD_US) / 1000), MIN_QUOTA_US);
}

/** Which container the kernel kills first when memory runs out: higher dies first (kubelet `qos/policy.go`). */
export function computeOomScoreAdj(pod: AgentPod, container: Container, nodeMemoryBytes: number): number {
  if ((pod.spec.priority ?? 0) >= CRITICAL_PRIORITY) return -997;
  const qos = computeQosClass(pod);
  if (qos === 'Guaranteed') return -997;
  if (qos === 'BestEffort') return 1000;
  const request = quantityToInteger(container.resources?.requests?.['memory']);
  const score = 1000 - Math.floor((1000 * request) / nodeMemoryBytes);
  return Math.min(Math.max(score, 3), 999);
}
