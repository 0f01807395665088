import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { DAEMON_SETS, PODS } from '../../api/kinds.ts';
import { type Action, create, event, remove } from '../component/action.ts';
import { buildControllerReference } from '../component/objects.ts';
import type { DaemonState } from './daemon-nodes.ts';
import { buildDaemonSpec } from './daemon-spec.ts';
import { buildPodFromTemplate } from './pod-template.ts';
import { REVISION_HASH_LABEL } from './revision-history.ts';

const GENERATION_LABEL = 'pod-template-generation';

/** True for a pod of the present template. */
export function isUpdated({ set, hash }: DaemonState, pod: Pod): boolean {
  const labels = pod.metadata?.labels;
  const generation = set.metadata?.annotations?.['deprecated.daemonset.template.generation'];
  if (labels?.[REVISION_HASH_LABEL] === hash) return true;
  return (
    generation !== undefined && labels?.[GENERATION_LABEL] === generation && !labels[REVISION_HASH_LABEL]
  );
}

/** Makes the pod of a node. */
export function createDaemonPod(state: DaemonState, nodeName: string): Action {
  const { set, hash } = state;
  const pod = buildPodFromTemplate(set.spec?.template, set, buildControllerReference(DAEMON_SETS, set));
  const generation = set.metadata?.annotations?.['deprecated.daemonset.template.generation'];
  const labels = {
    ...pod.metadata?.labels,
    [REVISION_HASH_LABEL]: hash,
    ...(generation ? { [GENERATION_LABEL]: generation } : {}),
  };
  const object: Pod = { ...pod, metadata: { ...pod.metadata, labels }, spec: buildDaemonSpec(set, nodeName) };
  return create(PODS, object, { announce: { kind: DAEMON_SETS, owner: set } });
}

/** Deletes a pod and says so. */
export function deleteDaemonPod(
  { set }: DaemonState,
  pod: Pod,
  reason = 'SuccessfulDelete',
  message?: string,
): Action {
  const type = reason === 'SuccessfulDelete' ? 'Normal' : 'Warning';
  return {
    verb: 'parallel',
    actions: [
      event(DAEMON_SETS, set, type, reason, message ?? `Deleted pod: ${pod.metadata?.name}`),
      remove(PODS, pod),
    ],
  };
}
