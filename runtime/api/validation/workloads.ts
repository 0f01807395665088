import { isDeepStrictEqual } from 'node:util';
import { formatError } from '../../base/errors.ts';
import { matchesLabelSelector } from '../label-selectors.ts';
import { getObject, getString, getStringMap } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Findings, forbidden, invalid, notSupported, required } from './field-error.ts';
import { immutable } from './metadata.ts';
import { validatePodTemplate } from './pod.ts';
import { validateChoice, validateIntOrPercent, validateNonNegative } from './resources.ts';
import { isEmptySelector, validateLabelSelector } from './selector.ts';

type Validator = (object: JsonObject, old: JsonObject | undefined) => Findings;

const NO_MATCH = '`selector` does not match template `labels`';

function templateLabels(spec: JsonObject): Record<string, string> {
  return getStringMap(getObject(getObject(spec, 'template'), 'metadata'), 'labels');
}

function* validateSelector(spec: JsonObject, kind: string): Findings {
  const selector = getObject(spec, 'selector');
  if (!selector) {
    yield required('spec.selector');
    return;
  }
  yield* validateLabelSelector(selector, 'spec.selector');
  if (isEmptySelector(selector))
    yield invalid('spec.selector', selector, `empty selector is invalid for ${kind}`);
  else yield* validateMatch(spec, selector);
}

function* validateMatch(spec: JsonObject, selector: JsonObject): Findings {
  const labels = templateLabels(spec);
  try {
    if (matchesLabelSelector(selector, labels)) return;
  } catch (error) {
    yield invalid('spec.selector', selector, formatError(error));
    return;
  }
  yield invalid('spec.template.metadata.labels', labels, NO_MATCH);
}

function* validateTemplate(spec: JsonObject, restartPolicies: readonly string[]): Findings {
  const template = getObject(spec, 'template');
  if (!template) {
    yield required('spec.template');
    return;
  }
  yield* validatePodTemplate(template, 'spec.template');
  const policy = getString(template['spec'], 'restartPolicy');
  if (!restartPolicies.includes(policy))
    yield policy === ''
      ? required(
          'spec.template.spec.restartPolicy',
          `valid values: ${restartPolicies.map((item) => JSON.stringify(item)).join(', ')}`,
        )
      : notSupported('spec.template.spec.restartPolicy', policy, restartPolicies);
  const hasDeadline = getObject(template, 'spec')?.['activeDeadlineSeconds'] !== undefined;
  if (hasDeadline && restartPolicies.length === 1)
    yield forbidden(
      'spec.template.spec.activeDeadlineSeconds',
      'activeDeadlineSeconds in ReplicaSet is not Supported',
    );
}

function* validateSelectorChange(object: JsonObject, old: JsonObject | undefined): Findings {
  if (!old) return;
  const selector = getObject(object['spec'], 'selector');
  if (!isDeepStrictEqual(selector, getObject(old['spec'], 'selector')))
    yield immutable('spec.selector', selector);
}

const ALWAYS = ['Always'] as const;

function* validateCounts(spec: JsonObject, keys: readonly string[]): Findings {
  for (const key of keys) yield* validateNonNegative(spec[key], `spec.${key}`);
}

function isZero(value: unknown): boolean {
  return value === 0 || value === '0%';
}

function* validateRollingUpdate(strategy: JsonObject | undefined, field: string): Findings {
  const rolling = getObject(strategy, 'rollingUpdate');
  if (!rolling) return;
  yield* validateIntOrPercent(rolling['maxUnavailable'], `${field}.rollingUpdate.maxUnavailable`);
  yield* validateIntOrPercent(rolling['maxSurge'], `${field}.rollingUpdate.maxSurge`);
  if (isZero(rolling['maxUnavailable']) && isZero(rolling['maxSurge']))
    yield invalid(
      `${field}.rollingUpdate.maxUnavailable`,
      rolling['maxUnavailable'],
      'may not be 0 when `maxSurge` is 0',
    );
}

/** Findings about a Deployment. */
export const validateDeployment: Validator = function* (object, old) {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateCounts(spec, [
    'replicas',
    'minReadySeconds',
    'revisionHistoryLimit',
    'progressDeadlineSeconds',
  ]);
  yield* validateSelector(spec, 'deployment');
  yield* validateTemplate(spec, ALWAYS);
  const strategy = getObject(spec, 'strategy');
  yield* validateChoice(strategy?.['type'], 'spec.strategy.type', ['Recreate', 'RollingUpdate']);
  if (strategy?.['type'] === 'Recreate' && strategy['rollingUpdate'])
    yield forbidden('spec.strategy.rollingUpdate', "may not be specified when strategy `type` is 'Recreate'");
  yield* validateRollingUpdate(strategy, 'spec.strategy');
  const [deadline, ready] = [spec['progressDeadlineSeconds'], spec['minReadySeconds'] ?? 0];
  if (typeof deadline === 'number' && deadline <= Number(ready))
    yield invalid('spec.progressDeadlineSeconds', deadline, 'must be greater than minReadySeconds');
  yield* validateSelectorChange(object, old);
};

/** Findings about a ReplicaSet. */
export const validateReplicaSet: Validator = function* (object, old) {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateCounts(spec, ['replicas', 'minReadySeconds']);
  yield* validateSelector(spec, 'replicaset');
  yield* validateTemplate(spec, ALWAYS);
  yield* validateSelectorChange(object, old);
};

/** Findings about a ReplicationController, whose selector is a plain map. */
export const validateReplicationController: Validator = function* (object) {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateCounts(spec, ['replicas', 'minReadySeconds']);
  const selector = getStringMap(spec, 'selector');
  if (Object.keys(selector).length === 0) yield required('spec.selector');
  else yield* validateMatch(spec, { matchLabels: selector });
  yield* validateTemplate(spec, ALWAYS);
};

/** Findings about a DaemonSet. */
export const validateDaemonSet: Validator = function* (object, old) {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateCounts(spec, ['minReadySeconds', 'revisionHistoryLimit']);
  yield* validateSelector(spec, 'daemonset');
  yield* validateTemplate(spec, ALWAYS);
  const strategy = getObject(spec, 'updateStrategy');
  yield* validateChoice(strategy?.['type'], 'spec.updateStrategy.type', ['OnDelete', 'RollingUpdate']);
  yield* validateRollingUpdate(strategy, 'spec.updateStrategy');
  yield* validateSelectorChange(object, old);
};

const STATEFUL_MUTABLE = [
  'replicas',
  'ordinals',
  'template',
  'updateStrategy',
  'revisionHistoryLimit',
  'persistentVolumeClaimRetentionPolicy',
  'minReadySeconds',
] as const;

function without(object: JsonObject, keys: readonly string[]): unknown {
  return JSON.parse(
    JSON.stringify(Object.fromEntries(Object.entries(object).filter(([key]) => !keys.includes(key)))),
  );
}

/** Findings about a StatefulSet. */
export const validateStatefulSet: Validator = function* (object, old) {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateCounts(spec, ['replicas', 'minReadySeconds', 'revisionHistoryLimit']);
  yield* validateChoice(spec['podManagementPolicy'], 'spec.podManagementPolicy', [
    'OrderedReady',
    'Parallel',
  ]);
  const strategy = getObject(spec, 'updateStrategy');
  yield* validateChoice(strategy?.['type'], 'spec.updateStrategy.type', ['OnDelete', 'RollingUpdate']);
  yield* validateSelector(spec, 'statefulset');
  yield* validateTemplate(spec, ALWAYS);
  const before = old && getObject(old, 'spec');
  if (before && !isDeepStrictEqual(without(spec, STATEFUL_MUTABLE), without(before, STATEFUL_MUTABLE)))
    yield forbidden(
      'spec',
      "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    );
};

const JOB_POLICIES = ['OnFailure', 'Never'] as const;

function* validateJobSpec(spec: JsonObject, field: string): Findings {
  for (const key of [
    'parallelism',
    'completions',
    'backoffLimit',
    'activeDeadlineSeconds',
    'ttlSecondsAfterFinished',
  ])
    yield* validateNonNegative(spec[key], `${field}.${key}`);
  yield* validateChoice(spec['completionMode'], `${field}.completionMode`, ['Indexed', 'NonIndexed']);
  if (spec['completionMode'] === 'Indexed' && spec['completions'] === undefined)
    yield required(`${field}.completions`, 'when completion mode is Indexed');
  const template = getObject(spec, 'template');
  if (!template) {
    yield required(`${field}.template`);
    return;
  }
  yield* validatePodTemplate(template, `${field}.template`);
  const policy = getString(template['spec'], 'restartPolicy');
  if (policy === '' || policy === 'Always')
    yield required(`${field}.template.spec.restartPolicy`, 'valid values: "OnFailure", "Never"');
  else if (!JOB_POLICIES.some((item) => item === policy))
    yield notSupported(`${field}.template.spec.restartPolicy`, policy, JOB_POLICIES);
  if (spec['podFailurePolicy'] && policy !== 'Never')
    yield invalid(
      `${field}.template.spec.restartPolicy`,
      policy,
      'only "Never" is supported when podFailurePolicy is specified',
    );
}

function* validateJobUpdate(spec: JsonObject, old: JsonObject): Findings {
  const wasSuspended = old['suspend'] === true;
  for (const key of ['completionMode', 'podFailurePolicy', 'backoffLimitPerIndex', 'managedBy', 'selector'])
    if (!isDeepStrictEqual(spec[key], old[key])) yield immutable(`spec.${key}`, spec[key]);
  const isElastic = spec['completionMode'] === 'Indexed' && spec['completions'] === spec['parallelism'];
  if (spec['completions'] !== old['completions'] && !isElastic)
    yield immutable('spec.completions', spec['completions']);
  if (!wasSuspended && !isDeepStrictEqual(spec['template'], old['template']))
    yield immutable('spec.template', spec['template']);
}

/** Findings about a Job. */
export const validateJob: Validator = function* (object, old) {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateJobSpec(spec, 'spec');
  const selector = getObject(spec, 'selector');
  if (selector) {
    yield* validateLabelSelector(selector, 'spec.selector');
    yield* validateMatch(spec, selector);
  }
  const before = old && getObject(old, 'spec');
  if (before) yield* validateJobUpdate(spec, before);
};

const CRON_FIELD = /^[\d*/,\-?A-Za-z]+$/;
const CRON_MACRO = /^@(yearly|annually|monthly|weekly|daily|midnight|hourly|every \S+)$/;

function isSchedule(text: string): boolean {
  if (text.startsWith('@')) return CRON_MACRO.test(text);
  const words = text.trim().split(/\s+/);
  return words.length === 5 && words.every((word) => CRON_FIELD.test(word));
}

/** Findings about a CronJob. */
export const validateCronJob: Validator = function* (object) {
  const spec = getObject(object, 'spec') ?? {};
  const schedule = getString(spec, 'schedule');
  if (schedule === '') yield required('spec.schedule');
  else if (/^TZ=|^CRON_TZ=/.test(schedule))
    yield invalid(
      'spec.schedule',
      schedule,
      'cannot use TZ or CRON_TZ in schedule, use timeZone field instead',
    );
  else if (!isSchedule(schedule))
    yield invalid(
      'spec.schedule',
      schedule,
      `expected exactly 5 fields, found ${schedule.trim().split(/\s+/).length}: [${schedule}]`,
    );
  yield* validateChoice(spec['concurrencyPolicy'], 'spec.concurrencyPolicy', ['Allow', 'Forbid', 'Replace']);
  yield* validateCounts(spec, [
    'startingDeadlineSeconds',
    'successfulJobsHistoryLimit',
    'failedJobsHistoryLimit',
  ]);
  const name = getString(object['metadata'], 'name');
  if (name.length > 52) yield invalid('metadata.name', name, 'must be no more than 52 characters');
  yield* validateJobSpec(getObject(getObject(spec, 'jobTemplate'), 'spec') ?? {}, 'spec.jobTemplate.spec');
};

/** Findings about a PodDisruptionBudget. */
export const validateBudget: Validator = function* (object) {
  const spec = getObject(object, 'spec') ?? {};
  if (spec['minAvailable'] !== undefined && spec['maxUnavailable'] !== undefined)
    yield invalid('spec', spec, 'minAvailable and maxUnavailable cannot be both set');
  yield* validateIntOrPercent(spec['minAvailable'], 'spec.minAvailable');
  yield* validateIntOrPercent(spec['maxUnavailable'], 'spec.maxUnavailable');
  yield* validateLabelSelector(getObject(spec, 'selector'), 'spec.selector');
  yield* validateChoice(spec['unhealthyPodEvictionPolicy'], 'spec.unhealthyPodEvictionPolicy', [
    'AlwaysAllow',
    'IfHealthyBudget',
  ]);
};

/** Findings about a HorizontalPodAutoscaler. */
export const validateAutoscaler: Validator = function* (object) {
  const spec = getObject(object, 'spec') ?? {};
  const [min, max] = [spec['minReplicas'], spec['maxReplicas']];
  if (typeof min === 'number' && min < 1)
    yield invalid('spec.minReplicas', min, 'must be greater than or equal to 1');
  if (typeof max !== 'number' || max < 1)
    yield invalid('spec.maxReplicas', max ?? 0, 'must be greater than 0');
  else if (typeof min === 'number' && max < min)
    yield invalid('spec.maxReplicas', max, 'must be greater than or equal to `minReplicas`');
  for (const key of ['kind', 'name'])
    if (!getString(spec['scaleTargetRef'], key)) yield required(`spec.scaleTargetRef.${key}`);
};

/** Findings about a PodTemplate. */
export const validatePodTemplateObject: Validator = function* (object) {
  yield* validatePodTemplate(getObject(object, 'template') ?? {}, 'template');
};

/** Findings about a ControllerRevision. */
export const validateControllerRevision: Validator = function* (object, old) {
  yield* validateNonNegative(object['revision'], 'revision');
  if (object['data'] === undefined || object['data'] === null) yield required('data', 'data is mandatory');
  if (old && !isDeepStrictEqual(object['data'], old['data'])) yield immutable('data', object['data']);
};
