import type { Pod, PodCondition } from 'kubernetes-types/core/v1.d.ts';
import type { ObjectMeta, OwnerReference } from 'kubernetes-types/meta/v1.d.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import { formatApiVersion } from '../../api/resources.ts';
import { formatTime } from '../../api/time.ts';

/** The ownerReference by which `owner` controls an object. */
export function buildControllerReference<T extends KubeObject>(kind: Kind<T>, owner: T): OwnerReference {
  return {
    apiVersion: formatApiVersion(kind),
    kind: kind.kind,
    name: owner.metadata?.name ?? '',
    uid: owner.metadata?.uid ?? '',
    controller: true,
    blockOwnerDeletion: true,
  };
}

/** The ownerReference with `controller: true`, or undefined. */
export function controllerOf(object: KubeObject | undefined): OwnerReference | undefined {
  return object?.metadata?.ownerReferences?.find((reference) => reference.controller);
}

/** Splits "namespace/name"; a cluster-scoped key has the namespace "". */
export function splitKey(key: string): { readonly namespace: string; readonly name: string } {
  const slash = key.indexOf('/');
  return { namespace: slash < 0 ? '' : key.slice(0, slash), name: key.slice(slash + 1) };
}

/** "namespace/name" of an object that has a namespace, else "name". */
export function keyOf(metadata: ObjectMeta | undefined): string {
  return metadata?.namespace ? `${metadata.namespace}/${metadata.name}` : (metadata?.name ?? '');
}

/** Deep equality of JSON values; an absent field, undefined and null are the same. */
export function isSameJson(left: unknown, right: unknown): boolean {
  if (left === right) return true;
  if (left === undefined || left === null) return right === undefined || right === null;
  if (typeof left !== 'object' || typeof right !== 'object' || right === null) return false;
  if (Array.isArray(left) || Array.isArray(right)) {
    if (!Array.isArray(left) || !Array.isArray(right) || left.length !== right.length) return false;
    return left.every((item, index) => isSameJson(item, right[index]));
  }
  const a = left as Record<string, unknown>;
  const b = right as Record<string, unknown>;
  for (const key of Object.keys(a)) if (!isSameJson(a[key], b[key])) return false;
  for (const key of Object.keys(b)) if (!(key in a) && b[key] !== undefined && b[key] !== null) return false;
  return true;
}

/** Milliseconds since the epoch; 0 when absent. */
export function timeMs(text: string | undefined): number {
  return text ? Date.parse(text) : 0;
}

/** Oldest first, then by name. */
export function byAge(left: KubeObject, right: KubeObject): number {
  const difference = timeMs(left.metadata?.creationTimestamp) - timeMs(right.metadata?.creationTimestamp);
  return difference || compareText(left.metadata?.name ?? '', right.metadata?.name ?? '');
}

/** Order of code units, as Go compares strings. */
export function compareText(left: string, right: string): number {
  return left < right ? -1 : left > right ? 1 : 0;
}

export function podCondition(pod: Pod, type: string): PodCondition | undefined {
  return pod.status?.conditions?.find((condition) => condition.type === type);
}

/** Has the condition Ready=True. */
export function isPodReady(pod: Pod): boolean {
  return podCondition(pod, 'Ready')?.status === 'True';
}

/** Ready for at least `minReadySeconds`. */
export function isPodAvailable(pod: Pod, minReadySeconds: number, now: Date): boolean {
  const ready = podCondition(pod, 'Ready');
  if (ready?.status !== 'True') return false;
  if (minReadySeconds === 0) return true;
  const since = timeMs(ready.lastTransitionTime);
  return since > 0 && since + minReadySeconds * 1000 <= now.getTime();
}

/** Succeeded or Failed. */
export function isPodTerminal(pod: Pod): boolean {
  return pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed';
}

/** Neither ended nor being deleted. */
export function isPodActive(pod: Pod): boolean {
  return !isPodTerminal(pod) && pod.metadata?.deletionTimestamp === undefined;
}

/** An absolute number or a percentage of `total`, rounded up or down. */
export function resolveIntOrPercent(
  value: string | number | undefined,
  total: number,
  rounding: 'up' | 'down',
): number {
  if (value === undefined) return 0;
  const text = String(value);
  if (!text.endsWith('%')) return Number(text);
  const exact = (Number(text.slice(0, -1)) * total) / 100;
  return rounding === 'up' ? Math.ceil(exact) : Math.floor(exact);
}

interface ConditionLike {
  type: string;
  status: string;
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
}

/**
 * The conditions with `next` in place of the one of its type; its lastTransitionTime stays while the
 * status stays.
 */
export function withCondition<C extends ConditionLike>(
  conditions: readonly C[] | undefined,
  next: C,
  now: Date,
): C[] {
  const present = conditions?.find((condition) => condition.type === next.type);
  const lastTransitionTime =
    present?.status === next.status ? (present.lastTransitionTime ?? formatTime(now)) : formatTime(now);
  const condition = { ...next, lastTransitionTime };
  if (!present) return [...(conditions ?? []), condition];
  return conditions!.map((entry) => (entry.type === next.type ? condition : entry));
}
