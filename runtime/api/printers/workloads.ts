import { getObject, getObjects, getString, getStringMap } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Cell, type Printer, parseColumns } from './columns.ts';
import {
  ageOf,
  containersOf,
  countOf,
  findCondition,
  formatAge,
  formatLabels,
  formatSelector,
  formatSelectorMap,
  formatSince,
  nameOf,
  orNone,
  specOf,
  statusOf,
} from './format.ts';

function templateOf(object: JsonObject): JsonObject | undefined {
  return getObject(specOf(object), 'template');
}

function deploymentCells(object: JsonObject, now: Date): readonly Cell[] {
  const [spec, status] = [specOf(object), statusOf(object)];
  return [
    nameOf(object),
    `${countOf(status, 'readyReplicas')}/${countOf(spec, 'replicas')}`,
    countOf(status, 'updatedReplicas'),
    countOf(status, 'availableReplicas'),
    ageOf(object, now),
    ...containersOf(templateOf(object)),
    formatSelector(getObject(spec, 'selector')),
  ];
}

function replicaCells(object: JsonObject, now: Date): readonly Cell[] {
  const [spec, status] = [specOf(object), statusOf(object)];
  const isMap = object['kind'] === 'ReplicationController';
  return [
    nameOf(object),
    countOf(spec, 'replicas'),
    countOf(status, 'replicas'),
    countOf(status, 'readyReplicas'),
    ageOf(object, now),
    ...containersOf(templateOf(object)),
    isMap ? formatSelectorMap(spec, 'selector') : formatSelector(getObject(spec, 'selector')),
  ];
}

function daemonSetCells(object: JsonObject, now: Date): readonly Cell[] {
  const [spec, status] = [specOf(object), statusOf(object)];
  return [
    nameOf(object),
    countOf(status, 'desiredNumberScheduled'),
    countOf(status, 'currentNumberScheduled'),
    countOf(status, 'numberReady'),
    countOf(status, 'updatedNumberScheduled'),
    countOf(status, 'numberAvailable'),
    formatLabels(getStringMap(getObject(templateOf(object), 'spec'), 'nodeSelector')),
    ageOf(object, now),
    ...containersOf(templateOf(object)),
    formatSelector(getObject(spec, 'selector')),
  ];
}

function statefulSetCells(object: JsonObject, now: Date): readonly Cell[] {
  return [
    nameOf(object),
    `${countOf(statusOf(object), 'readyReplicas')}/${countOf(specOf(object), 'replicas')}`,
    ageOf(object, now),
    ...containersOf(templateOf(object)),
  ];
}

/** Conditions of a Job in the order in which they name its status. */
const JOB_STATES = ['Complete', 'Failed'] as const;
const JOB_LATER_STATES = ['Suspended', 'FailureTarget', 'SuccessCriteriaMet'] as const;

function formatJobStatus(job: JsonObject): string {
  const holds = (type: string): boolean => findCondition(job, type)?.['status'] === 'True';
  const final = JOB_STATES.find(holds);
  if (final) return final;
  if (getString(job['metadata'], 'deletionTimestamp')) return 'Terminating';
  return JOB_LATER_STATES.find(holds) ?? 'Running';
}

function formatCompletions(job: JsonObject): string {
  const spec = specOf(job);
  const succeeded = countOf(statusOf(job), 'succeeded');
  if (typeof spec['completions'] === 'number') return `${succeeded}/${spec['completions']}`;
  const parallelism = countOf(spec, 'parallelism');
  return parallelism > 1 ? `${succeeded}/1 of ${parallelism}` : `${succeeded}/1`;
}

function formatJobDuration(job: JsonObject, now: Date): string {
  const start = getString(job['status'], 'startTime');
  if (!start) return '';
  const end = getString(job['status'], 'completionTime');
  return formatAge((end ? Date.parse(end) : now.getTime()) - Date.parse(start));
}

function jobCells(object: JsonObject, now: Date): readonly Cell[] {
  return [
    nameOf(object),
    formatJobStatus(object),
    formatCompletions(object),
    formatJobDuration(object, now),
    ageOf(object, now),
    ...containersOf(templateOf(object)),
    formatSelector(getObject(specOf(object), 'selector')),
  ];
}

function cronJobCells(object: JsonObject, now: Date): readonly Cell[] {
  const [spec, status] = [specOf(object), statusOf(object)];
  const last = getString(status, 'lastScheduleTime');
  const jobSpec = getObject(getObject(spec, 'jobTemplate'), 'spec');
  return [
    nameOf(object),
    getString(spec, 'schedule'),
    orNone(getString(spec, 'timeZone')),
    spec['suspend'] === true ? 'True' : 'False',
    getObjects(status, 'active').length,
    last ? formatSince(last, now) : '<none>',
    ageOf(object, now),
    ...containersOf(getObject(jobSpec, 'template')),
    formatSelector(getObject(jobSpec, 'selector')),
  ];
}

function budgetCells(object: JsonObject, now: Date): readonly Cell[] {
  const spec = specOf(object);
  return [
    nameOf(object),
    String(spec['minAvailable'] ?? 'N/A'),
    String(spec['maxUnavailable'] ?? 'N/A'),
    countOf(statusOf(object), 'disruptionsAllowed'),
    ageOf(object, now),
  ];
}

function formatMetric(metric: JsonObject, current: JsonObject | undefined): string {
  const key = ['resource', 'pods', 'object', 'external', 'containerResource'].find((name) => metric[name]);
  if (!key) return '<unknown type>';
  const target = getObject(getObject(metric, key), 'target') ?? {};
  const now = getObject(getObject(current, key), 'current') ?? {};
  const name = getString(metric[key], 'name');
  const prefix = key === 'resource' || key === 'containerResource' ? `${name}: ` : '';
  if (target['averageUtilization'] !== undefined) {
    const used = now['averageUtilization'];
    return `${prefix}${used === undefined ? '<unknown>' : `${String(used)}%`}/${String(target['averageUtilization'])}%`;
  }
  const field = target['averageValue'] === undefined ? 'value' : 'averageValue';
  const suffix = field === 'averageValue' && key !== 'pods' && !prefix ? ' (avg)' : '';
  return `${prefix}${String(now[field] ?? '<unknown>')}/${String(target[field])}${suffix}`;
}

function formatTargets(object: JsonObject): string {
  const [spec, status] = [specOf(object), statusOf(object)];
  if (object['apiVersion'] === 'autoscaling/v1') {
    const target = spec['targetCPUUtilizationPercentage'];
    if (target === undefined) return '<none>';
    const current = status['currentCPUUtilizationPercentage'];
    return `cpu: ${current === undefined ? '<unknown>' : `${String(current)}%`}/${String(target)}%`;
  }
  const metrics = getObjects(spec, 'metrics');
  if (metrics.length === 0) return '<none>';
  const currents = getObjects(status, 'currentMetrics');
  const shown = metrics.slice(0, 2).map((metric, index) => formatMetric(metric, currents[index]));
  const more = metrics.length - shown.length;
  return more > 0 ? `${shown.join(', ')} + ${more} more...` : shown.join(', ');
}

function autoscalerCells(object: JsonObject, now: Date): readonly Cell[] {
  const spec = specOf(object);
  const reference = getObject(spec, 'scaleTargetRef');
  return [
    nameOf(object),
    `${getString(reference, 'kind')}/${getString(reference, 'name')}`,
    formatTargets(object),
    String(spec['minReplicas'] ?? '<unset>'),
    countOf(spec, 'maxReplicas'),
    countOf(statusOf(object), 'currentReplicas'),
    ageOf(object, now),
  ];
}

function podTemplateCells(object: JsonObject): readonly Cell[] {
  const template = getObject(object, 'template');
  return [
    nameOf(object),
    ...containersOf(template),
    formatLabels(getStringMap(getObject(template, 'metadata'), 'labels')),
  ];
}

function revisionCells(object: JsonObject, now: Date): readonly Cell[] {
  const owner = getObjects(object['metadata'], 'ownerReferences').find((item) => item['controller'] === true);
  const group = getString(owner, 'apiVersion').split('/');
  const kind = getString(owner, 'kind').toLowerCase();
  const qualified = group.length > 1 ? `${kind}.${group[0]}` : kind;
  return [
    nameOf(object),
    owner ? `${qualified}/${getString(owner, 'name')}` : '<none>',
    countOf(object, 'revision'),
    ageOf(object, now),
  ];
}

const REPLICA_PRINTER: Printer = {
  columns: parseColumns('Name|Desired#|Current#|Ready#|Age|Containers+|Images+|Selector+'),
  cells: replicaCells,
};

const AUTOSCALER_PRINTER: Printer = {
  columns: parseColumns('Name|Reference|Targets|MinPods|MaxPods|Replicas|Age'),
  cells: autoscalerCells,
};

/** By "group/Kind". */
export const WORKLOAD_PRINTERS: Readonly<Record<string, Printer>> = {
  '/PodTemplate': { columns: parseColumns('Name|Containers|Images|Pod Labels'), cells: podTemplateCells },
  '/ReplicationController': REPLICA_PRINTER,
  'apps/ReplicaSet': REPLICA_PRINTER,
  'apps/Deployment': {
    columns: parseColumns('Name|Ready|Up-to-date#|Available#|Age|Containers+|Images+|Selector+'),
    cells: deploymentCells,
  },
  'apps/DaemonSet': {
    columns: parseColumns(
      'Name|Desired#|Current#|Ready#|Up-to-date#|Available#|Node Selector|Age|Containers+|Images+|Selector+',
    ),
    cells: daemonSetCells,
  },
  'apps/StatefulSet': {
    columns: parseColumns('Name|Ready|Age|Containers+|Images+'),
    cells: statefulSetCells,
  },
  'apps/ControllerRevision': { columns: parseColumns('Name|Controller|Revision#|Age'), cells: revisionCells },
  'batch/Job': {
    columns: parseColumns('Name|Status|Completions|Duration|Age|Containers+|Images+|Selector+'),
    cells: jobCells,
  },
  'batch/CronJob': {
    columns: parseColumns(
      'Name|Schedule|Timezone|Suspend?|Active#|Last Schedule|Age|Containers+|Images+|Selector+',
    ),
    cells: cronJobCells,
  },
  'policy/PodDisruptionBudget': {
    columns: parseColumns('Name|Min Available|Max Unavailable|Allowed Disruptions#|Age'),
    cells: budgetCells,
  },
  'autoscaling/HorizontalPodAutoscaler': AUTOSCALER_PRINTER,
};
