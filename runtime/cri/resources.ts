import type { OciResources } from '../container/oci-spec.ts';
import type { LinuxContainerResources } from './messages/linux.ts';

/** CRI resources in the OCI runtime-spec's form; 0 and "" mean not given (CRI). */
export function buildResources(resources: LinuxContainerResources | undefined): OciResources {
  if (resources === undefined) return {};
  // The only one of cgroup v2's files that has the same meaning on v1.
  const { 'pids.max': pidsLimit, ...unified } = resources.unified;
  const cpu = {
    ...(resources.cpuShares > 0 && { shares: resources.cpuShares }),
    ...(resources.cpuQuota !== 0 && { quota: resources.cpuQuota }),
    ...(resources.cpuPeriod > 0 && { period: resources.cpuPeriod }),
    ...(resources.cpusetCpus !== '' && { cpus: resources.cpusetCpus }),
    ...(resources.cpusetMems !== '' && { mems: resources.cpusetMems }),
  };
  const memory = {
    ...(resources.memoryLimitInBytes > 0 && { limit: resources.memoryLimitInBytes }),
    ...(resources.memorySwapLimitInBytes > 0 && { swap: resources.memorySwapLimitInBytes }),
  };
  return {
    ...(Object.keys(cpu).length > 0 && { cpu }),
    ...(Object.keys(memory).length > 0 && { memory }),
    ...(resources.hugepageLimits.length > 0 && { hugepageLimits: resources.hugepageLimits }),
    ...(pidsLimit !== undefined && { pids: { limit: pidsLimit === 'max' ? -1 : Number(pidsLimit) } }),
    ...(Object.keys(unified).length > 0 && { unified }),
  };
}

/** `update` over `current`: fields that are given replace, the others stay. */
export function mergeResources(
  current: LinuxContainerResources | undefined,
  update: LinuxContainerResources,
): LinuxContainerResources {
  if (current === undefined) return update;
  const given = Object.entries(update).filter(([, value]) => {
    if (Array.isArray(value)) return value.length > 0;
    if (typeof value === 'object') return Object.keys(value).length > 0;
    return value !== 0 && value !== '';
  });
  return { ...current, ...Object.fromEntries(given) };
}
