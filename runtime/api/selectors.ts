import { badRequest } from './request-error.ts';
import { isJsonObject, type JsonObject } from './schema/types.ts';

export type SelectorOperator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';

/** One condition of a label selector; all must hold. "a=b" is In with one value, "a!=b" NotIn. */
export interface Requirement {
  readonly key: string;
  readonly operator: SelectorOperator;
  readonly values: readonly string[];
}

/** `metav1.LabelSelector`. */
export interface LabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly {
    readonly key: string;
    readonly operator: string;
    readonly values?: readonly string[];
  }[];
}

const KEY = '(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?';
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUALITY = new RegExp(`^(${KEY})\\s*(==|=|!=)\\s*([A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?$`);
const COMPARISON = new RegExp(`^(${KEY})\\s*([<>])\\s*(-?\\d+)$`);
const LABEL_VALUE = /^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/;

/** Splits at commas outside of parentheses. */
function splitTerms(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((term) => term.trim());
}

function parseTerm(term: string): Requirement | undefined {
  const exists = EXISTS.exec(term);
  if (exists) return { key: exists[2]!, operator: exists[1] ? 'DoesNotExist' : 'Exists', values: [] };
  const equality = EQUALITY.exec(term);
  if (equality)
    return {
      key: equality[1]!,
      operator: equality[2] === '!=' ? 'NotIn' : 'In',
      values: [equality[3] ?? ''],
    };
  const set = SET.exec(term);
  if (set) {
    const values = set[3]!.split(',').map((value) => value.trim());
    if (!values.every((value) => LABEL_VALUE.test(value))) return undefined;
    return { key: set[1]!, operator: set[2] === 'in' ? 'In' : 'NotIn', values };
  }
  const comparison = COMPARISON.exec(term);
  return (
    (comparison && {
      key: comparison[1]!,
      operator: comparison[2] === '>' ? 'Gt' : 'Lt',
      values: [comparison[3]!],
    }) ??
    undefined
  );
}

/**
 * Conditions of a `labelSelector` parameter: "app=web,tier in (a,b),!old"; [] for "", which matches all.
 * @throws RequestError 400 for text that is no selector.
 */
export function parseLabelSelector(text: string): readonly Requirement[] {
  if (text.trim() === '') return [];
  return splitTerms(text).map((term) => {
    const requirement = parseTerm(term);
    if (!requirement)
      throw badRequest(
        `unable to parse requirement: found '${term}', expected: a label selector such as key=value, key in (a,b) or !key`,
      );
    return requirement;
  });
}

const OBJECT_OPERATORS: ReadonlySet<string> = new Set<SelectorOperator>([
  'In',
  'NotIn',
  'Exists',
  'DoesNotExist',
  'Gt',
  'Lt',
]);

function isOperator(text: string): text is SelectorOperator {
  return OBJECT_OPERATORS.has(text);
}

/** Conditions of a LabelSelector, [] for an empty one, which matches all. @throws RequestError 400 */
export function requirementsOfSelector(selector: LabelSelector): readonly Requirement[] {
  const equalities = Object.entries(selector.matchLabels ?? {}).map(
    ([key, value]): Requirement => ({ key, operator: 'In', values: [value] }),
  );
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values = [] }): Requirement => {
    if (!isOperator(operator)) throw badRequest(`"${operator}" is not a valid label selector operator`);
    return { key, operator, values };
  });
  return [...equalities, ...expressions];
}

function matchRequirement(
  { key, operator, values }: Requirement,
  labels: Readonly<Record<string, string>>,
): boolean {
  const has = Object.hasOwn(labels, key);
  const value = labels[key] ?? '';
  switch (operator) {
    case 'In':
      return has && values.includes(value);
    case 'NotIn':
      return !has || !values.includes(value);
    case 'Exists':
      return has;
    case 'DoesNotExist':
      return !has;
    case 'Gt':
      return has && /^-?\d+$/.test(value) && Number(value) > Number(values[0]);
    case 'Lt':
      return has && /^-?\d+$/.test(value) && Number(value) < Number(values[0]);
  }
}

/** True when the labels meet every condition. */
export function matchLabels(
  requirements: readonly Requirement[],
  labels: Readonly<Record<string, string>> | undefined,
): boolean {
  return requirements.every((requirement) => matchRequirement(requirement, labels ?? {}));
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${[...values].sort().join(',')})`;
    case 'NotIn':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${[...values].sort().join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'Gt':
      return `${key}>${values[0]}`;
    case 'Lt':
      return `${key}<${values[0]}`;
  }
}

/** Text form of a LabelSelector as `labelSelector` takes it: "app=web,tier in (a,b)"; keys sorted. */
export function formatLabelSelector(selector: LabelSelector): string {
  return [...requirementsOfSelector(selector)]
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(formatRequirement)
    .join(',');
}

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

/** The name that a selector pins with "metadata.name=x", or undefined: a list can then be a lookup. */
export function singleNameOf(requirements: readonly FieldRequirement[]): string | undefined {
  return requirements.find(({ path, operator }) => path === 'metadata.name' && operator === '=')?.value;
}
