import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { PODS } from '../../api/kinds.ts';
import { type Action, mergePatch } from '../component/action.ts';
import { controllerOf, splitKey } from '../component/objects.ts';
import type { View } from '../component/view.ts';

/** Keeps an ended pod until its Job's status has counted it. */
export const TRACKING_FINALIZER = 'batch.kubernetes.io/job-tracking';

/** The pods of a Job that is gone: nobody counts them any more. */
export function releaseOrphans(key: string, view: View): Action[] {
  const { namespace, name } = splitKey(key);
  return view
    .inNamespace(PODS, namespace)
    .filter((pod) => controllerOf(pod)?.kind === 'Job' && controllerOf(pod)?.name === name)
    .flatMap(releasePod);
}

/** True for a pod that its Job still counts. */
export function isTracked({ metadata }: Pod): boolean {
  return metadata?.finalizers?.includes(TRACKING_FINALIZER) ?? false;
}

/** Lets a pod go that is counted. */
export function releasePod(pod: Pod): Action[] {
  const { finalizers = [], uid } = pod.metadata ?? {};
  if (!finalizers.includes(TRACKING_FINALIZER)) return [];
  const left = finalizers.filter((name) => name !== TRACKING_FINALIZER);
  return [mergePatch(PODS, pod, { metadata: { uid, finalizers: left } })];
}
