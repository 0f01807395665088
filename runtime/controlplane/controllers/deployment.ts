import type { Deployment, ReplicaSet } from 'kubernetes-types/apps/v1.d.ts';
import { isApiError } from '../../api/api-error.ts';
import { DEPLOYMENTS, PODS, REPLICA_SETS } from '../../api/kinds.ts';
import { type Action, create, event, remove, update, updateStatus } from '../component/action.ts';
import { byAge, controllerOf, isPodTerminal, isSameJson } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { claimObjects } from './adoption.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
  watchOwned,
  watchSelf,
} from './controller.ts';
import {
  buildAnnotations,
  buildReplicaSet,
  findNewReplicaSet,
  nextRevision,
  REVISION,
  revisionOf,
  withReplicasAnnotations,
} from './deployment-revisions.ts';
import {
  isScalingEvent,
  planNewReplicas,
  planOldReplicas,
  planScaling,
  type ScalePlan,
} from './deployment-rollout.ts';
import {
  buildDeploymentStatus,
  isDeploymentComplete,
  nextDeadlineMs,
  type RolloutNotice,
} from './deployment-status.ts';

/** Rolls each Deployment out through ReplicaSets, one for each template it had. */
export function createDeploymentController(): Controller {
  return {
    name: 'deployment-controller',
    watches: [
      watchSelf(DEPLOYMENTS),
      watchOwned(REPLICA_SETS, 'Deployment'),
      // Recreate waits for the last pod of the old ReplicaSets.
      watch(PODS, (change, view) => (change.type === 'DELETED' ? recreateOwners(change.object, view) : [])),
    ],
    reconcile: reconcileDeployment,
    failed: (key, error, { view }) => countCollision(view.get(DEPLOYMENTS, key), error, view),
  };
}

function recreateOwners(pod: { metadata?: object }, view: View): string[] {
  const replicaSet = controllerOf(pod);
  if (replicaSet?.kind !== 'ReplicaSet') return [];
  const { namespace } = pod.metadata as { namespace?: string };
  const owner = controllerOf(view.get(REPLICA_SETS, `${namespace}/${replicaSet.name}`));
  if (owner?.kind !== 'Deployment') return [];
  const key = `${namespace}/${owner.name}`;
  return view.get(DEPLOYMENTS, key)?.spec?.strategy?.type === 'Recreate' ? [key] : [];
}

/** The new ReplicaSet's name is taken by a stranger: the next hash must differ. */
function countCollision(deployment: Deployment | undefined, error: unknown, view: View): Action[] {
  if (!deployment?.spec || !isApiError(error, 'AlreadyExists')) return [];
  const name = buildReplicaSet(deployment, 0, 0).metadata?.name;
  const holder = view.get(REPLICA_SETS, `${deployment.metadata?.namespace}/${name}`);
  if (controllerOf(holder)?.uid === deployment.metadata?.uid) return [];
  const collisionCount = (deployment.status?.collisionCount ?? 0) + 1;
  return [updateStatus(DEPLOYMENTS, { ...deployment, status: { ...deployment.status, collisionCount } })];
}

interface State extends ReconcileContext {
  readonly deployment: Deployment;
  readonly newReplicaSet: ReplicaSet | undefined;
  readonly old: readonly ReplicaSet[];
  readonly all: readonly ReplicaSet[];
}

/** One step of the rollout; its effect on the ReplicaSets brings the next. */
export function reconcileDeployment(key: string, context: ReconcileContext): ReconcileResult {
  const deployment = context.view.get(DEPLOYMENTS, key);
  if (!deployment?.spec) return SETTLED;
  const claim = claimObjects(context.view, {
    ownerKind: DEPLOYMENTS,
    owner: deployment,
    kind: REPLICA_SETS,
    selector: deployment.spec.selector,
  });
  const newReplicaSet = findNewReplicaSet(deployment, claim.owned);
  const old = claim.owned.filter((entry) => entry !== newReplicaSet);
  const state: State = { ...context, deployment, newReplicaSet, old, all: claim.owned };
  const step = deployment.metadata?.deletionTimestamp ? {} : planStep(state);
  const status = buildDeploymentStatus({ ...state, notice: step.notice });
  const statusActions = isSameJson(status, deployment.status)
    ? []
    : [updateStatus(DEPLOYMENTS, { ...deployment, status })];
  // One write of the Deployment at a time: the status now brings the next look, which writes the rest.
  const last = statusActions.length > 0 ? [] : (step.last ?? []);
  return {
    actions: [...claim.actions, ...(step.actions ?? []), ...statusActions, ...last],
    requeueAfterMs: nextDeadlineMs(deployment, status, context.now),
  };
}

interface Step {
  readonly actions?: readonly Action[];
  /** After the status, for it changes the Deployment itself. */
  readonly last?: readonly Action[];
  readonly notice?: RolloutNotice | undefined;
}

function planStep(state: State): Step {
  const { deployment, newReplicaSet, old, all } = state;
  const pauseNotice = planPauseNotice(deployment);
  if (deployment.spec?.paused || isScalingEvent(deployment, all)) {
    const actions = formatPlan(state, planScaling(deployment, newReplicaSet, old));
    const cleanup = deployment.spec?.paused ? planCleanup(state) : [];
    return { actions: [...actions, ...cleanup], notice: pauseNotice };
  }
  if (deployment.spec?.strategy?.type === 'Recreate') {
    const running = new Map(
      old.filter((entry) => (entry.spec?.replicas ?? 1) > 0).map((entry) => [entry, 0]),
    );
    if (running.size > 0) return { actions: formatPlan(state, running), notice: pauseNotice };
    if (hasOldPods(state)) return { notice: pauseNotice };
  }
  if (!newReplicaSet) return planCreation(state);
  const synced = planRevision(state, newReplicaSet);
  if (synced.actions?.length) return synced;
  return { ...planRolling(state, newReplicaSet), last: synced.last ?? [], notice: pauseNotice };
}

function planPauseNotice({ spec, status }: Deployment): RolloutNotice | undefined {
  const reason = status?.conditions?.find((condition) => condition.type === 'Progressing')?.reason;
  if (reason === 'ProgressDeadlineExceeded') return undefined;
  if (spec?.paused && reason !== 'DeploymentPaused') {
    return { reason: 'DeploymentPaused', message: 'Deployment is paused' };
  }
  if (!spec?.paused && reason === 'DeploymentPaused') {
    return { reason: 'DeploymentResumed', message: 'Deployment is resumed' };
  }
  return undefined;
}

function hasOldPods({ view, old }: State): boolean {
  return old.some((entry) =>
    view.controlledBy(PODS, entry.metadata?.uid ?? '').some((pod) => !isPodTerminal(pod)),
  );
}

function planCreation(state: State): Step {
  const { deployment, all, old } = state;
  const revision = nextRevision(old);
  const replicaSet = buildReplicaSet(deployment, planNewReplicas(deployment, all, 0), revision);
  const { name } = replicaSet.metadata!;
  const size = replicaSet.spec?.replicas ?? 0;
  const scaled = `Scaled up replica set ${name} from 0 to ${size}`;
  return {
    actions: [
      create(REPLICA_SETS, replicaSet),
      ...(size > 0 ? [event(DEPLOYMENTS, deployment, 'Normal', 'ScalingReplicaSet', scaled)] : []),
    ],
    last: planRevisionAnnotation(deployment, revision),
    notice: { reason: 'NewReplicaSetCreated', message: `Created new replica set "${name}"` },
  };
}

/** Keeps revision, copied annotations and minReadySeconds of the new ReplicaSet (a rollback reuses an old one). */
function planRevision({ deployment, old }: State, newReplicaSet: ReplicaSet): Step {
  const revision = Math.max(nextRevision(old), revisionOf(newReplicaSet));
  const annotations = buildAnnotations(deployment, newReplicaSet.metadata?.annotations, revision);
  const minReadySeconds = deployment.spec?.minReadySeconds ?? 0;
  const last = planRevisionAnnotation(deployment, revision);
  const isInSync =
    isSameJson(annotations, newReplicaSet.metadata?.annotations ?? {}) &&
    (newReplicaSet.spec?.minReadySeconds ?? 0) === minReadySeconds;
  if (isInSync) return { last };
  const changed: ReplicaSet = {
    ...newReplicaSet,
    metadata: { ...newReplicaSet.metadata, annotations },
    spec: { ...newReplicaSet.spec!, minReadySeconds },
  };
  const progressing = deployment.status?.conditions?.some((entry) => entry.type === 'Progressing');
  const message = `Found new replica set "${newReplicaSet.metadata?.name}"`;
  return {
    actions: [update(REPLICA_SETS, changed)],
    last,
    notice: progressing ? undefined : { reason: 'FoundNewReplicaSet', message },
  };
}

function planRevisionAnnotation(deployment: Deployment, revision: number): Action[] {
  if (deployment.metadata?.annotations?.[REVISION] === String(revision)) return [];
  const annotations = { ...deployment.metadata?.annotations, [REVISION]: String(revision) };
  const annotated = { ...deployment, metadata: { ...deployment.metadata, annotations } };
  return [update(DEPLOYMENTS, annotated)];
}

function planRolling(state: State, newReplicaSet: ReplicaSet): Step {
  const { deployment, all, old } = state;
  const size = newReplicaSet.spec?.replicas ?? 1;
  const wanted = planNewReplicas(deployment, all, size);
  if (wanted !== size) return { actions: formatPlan(state, new Map([[newReplicaSet, wanted]])) };
  const shrink = formatPlan(state, planOldReplicas(deployment, newReplicaSet, old));
  return shrink.length > 0 ? { actions: shrink } : { actions: planCleanup(state) };
}

/** Deletes the oldest ReplicaSets without pods beyond `revisionHistoryLimit`, once the rollout is complete. */
function planCleanup({ deployment, old }: State): Action[] {
  const limit = deployment.spec?.revisionHistoryLimit ?? 10;
  if (!isDeploymentComplete(deployment, deployment.status)) return [];
  const alive = old.filter((entry) => !entry.metadata?.deletionTimestamp);
  const surplus = alive.length - limit;
  if (surplus <= 0) return [];
  return alive
    .sort((a, b) => revisionOf(a) - revisionOf(b) || byAge(a, b))
    .slice(0, surplus)
    .filter(
      ({ spec, status, metadata }) =>
        status?.replicas === 0 &&
        spec?.replicas === 0 &&
        (metadata?.generation ?? 0) <= (status.observedGeneration ?? 0),
    )
    .map((entry) => remove(REPLICA_SETS, entry));
}

/** Updates for a plan: size and size annotations, with an Event when the size changes. */
function formatPlan({ deployment }: State, plan: ScalePlan): Action[] {
  return [...plan].flatMap(([replicaSet, replicas]) => {
    const annotations = withReplicasAnnotations(deployment, replicaSet.metadata?.annotations);
    const before = replicaSet.spec?.replicas ?? 1;
    if (before === replicas && isSameJson(annotations, replicaSet.metadata?.annotations)) return [];
    const changed: ReplicaSet = {
      ...replicaSet,
      metadata: { ...replicaSet.metadata, annotations },
      spec: { ...replicaSet.spec!, replicas },
    };
    const direction = replicas > before ? 'up' : 'down';
    const name = replicaSet.metadata?.name;
    const message = `Scaled ${direction} replica set ${name} from ${before} to ${replicas}`;
    return [
      update(REPLICA_SETS, changed),
      ...(before === replicas
        ? []
        : [event(DEPLOYMENTS, deployment, 'Normal', 'ScalingReplicaSet', message)]),
    ];
  });
}
