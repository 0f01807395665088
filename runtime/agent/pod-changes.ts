import type { AgentPod } from './pod.ts';
import type { PodStatus } from './pod-status.ts';

/** True when the new version of the pod asks for more than the old one did; our own status is no reason. */
export function isWorthASync(before: AgentPod, after: AgentPod): boolean {
  if (JSON.stringify(before.spec) !== JSON.stringify(after.spec)) return true;
  if (JSON.stringify(before.metadata.labels) !== JSON.stringify(after.metadata.labels)) return true;
  if (JSON.stringify(before.metadata.annotations) !== JSON.stringify(after.metadata.annotations)) return true;
  return (after.spec.readinessGates ?? []).some(({ conditionType }) => {
    const read = (pod: AgentPod) =>
      pod.status?.conditions?.find(({ type }) => type === conditionType)?.status;
    return read(before) !== read(after);
  });
}

const OWN = new Set(['PodReadyToStartContainers', 'Initialized', 'Ready', 'ContainersReady', 'PodScheduled']);

/** Our own last status with the conditions that others wrote into the API. */
export function withForeignConditions(
  own: PodStatus | undefined,
  api: PodStatus | undefined,
): PodStatus | undefined {
  if (!own || own === api) return own;
  const foreign = (api?.conditions ?? []).filter(({ type }) => !OWN.has(type));
  return { ...own, conditions: [...(own.conditions ?? []).filter(({ type }) => OWN.has(type)), ...foreign] };
}
