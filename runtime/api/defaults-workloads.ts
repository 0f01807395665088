import { type DefaultValues, fill } from './defaults-fill.ts';
import { defaultPodTemplate } from './defaults-pod.ts';
import { defaultClaim } from './defaults-storage.ts';
import { ensureObject, getObject, getObjects } from './schema/access.ts';
import type { JsonObject } from './schema/types.ts';

function labelsOfTemplate(spec: JsonObject): JsonObject | undefined {
  return getObject(getObject(getObject(spec, 'template'), 'metadata'), 'labels');
}

/** The defaults of the pod template of a workload. */
export function defaultWorkload(spec: JsonObject): void {
  const template = getObject(spec, 'template');
  if (template) defaultPodTemplate(template);
}

function defaultRollingUpdate(strategy: JsonObject, values: DefaultValues): void {
  fill(strategy, { type: 'RollingUpdate' });
  if (strategy['type'] === 'RollingUpdate') fill(ensureObject(strategy, 'rollingUpdate'), values);
}

/** The defaults of a Deployment. */
export function defaultDeployment(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
  defaultRollingUpdate(ensureObject(spec, 'strategy'), { maxUnavailable: '25%', maxSurge: '25%' });
  defaultWorkload(spec);
}

/** The defaults of a ReplicaSet. */
export function defaultReplicaSet(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { replicas: 1 });
  defaultWorkload(spec);
}

/** The defaults of a ReplicationController. */
export function defaultReplicationController(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  const labels = labelsOfTemplate(spec);
  if (labels) {
    if (!getObject(spec, 'selector')) spec['selector'] = { ...labels };
    const metadata = ensureObject(object, 'metadata');
    if (!getObject(metadata, 'labels')) metadata['labels'] = { ...labels };
  }
  defaultReplicaSet(object);
}

/** The defaults of a DaemonSet. */
export function defaultDaemonSet(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { revisionHistoryLimit: 10 });
  defaultRollingUpdate(ensureObject(spec, 'updateStrategy'), { maxUnavailable: 1, maxSurge: 0 });
  defaultWorkload(spec);
}

/** The defaults of a StatefulSet. */
export function defaultStatefulSet(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: 'OrderedReady' });
  defaultRollingUpdate(ensureObject(spec, 'updateStrategy'), { partition: 0 });
  fill(ensureObject(spec, 'persistentVolumeClaimRetentionPolicy'), {
    whenDeleted: 'Retain',
    whenScaled: 'Retain',
  });
  defaultWorkload(spec);
  for (const claim of getObjects(spec, 'volumeClaimTemplates')) {
    fill(claim, { apiVersion: 'v1', kind: 'PersistentVolumeClaim' });
    defaultClaim(claim);
  }
}

function defaultJobSpec(spec: JsonObject): void {
  if (spec['completions'] === undefined && spec['parallelism'] === undefined) {
    spec['completions'] = 1;
    spec['parallelism'] = 1;
  }
  fill(spec, { parallelism: 1, completionMode: 'NonIndexed', suspend: false });
  if (spec['backoffLimit'] === undefined)
    spec['backoffLimit'] = spec['backoffLimitPerIndex'] === undefined ? 6 : 2147483647;
  if (spec['podReplacementPolicy'] === undefined)
    spec['podReplacementPolicy'] = spec['podFailurePolicy'] ? 'Failed' : 'TerminatingOrFailed';
  for (const rule of getObjects(spec['podFailurePolicy'], 'rules'))
    for (const condition of getObjects(rule, 'onPodConditions')) fill(condition, { status: 'True' });
  defaultWorkload(spec);
}

/** The defaults of a Job. */
export function defaultJob(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  const labels = labelsOfTemplate(spec);
  const metadata = ensureObject(object, 'metadata');
  if (labels && !getObject(metadata, 'labels')) metadata['labels'] = { ...labels };
  defaultJobSpec(spec);
}

/** The defaults of a CronJob. */
export function defaultCronJob(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, {
    concurrencyPolicy: 'Allow',
    suspend: false,
    successfulJobsHistoryLimit: 3,
    failedJobsHistoryLimit: 1,
  });
  const jobSpec = getObject(getObject(spec, 'jobTemplate'), 'spec');
  const template = getObject(jobSpec, 'template');
  if (template) defaultPodTemplate(template);
}
