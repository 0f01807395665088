import type { ContainerStatus, Event, Pod } from 'kubernetes-types/core/v1.d.ts';
import type { ClusterEvidence } from '../evidence.ts';

/** Its containers' statuses, those that come first before the others. */
export function containersOf({ status }: Pod): readonly ContainerStatus[] {
  return [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
}

/** Warnings about a pod, the last one first. */
export function warningsOf({ metadata }: Pod, { events }: ClusterEvidence): readonly Event[] {
  return events
    .filter(
      ({ involvedObject, type }) =>
        type === 'Warning' &&
        involvedObject.kind === 'Pod' &&
        involvedObject.namespace === metadata?.namespace &&
        involvedObject.name === metadata?.name,
    )
    .sort((a, b) => timeOf(b) - timeOf(a));
}

function timeOf({ lastTimestamp, eventTime, metadata }: Event): number {
  return Date.parse(lastTimestamp ?? eventTime ?? metadata?.creationTimestamp ?? '') || 0;
}

/** The message of the last warning that fits. */
export function findWarning(pod: Pod, cluster: ClusterEvidence, pattern: RegExp): string | undefined {
  const event = warningsOf(pod, cluster).find(({ message = '' }) => pattern.test(message));
  return event && `event ${event.reason}: ${event.message}`;
}

/** True when the pod is to run and does not do its work. */
export function isUnwell({ status, metadata }: Pod): boolean {
  if (status?.phase === 'Succeeded') return false;
  if (metadata?.deletionTimestamp) return true;
  return !status?.conditions?.some((row) => row.type === 'Ready' && row.status === 'True');
}

/** Reasons of a container that waits for what comes before it. */
export const CREATING: readonly (string | undefined)[] = ['ContainerCreating', 'PodInitializing', undefined];

/** Until then nobody is alarmed by a pod that is not up. */
const STARTING_MS = 20_000;

/** True of a pod that was made just now, as after an init, and has not failed. */
export function isStarting(pod: Pod, now: Date): boolean {
  const ageMs = now.getTime() - Date.parse(pod.metadata?.creationTimestamp ?? '');
  const hasFailed = containersOf(pod).some(
    ({ restartCount, state }) =>
      restartCount > 0 || state?.terminated || !CREATING.includes(state?.waiting?.reason),
  );
  return ageMs < STARTING_MS && !hasFailed;
}

/** "default/web" */
export function podName({ metadata }: Pod): string {
  return `${metadata?.namespace}/${metadata?.name}`;
}

/** "-n default web", for kubectl. */
export function podWords({ metadata }: Pod): string {
  return `-n ${metadata?.namespace} ${metadata?.name}`;
}
