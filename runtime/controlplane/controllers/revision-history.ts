import type { ControllerRevision } from 'kubernetes-types/apps/v1.d.ts';
import type { PodTemplateSpec } from 'kubernetes-types/core/v1.d.ts';
import type { LabelSelector } from 'kubernetes-types/meta/v1.d.ts';
import { CONTROLLER_REVISIONS, type Kind, type KubeObject } from '../../api/kinds.ts';
import { type Action, create, remove, update } from '../component/action.ts';
import { hashTemplate } from '../component/hash.ts';
import { buildControllerReference, isSameJson } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { claimObjects } from './adoption.ts';

export const REVISION_HASH_LABEL = 'controller-revision-hash';

/** What DaemonSets and StatefulSets have in common. */
export interface Revisioned extends KubeObject {
  spec?: { selector: LabelSelector; template: PodTemplateSpec; revisionHistoryLimit?: number };
  status?: { collisionCount?: number };
}

/** The revisions of one DaemonSet or StatefulSet and what has to change among them. */
export interface RevisionHistory {
  /** Hash label of the present template. */
  readonly hash: string;
  readonly current: ControllerRevision | undefined;
  /** Oldest first. */
  readonly revisions: readonly ControllerRevision[];
  readonly actions: readonly Action[];
}

/** Finds or plans the ControllerRevision of the owner's template. */
export function planRevisions<T extends Revisioned>(kind: Kind<T>, owner: T, view: View): RevisionHistory {
  const claim = claimObjects(view, {
    ownerKind: kind,
    owner,
    kind: CONTROLLER_REVISIONS,
    selector: owner.spec?.selector,
  });
  const revisions = [...claim.owned].sort((a, b) => a.revision - b.revision);
  const data = buildData(owner);
  const matching = revisions.filter((revision) => isSameJson(revision.data, data));
  const current = matching.at(-1);
  const newest = revisions.at(-1)?.revision ?? 0;
  if (!current) {
    const created = buildRevision(kind, owner, data, newest + 1);
    const hash = created.metadata?.labels?.[REVISION_HASH_LABEL] ?? '';
    const actions = [...claim.actions, create(CONTROLLER_REVISIONS, created, { ignoreExisting: true })];
    return { hash, current, revisions, actions };
  }
  const hash = current.metadata?.labels?.[REVISION_HASH_LABEL] ?? current.metadata?.name ?? '';
  // A rollback makes an old revision the newest one again.
  const raise =
    current.revision < newest ? [update(CONTROLLER_REVISIONS, { ...current, revision: newest + 1 })] : [];
  return { hash, current, revisions, actions: [...claim.actions, ...raise] };
}

/** Deletes the oldest revisions beyond `revisionHistoryLimit` that no pod has; pods name them by hash or by name. */
export function planHistoryCleanup<T extends Revisioned>(
  owner: T,
  history: RevisionHistory,
  usedHashes: ReadonlySet<string>,
): Action[] {
  const unused = history.revisions.filter(
    (revision) =>
      revision !== history.current &&
      !usedHashes.has(revision.metadata?.labels?.[REVISION_HASH_LABEL] ?? '') &&
      !usedHashes.has(revision.metadata?.name ?? ''),
  );
  const surplus = unused.length - (owner.spec?.revisionHistoryLimit ?? 10);
  return unused.slice(0, Math.max(0, surplus)).map((revision) => remove(CONTROLLER_REVISIONS, revision));
}

/** The template of a revision. */
export function templateOf(revision: ControllerRevision | undefined): PodTemplateSpec | undefined {
  const data = revision?.data as { spec?: { template?: PodTemplateSpec & { $patch?: string } } } | undefined;
  const { $patch: _, ...template } = data?.spec?.template ?? {};
  return data?.spec?.template ? (template as PodTemplateSpec) : undefined;
}

/** A strategic merge patch that puts the template back, as `kubectl rollout undo` applies it. */
function buildData(owner: Revisioned) {
  return { spec: { template: { ...owner.spec?.template, $patch: 'replace' } } };
}

function buildRevision<T extends Revisioned>(
  kind: Kind<T>,
  owner: T,
  data: object,
  revision: number,
): ControllerRevision {
  const hash = hashTemplate(data, owner.status?.collisionCount);
  return {
    metadata: {
      name: `${owner.metadata?.name}-${hash}`,
      namespace: owner.metadata?.namespace ?? '',
      labels: { ...owner.spec?.template.metadata?.labels, [REVISION_HASH_LABEL]: hash },
      annotations: { ...owner.metadata?.annotations },
      ownerReferences: [buildControllerReference(kind, owner)],
    },
    data: data as NonNullable<ControllerRevision['data']>,
    revision,
  };
}
