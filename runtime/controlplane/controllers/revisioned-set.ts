import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { CONTROLLER_REVISIONS, type Kind, PODS } from '../../api/kinds.ts';
import type { Action } from '../component/action.ts';
import type { View } from '../component/view.ts';
import { claimObjects } from './adoption.ts';
import { type WatchRow, watchOwned, watchSelf } from './controller.ts';
import { planRevisions, type Revisioned, type RevisionHistory } from './revision-history.ts';

/** A DaemonSet or StatefulSet with what belongs to it. */
export interface ObservedSet<T> {
  readonly set: T;
  readonly pods: readonly Pod[];
  /** undefined for a set that is being deleted: only the claims are left to do. */
  readonly history: RevisionHistory | undefined;
  /** Adoptions and releases of pods. */
  readonly claims: readonly Action[];
}

/** What a controller of such sets follows: the sets, their pods, their revisions. */
export function watchRevisioned<T extends Revisioned>(kind: Kind<T>): readonly WatchRow[] {
  return [watchSelf(kind), watchOwned(PODS, kind.kind), watchOwned(CONTROLLER_REVISIONS, kind.kind)];
}

/** The set with its pods and revisions; undefined when it is gone. */
export function observeSet<T extends Revisioned>(
  view: View,
  kind: Kind<T>,
  options: { readonly key: string; readonly canAdopt?: (set: T, pod: Pod) => boolean },
): ObservedSet<T> | undefined {
  const set = view.get(kind, options.key);
  if (!set?.spec) return undefined;
  const { canAdopt } = options;
  const claim = claimObjects(view, {
    ownerKind: kind,
    owner: set,
    kind: PODS,
    selector: set.spec.selector,
    ...(canAdopt ? { canAdopt: (pod: Pod) => canAdopt(set, pod) } : {}),
  });
  const history = set.metadata?.deletionTimestamp ? undefined : planRevisions(kind, set, view);
  return { set, pods: claim.owned, history, claims: claim.actions };
}
