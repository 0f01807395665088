import { badRequest } from './request-error.ts';
import { isJsonObject, type JsonObject } from './schema/types.ts';

/** One condition of a field selector. */
export interface FieldRequirement {
  readonly path: string;
  readonly operator: '=' | '!=';
  readonly value: string;
}

/** Fields besides metadata.name and metadata.namespace that `fieldSelector` can name, by "group/Kind". */
const SELECTABLE_FIELDS: Readonly<Record<string, readonly string[]>> = {
  '/Pod': [
    'spec.nodeName',
    'spec.restartPolicy',
    'spec.schedulerName',
    'spec.serviceAccountName',
    'spec.hostNetwork',
    'status.phase',
    'status.podIP',
    'status.podIPs',
    'status.nominatedNodeName',
  ],
  '/Event': [
    'involvedObject.kind',
    'involvedObject.namespace',
    'involvedObject.name',
    'involvedObject.uid',
    'involvedObject.apiVersion',
    'involvedObject.resourceVersion',
    'involvedObject.fieldPath',
    'reason',
    'reportingComponent',
    'source',
    'type',
  ],
  'events.k8s.io/Event': [
    'regarding.kind',
    'regarding.namespace',
    'regarding.name',
    'regarding.uid',
    'regarding.apiVersion',
    'regarding.resourceVersion',
    'regarding.fieldPath',
    'reason',
    'reportingController',
    'type',
  ],
  '/Namespace': ['status.phase'],
  '/Node': ['spec.unschedulable'],
  '/Secret': ['type'],
  '/Service': ['spec.clusterIP', 'spec.type'],
  '/ReplicationController': ['status.replicas'],
  'apps/ReplicaSet': ['status.replicas'],
  'batch/Job': ['status.successful'],
  'certificates.k8s.io/CertificateSigningRequest': ['spec.signerName'],
  'resource.k8s.io/ResourceSlice': ['spec.driver', 'spec.nodeName'],
};

const COMMON_FIELDS: readonly string[] = ['metadata.name', 'metadata.namespace'];
const FIELD_TERM = /^((?:[^=!\\]|\\.)*)(==|=|!=)((?:[^=!\\,]|\\.)*)$/;

/**
 * Conditions of a `fieldSelector` parameter for a resource: "status.phase!=Running,spec.nodeName=a".
 * @param extraFields JSON paths (".spec.color") that a custom resource declares as selectable.
 * @throws RequestError 400 for a field that cannot select, and for text that is no selector.
 */
export function parseFieldSelector(
  text: string,
  row: { readonly group: string; readonly kind: string },
  extraFields: readonly string[] = [],
): readonly FieldRequirement[] {
  if (text.trim() === '') return [];
  const known = [
    ...COMMON_FIELDS,
    ...(SELECTABLE_FIELDS[`${row.group}/${row.kind}`] ?? []),
    ...extraFields.map((path) => path.replace(/^\./, '')),
  ];
  return text.split(/(?<!\\),/).map((term) => {
    const match = FIELD_TERM.exec(term);
    if (!match) throw badRequest(`invalid selector: '${text}'; can't understand '${term}'`);
    const [, path = '', operator, value = ''] = match;
    if (!known.includes(path)) throw badRequest(`field label not supported: ${path}`);
    return {
      path,
      operator: operator === '!=' ? '!=' : '=',
      value: value.replace(/\\(.)/g, '$1'),
    };
  });
}

function readPath(object: JsonObject, path: string): unknown {
  let value: unknown = object;
  for (const name of path.split('.')) {
    if (!isJsonObject(value)) return undefined;
    value = value[name];
  }
  return value;
}

/** Fields whose value is not the one at their path. */
const COMPUTED_FIELDS: Readonly<Record<string, (object: JsonObject) => unknown>> = {
  'spec.unschedulable': (object) => readPath(object, 'spec.unschedulable') ?? false,
  'spec.hostNetwork': (object) => readPath(object, 'spec.hostNetwork') ?? false,
  'status.successful': (object) => readPath(object, 'status.succeeded') ?? 0,
  'status.replicas': (object) => readPath(object, 'status.replicas') ?? 0,
  source: (object) => readPath(object, 'source.component') || readPath(object, 'reportingComponent'),
};

function matchField({ path, operator, value }: FieldRequirement, object: JsonObject): boolean {
  const compute = COMPUTED_FIELDS[path];
  const found = compute ? compute(object) : readPath(object, path);
  if (path === 'status.podIPs' && Array.isArray(found)) {
    const has = found.some((item) => isJsonObject(item) && item['ip'] === value);
    return has === (operator === '=');
  }
  const text = found === undefined || found === null ? '' : String(found);
  return (text === value) === (operator === '=');
}

/** True when the object meets every condition. */
export function matchFields(requirements: readonly FieldRequirement[], object: JsonObject): boolean {
  return requirements.every((requirement) => matchField(requirement, object));
}
