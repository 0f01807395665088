import type { LabelSelector } from 'kubernetes-types/meta/v1.d.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import { isEmptySelector, matchesLabelSelector } from '../../api/label-selectors.ts';
import { type Action, mergePatch } from '../component/action.ts';
import { buildControllerReference } from '../component/objects.ts';
import type { View } from '../component/view.ts';

export interface Claim<T> {
  /** Controlled by the owner and matching its selector. */
  readonly owned: T[];
  /** Adopts matching orphans, releases what no longer matches. */
  readonly actions: Action[];
}

export interface ClaimOptions<O extends KubeObject, T extends KubeObject> {
  readonly ownerKind: Kind<O>;
  readonly owner: O;
  readonly kind: Kind<T>;
  readonly selector: LabelSelector | undefined;
  /** Further condition for adoption, for example "is not ended". */
  readonly canAdopt?: (object: T) => boolean;
}

/** Which objects an owner controls, as upstream's ControllerRefManager: by ownerReference and selector. */
export function claimObjects<O extends KubeObject, T extends KubeObject>(
  view: View,
  { ownerKind, owner, kind, selector, canAdopt }: ClaimOptions<O, T>,
): Claim<T> {
  const { uid = '', namespace = '', deletionTimestamp } = owner.metadata ?? {};
  const owned: T[] = [];
  const actions: Action[] = [];
  // Without a selector nothing could be told apart: what the owner made stays its own.
  if (isEmptySelector(selector)) return { owned: [...view.controlledBy(kind, uid)], actions };
  for (const object of view.controlledBy(kind, uid)) {
    if (matchesLabelSelector(selector, object.metadata?.labels)) owned.push(object);
    else if (!deletionTimestamp) actions.push(release(kind, object, uid));
  }
  if (deletionTimestamp) return { owned, actions };
  for (const object of view.orphans(kind, namespace)) {
    if (object.metadata?.deletionTimestamp || !matchesLabelSelector(selector, object.metadata?.labels))
      continue;
    if (canAdopt && !canAdopt(object)) continue;
    const references = [
      ...(object.metadata?.ownerReferences ?? []),
      buildControllerReference(ownerKind, owner),
    ];
    actions.push(
      mergePatch(kind, object, { metadata: { uid: object.metadata?.uid, ownerReferences: references } }),
    );
  }
  return { owned, actions };
}

function release<T extends KubeObject>(kind: Kind<T>, object: T, ownerUid: string): Action {
  const ownerReferences = (object.metadata?.ownerReferences ?? []).filter(
    (reference) => reference.uid !== ownerUid,
  );
  return mergePatch(kind, object, { metadata: { uid: object.metadata?.uid, ownerReferences } });
}
