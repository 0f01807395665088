import type { Deployment, ReplicaSet } from 'kubernetes-types/apps/v1.d.ts';
import type { PodTemplateSpec } from 'kubernetes-types/core/v1.d.ts';
import { DEPLOYMENTS } from '../../api/kinds.ts';
import { hashTemplate } from '../component/hash.ts';
import { buildControllerReference, byAge, isSameJson } from '../component/objects.ts';

const HASH_LABEL = 'pod-template-hash';
export const REVISION = 'deployment.kubernetes.io/revision';
const REVISION_HISTORY = 'deployment.kubernetes.io/revision-history';
export const DESIRED_REPLICAS = 'deployment.kubernetes.io/desired-replicas';
export const MAX_REPLICAS = 'deployment.kubernetes.io/max-replicas';

/** Annotations of a Deployment that its ReplicaSets do not take over. */
const NOT_COPIED: ReadonlySet<string> = new Set([
  'kubectl.kubernetes.io/last-applied-configuration',
  'deprecated.deployment.rollback.rollbackTo',
  REVISION,
  REVISION_HISTORY,
  DESIRED_REPLICAS,
  MAX_REPLICAS,
]);

/** The oldest ReplicaSet whose template is the Deployment's, without the hash label. */
export function findNewReplicaSet(
  deployment: Deployment,
  replicaSets: readonly ReplicaSet[],
): ReplicaSet | undefined {
  return [...replicaSets]
    .sort(byAge)
    .find((entry) => isSameTemplate(entry.spec?.template, deployment.spec?.template));
}

function isSameTemplate(left: PodTemplateSpec | undefined, right: PodTemplateSpec | undefined): boolean {
  return isSameJson(withoutHash(left), withoutHash(right));
}

function withoutHash(template: PodTemplateSpec | undefined): unknown {
  const { [HASH_LABEL]: _, ...labels } = template?.metadata?.labels ?? {};
  return { ...template, metadata: { ...template?.metadata, labels } };
}

/** The number in the revision annotation; 0 when there is none. */
export function revisionOf(replicaSet: ReplicaSet | undefined): number {
  return Number(replicaSet?.metadata?.annotations?.[REVISION] ?? 0) || 0;
}

/** The revision that the new ReplicaSet has or gets: one above all older ones. */
export function nextRevision(old: readonly ReplicaSet[]): number {
  return Math.max(0, ...old.map(revisionOf)) + 1;
}

/** The largest number of pods during a rolling update. */
function maxSurgeOf(deployment: Deployment): number {
  return rollingUpdateOf(deployment).maxSurge;
}

/** maxSurge and maxUnavailable as numbers of pods; both 0 would block, so maxUnavailable is 1 then. */
export function rollingUpdateOf(deployment: Deployment): {
  readonly maxSurge: number;
  readonly maxUnavailable: number;
} {
  const { replicas = 1, strategy } = deployment.spec ?? {};
  if (strategy?.type === 'Recreate') return { maxSurge: 0, maxUnavailable: 0 };
  const resolve = (value: string | number | undefined, round: (exact: number) => number) => {
    const text = String(value ?? '25%');
    return text.endsWith('%') ? round((Number(text.slice(0, -1)) * replicas) / 100) : Number(text);
  };
  const maxSurge = resolve(strategy?.rollingUpdate?.maxSurge, Math.ceil);
  const maxUnavailable = resolve(strategy?.rollingUpdate?.maxUnavailable, Math.floor);
  if (maxSurge === 0 && maxUnavailable === 0) return { maxSurge, maxUnavailable: 1 };
  return { maxSurge, maxUnavailable: Math.min(maxUnavailable, replicas) };
}

/** The annotations of the new ReplicaSet for this revision, with the history of earlier ones. */
export function buildAnnotations(
  deployment: Deployment,
  present: Readonly<Record<string, string>> | undefined,
  revision: number,
): Record<string, string> {
  const annotations: Record<string, string> = { ...present };
  for (const [name, value] of Object.entries(deployment.metadata?.annotations ?? {})) {
    if (!NOT_COPIED.has(name)) annotations[name] = value;
  }
  const before = Number(present?.[REVISION] ?? 0);
  if (before < revision) {
    annotations[REVISION] = String(revision);
    if (before > 0) {
      annotations[REVISION_HISTORY] = [...(present?.[REVISION_HISTORY]?.split(',') ?? []), before].join(',');
    }
  }
  return annotations;
}

/** Adds the annotations by which proportional scaling knows the size that a ReplicaSet had its share of. */
export function withReplicasAnnotations(
  deployment: Deployment,
  annotations: Readonly<Record<string, string>> | undefined,
): Record<string, string> {
  const replicas = deployment.spec?.replicas ?? 1;
  return {
    ...annotations,
    [DESIRED_REPLICAS]: String(replicas),
    [MAX_REPLICAS]: String(replicas + maxSurgeOf(deployment)),
  };
}

/** The ReplicaSet for the Deployment's present template. */
export function buildReplicaSet(deployment: Deployment, replicas: number, revision: number): ReplicaSet {
  const { template, selector, minReadySeconds } = deployment.spec!;
  const hash = hashTemplate(template, deployment.status?.collisionCount);
  const labels = { ...template.metadata?.labels, [HASH_LABEL]: hash };
  return {
    apiVersion: 'apps/v1',
    kind: 'ReplicaSet',
    metadata: {
      name: `${deployment.metadata?.name}-${hash}`,
      namespace: deployment.metadata?.namespace ?? '',
      labels,
      annotations: withReplicasAnnotations(deployment, buildAnnotations(deployment, undefined, revision)),
      ownerReferences: [buildControllerReference(DEPLOYMENTS, deployment)],
    },
    spec: {
      replicas,
      ...(minReadySeconds ? { minReadySeconds } : {}),
      selector: { ...selector, matchLabels: { ...selector.matchLabels, [HASH_LABEL]: hash } },
      template: { ...template, metadata: { ...template.metadata, labels } },
    },
  };
}
