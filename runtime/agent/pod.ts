import type * as core from 'kubernetes-types/core/v1.d.ts';
import type { KubeObject } from '../api/kinds.ts';

/** A pod whose name, namespace, UID and spec are known: every pod that the agent works on. */
export interface AgentPod extends core.Pod {
  metadata: NonNullable<core.Pod['metadata']> & { name: string; namespace: string; uid: string };
  spec: core.PodSpec;
}

export type Container = core.Container & { restartPolicy?: string };

export const CONFIG_HASH = 'kubernetes.io/config.hash';
export const CONFIG_SOURCE = 'kubernetes.io/config.source';
export const CONFIG_SEEN = 'kubernetes.io/config.seen';
export const CONFIG_MIRROR = 'kubernetes.io/config.mirror';

/** True when the object has all that an AgentPod needs. */
export function isAgentPod(object: KubeObject & { spec?: core.PodSpec }): object is AgentPod {
  const { name, namespace, uid } = object.metadata ?? {};
  return Boolean(name && namespace && uid && object.spec);
}

/** True for a pod that came from a file of this node. */
export function isStaticPod(pod: core.Pod): boolean {
  const source = pod.metadata?.annotations?.[CONFIG_SOURCE];
  return source === 'file';
}

/** True for the API object that stands for a static pod. */
export function isMirrorPod(pod: core.Pod): boolean {
  return pod.metadata?.annotations?.[CONFIG_MIRROR] !== undefined;
}

/** "namespace/name" */
export function podKey(pod: core.Pod): string {
  return `${pod.metadata?.namespace}/${pod.metadata?.name}`;
}

/** True for an init container that stays: `restartPolicy: Always`. */
export function isSidecar(container: core.Container): boolean {
  return (container as Container).restartPolicy === 'Always';
}

/** Init containers in order, then containers. */
export function allContainers(pod: AgentPod): Container[] {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
}

export type QosClass = 'Guaranteed' | 'Burstable' | 'BestEffort';

/** The quality-of-service class, from the cpu and memory of all containers (Kubernetes docs "Pod QoS"). */
export function computeQosClass(pod: AgentPod): QosClass {
  let isGuaranteed = true;
  let hasAny = false;
  for (const container of allContainers(pod)) {
    const { requests = {}, limits = {} } = container.resources ?? {};
    for (const name of ['cpu', 'memory']) {
      const limit = limits[name];
      const request = requests[name] ?? limit;
      if (isSet(limit) || isSet(request)) hasAny = true;
      if (!isSet(limit) || request !== limit) isGuaranteed = false;
    }
  }
  if (!hasAny) return 'BestEffort';
  return isGuaranteed ? 'Guaranteed' : 'Burstable';
}

function isSet(quantity: string | undefined): boolean {
  return quantity !== undefined && !/^0+[A-Za-z]*$/.test(String(quantity));
}

/** Parent cgroup of a pod: "/kubepods/burstable/pod<uid>". */
export function podCgroup(pod: AgentPod): string {
  const qos = computeQosClass(pod);
  const middle = qos === 'Guaranteed' ? '' : `/${qos.toLowerCase()}`;
  return `/kubepods${middle}/pod${pod.metadata.uid}`;
}

/** Seconds between the stop request and SIGKILL: the deletion's, else the spec's. */
export function gracePeriodSeconds(pod: AgentPod): number {
  const { deletionGracePeriodSeconds, deletionTimestamp } = pod.metadata;
  if (deletionTimestamp && deletionGracePeriodSeconds !== undefined) return deletionGracePeriodSeconds;
  return pod.spec.terminationGracePeriodSeconds ?? 30;
}
