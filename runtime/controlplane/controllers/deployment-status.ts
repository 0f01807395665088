import type {
  Deployment,
  DeploymentCondition,
  DeploymentStatus,
  ReplicaSet,
} from 'kubernetes-types/apps/v1.d.ts';
import { formatTime } from '../../api/time.ts';
import { isSameJson, timeMs } from '../component/objects.ts';
import { rollingUpdateOf } from './deployment-revisions.ts';

/** `progressDeadlineSeconds` that means "none". */
const NO_DEADLINE = 2 ** 31 - 1;

/** Which state of the rollout the Progressing condition tells of, besides what the numbers say. */
export interface RolloutNotice {
  readonly reason: 'NewReplicaSetCreated' | 'FoundNewReplicaSet' | 'DeploymentPaused' | 'DeploymentResumed';
  readonly message: string;
}

export interface StatusInput {
  readonly deployment: Deployment;
  readonly newReplicaSet: ReplicaSet | undefined;
  readonly all: readonly ReplicaSet[];
  readonly now: Date;
  readonly notice?: RolloutNotice | undefined;
}

/** The counts and conditions of a Deployment (upstream's calculateStatus and syncRolloutStatus). */
export function buildDeploymentStatus(input: StatusInput): DeploymentStatus {
  const { deployment, newReplicaSet, all, now } = input;
  const sum = (field: 'replicas' | 'readyReplicas' | 'availableReplicas') =>
    all.reduce((total, entry) => total + (entry.status?.[field] ?? 0), 0);
  const availableReplicas = sum('availableReplicas');
  const counts = {
    observedGeneration: deployment.metadata?.generation ?? 0,
    replicas: sum('replicas'),
    updatedReplicas: newReplicaSet?.status?.replicas ?? 0,
    readyReplicas: sum('readyReplicas'),
    availableReplicas,
    unavailableReplicas: Math.max(
      0,
      all.reduce((total, entry) => total + (entry.spec?.replicas ?? 1), 0) - availableReplicas,
    ),
  };
  const conditions = [...(deployment.status?.conditions ?? [])];
  set(conditions, availableCondition(deployment, availableReplicas), now);
  const progress = progressCondition(input, counts);
  if (progress) set(conditions, progress, now);
  const failure = failureCondition(newReplicaSet, all);
  if (failure) set(conditions, failure, now);
  const kept = failure ? conditions : conditions.filter((entry) => entry.type !== 'ReplicaFailure');
  const { collisionCount } = deployment.status ?? {};
  return { ...counts, ...(collisionCount ? { collisionCount } : {}), conditions: kept };
}

/** True when every replica is updated and available and nothing old is left. */
export function isDeploymentComplete(deployment: Deployment, status: DeploymentStatus | undefined): boolean {
  const wanted = deployment.spec?.replicas ?? 1;
  return (
    (status?.updatedReplicas ?? 0) === wanted &&
    (status?.replicas ?? 0) === wanted &&
    (status?.availableReplicas ?? 0) === wanted &&
    (status?.observedGeneration ?? 0) >= (deployment.metadata?.generation ?? 0)
  );
}

/** When the progress deadline has to be looked at again; undefined when there is none to wait for. */
export function nextDeadlineMs(
  deployment: Deployment,
  status: DeploymentStatus,
  now: Date,
): number | undefined {
  const progressing = status.conditions?.find((condition) => condition.type === 'Progressing');
  if (!hasDeadline(deployment) || deployment.spec?.paused || !progressing) return undefined;
  if (progressing.reason === 'NewReplicaSetAvailable' || progressing.reason === 'ProgressDeadlineExceeded') {
    return undefined;
  }
  const deadlineMs = timeMs(progressing.lastUpdateTime) + deployment.spec!.progressDeadlineSeconds! * 1000;
  return Math.max(1_000, deadlineMs - now.getTime() + 1_000);
}

function hasDeadline(deployment: Deployment): boolean {
  const seconds = deployment.spec?.progressDeadlineSeconds;
  return seconds !== undefined && seconds !== NO_DEADLINE;
}

type NextCondition = Pick<DeploymentCondition, 'type' | 'status'> & { reason: string; message: string };

function availableCondition(deployment: Deployment, available: number): NextCondition {
  const enough = (deployment.spec?.replicas ?? 1) - rollingUpdateOf(deployment).maxUnavailable;
  return available >= enough
    ? {
        type: 'Available',
        status: 'True',
        reason: 'MinimumReplicasAvailable',
        message: 'Deployment has minimum availability.',
      }
    : {
        type: 'Available',
        status: 'False',
        reason: 'MinimumReplicasUnavailable',
        message: 'Deployment does not have minimum availability.',
      };
}

function progressCondition(input: StatusInput, counts: DeploymentStatus): NextCondition | undefined {
  const { deployment, newReplicaSet, notice, now } = input;
  if (!hasDeadline(deployment)) return undefined;
  if (notice) {
    const status = notice.reason.startsWith('Deployment') ? 'Unknown' : 'True';
    return { type: 'Progressing', status, reason: notice.reason, message: notice.message };
  }
  const present = deployment.status?.conditions?.find((condition) => condition.type === 'Progressing');
  const subject = newReplicaSet
    ? `ReplicaSet "${newReplicaSet.metadata?.name}"`
    : `Deployment "${deployment.metadata?.name}"`;
  if (counts.replicas === counts.updatedReplicas && present?.reason === 'NewReplicaSetAvailable')
    return undefined;
  if (isDeploymentComplete(deployment, counts)) {
    return {
      type: 'Progressing',
      status: 'True',
      reason: 'NewReplicaSetAvailable',
      message: `${subject} has successfully progressed.`,
    };
  }
  if (hasProgressed(deployment.status, counts)) {
    return {
      type: 'Progressing',
      status: 'True',
      reason: 'ReplicaSetUpdated',
      message: `${subject} is progressing.`,
    };
  }
  if (!present || !isTimedOut(deployment, present, now)) return undefined;
  return {
    type: 'Progressing',
    status: 'False',
    reason: 'ProgressDeadlineExceeded',
    message: `${subject} has timed out progressing.`,
  };
}

function hasProgressed(before: DeploymentStatus | undefined, now: DeploymentStatus): boolean {
  const old = (status: DeploymentStatus | undefined) =>
    (status?.replicas ?? 0) - (status?.updatedReplicas ?? 0);
  return (
    (now.updatedReplicas ?? 0) > (before?.updatedReplicas ?? 0) ||
    old(now) < old(before) ||
    (now.readyReplicas ?? 0) > (before?.readyReplicas ?? 0) ||
    (now.availableReplicas ?? 0) > (before?.availableReplicas ?? 0)
  );
}

function isTimedOut(deployment: Deployment, present: DeploymentCondition, now: Date): boolean {
  if (present.reason === 'NewReplicaSetAvailable' || present.reason === 'DeploymentPaused') return false;
  if (present.reason === 'ProgressDeadlineExceeded') return true;
  const since = timeMs(present.lastUpdateTime);
  return since + deployment.spec!.progressDeadlineSeconds! * 1000 < now.getTime();
}

function failureCondition(
  newReplicaSet: ReplicaSet | undefined,
  all: readonly ReplicaSet[],
): NextCondition | undefined {
  for (const replicaSet of newReplicaSet ? [newReplicaSet] : all) {
    const failure = replicaSet.status?.conditions?.find((condition) => condition.type === 'ReplicaFailure');
    if (failure) {
      const { status, reason = '', message = '' } = failure;
      return { type: 'ReplicaFailure', status, reason, message };
    }
  }
  return undefined;
}

/** Puts the condition in place; an unchanged status keeps its transition time, an unchanged whole all times. */
function set(conditions: DeploymentCondition[], next: NextCondition, now: Date): void {
  const index = conditions.findIndex((condition) => condition.type === next.type);
  const present = conditions[index];
  const isSameReason = present?.status === next.status && present.reason === next.reason;
  if (isSameReason && next.reason !== 'ReplicaSetUpdated') return;
  if (present && isSameJson({ ...present, ...next, lastUpdateTime: formatTime(now) }, present)) return;
  const lastTransitionTime =
    present?.status === next.status && present.lastTransitionTime
      ? present.lastTransitionTime
      : formatTime(now);
  const condition = { ...next, lastUpdateTime: formatTime(now), lastTransitionTime };
  if (index < 0) conditions.push(condition);
  else conditions[index] = condition;
}
