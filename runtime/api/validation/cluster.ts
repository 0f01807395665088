import { isDeepStrictEqual } from 'node:util';
import { compareQuantity, isQuantity } from '../quantity.ts';
import { getObject, getObjects, getString, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { duplicate, type Findings, forbidden, invalid, required } from './field-error.ts';
import { immutable } from './metadata.ts';
import { checkDns1035Label, checkDnsSubdomain, checkLabelValue, checkQualifiedName } from './names.ts';
import { validateChoice, validateNonNegative, validateResourceList } from './resources.ts';
import { validateLabelSelector } from './selector.ts';

const ACCESS_MODES = ['ReadOnlyMany', 'ReadWriteMany', 'ReadWriteOnce', 'ReadWriteOncePod'] as const;

function* validateTaints(spec: JsonObject): Findings {
  const seen = new Set<string>();
  for (const [index, taint] of getObjects(spec, 'taints').entries()) {
    const field = `spec.taints[${index}]`;
    const problem = checkQualifiedName(getString(taint, 'key'));
    if (problem) yield invalid(`${field}.key`, taint['key'] ?? '', problem);
    const wrong = checkLabelValue(getString(taint, 'value'));
    if (wrong) yield invalid(`${field}.value`, taint['value'], wrong);
    const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];
    if (!taint['effect']) yield required(`${field}.effect`);
    else yield* validateChoice(taint['effect'], `${field}.effect`, effects);
    const key = `${getString(taint, 'key')}:${getString(taint, 'effect')}`;
    if (seen.has(key))
      yield { ...duplicate(field, taint), detail: 'taints must be unique by key and effect pair' };
    seen.add(key);
  }
}

/** Findings about a Node. */
export function* validateNode(object: JsonObject, old: JsonObject | undefined): Findings {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateTaints(spec);
  const before = old && getObject(old, 'spec');
  for (const key of ['podCIDR', 'podCIDRs', 'providerID'])
    if (before?.[key] && !isDeepStrictEqual(before[key], spec[key]))
      yield forbidden(`spec.${key}`, 'node updates may not change it except from "" to valid');
  yield* validateResourceList(getObject(getObject(object, 'status'), 'capacity'), 'status.capacity');
}

/** Findings about a Lease. */
export function* validateLease(object: JsonObject): Findings {
  const spec = getObject(object, 'spec') ?? {};
  const seconds = spec['leaseDurationSeconds'];
  if (typeof seconds === 'number' && seconds <= 0)
    yield invalid('spec.leaseDurationSeconds', seconds, 'must be greater than 0');
  yield* validateNonNegative(spec['leaseTransitions'], 'spec.leaseTransitions');
  if (spec['holderIdentity'] === '') yield invalid('spec.holderIdentity', '', 'must not be empty');
}

/** Findings about a ResourceQuota. */
export function* validateQuota(object: JsonObject, old: JsonObject | undefined): Findings {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateResourceList(getObject(spec, 'hard'), 'spec.hard');
  if (old && !isDeepStrictEqual(getStrings(spec, 'scopes'), getStrings(old['spec'], 'scopes')))
    yield immutable('spec.scopes', spec['scopes']);
}

const LIMIT_ORDER = [
  ['min', 'max', 'min value %s is greater than max value %s'],
  ['min', 'defaultRequest', 'min value %s is greater than default request value %s'],
  ['defaultRequest', 'max', 'default request value %s is greater than max value %s'],
  ['defaultRequest', 'default', 'default request value %s is greater than default limit value %s'],
  ['default', 'max', 'default value %s is greater than max value %s'],
] as const;

/** Findings about a LimitRange. */
export function* validateLimitRange(object: JsonObject): Findings {
  for (const [index, limit] of getObjects(object['spec'], 'limits').entries()) {
    const field = `spec.limits[${index}]`;
    for (const key of ['max', 'min', 'default', 'defaultRequest', 'maxLimitRequestRatio'])
      yield* validateResourceList(getObject(limit, key), `${field}.${key}`);
    for (const [low, high, text] of LIMIT_ORDER)
      for (const [name, value] of Object.entries(getObject(limit, low) ?? {})) {
        const bound = getObject(limit, high)?.[name];
        if (bound === undefined || !isQuantity(String(value)) || !isQuantity(String(bound))) continue;
        if (compareQuantity(String(value), String(bound)) > 0)
          yield invalid(
            `${field}.${low}[${name}]`,
            value,
            text.replace('%s', String(value)).replace('%s', String(bound)),
          );
      }
  }
}

/** Findings about a PersistentVolumeClaim. */
export function* validateClaim(object: JsonObject, old: JsonObject | undefined): Findings {
  const spec = getObject(object, 'spec') ?? {};
  const modes = getStrings(spec, 'accessModes');
  if (modes.length === 0) yield required('spec.accessModes', 'at least 1 access mode is required');
  for (const [index, mode] of modes.entries())
    yield* validateChoice(mode, `spec.accessModes[${index}]`, ACCESS_MODES);
  const requests = getObject(getObject(spec, 'resources'), 'requests');
  if (requests?.['storage'] === undefined) yield required('spec.resources[storage]');
  else yield* validateResourceList(requests, 'spec.resources.requests');
  yield* validateLabelSelector(getObject(spec, 'selector'), 'spec.selector');
  const before = old && getObject(old, 'spec');
  if (!before) return;
  const ignore = ({
    resources: _resources,
    volumeName,
    storageClassName,
    ...rest
  }: JsonObject): JsonObject => ({
    ...rest,
    volumeName: before['volumeName'] ? volumeName : undefined,
    storageClassName: before['storageClassName'] ? storageClassName : undefined,
  });
  if (!isDeepStrictEqual(ignore(spec), ignore(before)))
    yield forbidden(
      'spec',
      'spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims',
    );
}

/** Findings about a PersistentVolume. */
export function* validateVolume(object: JsonObject): Findings {
  const spec = getObject(object, 'spec') ?? {};
  const modes = getStrings(spec, 'accessModes');
  if (modes.length === 0) yield required('spec.accessModes');
  for (const [index, mode] of modes.entries())
    yield* validateChoice(mode, `spec.accessModes[${index}]`, ACCESS_MODES);
  const capacity = getObject(spec, 'capacity');
  if (!capacity || Object.keys(capacity).length === 0) yield required('spec.capacity');
  yield* validateResourceList(capacity, 'spec.capacity');
  yield* validateChoice(spec['persistentVolumeReclaimPolicy'], 'spec.persistentVolumeReclaimPolicy', [
    'Delete',
    'Recycle',
    'Retain',
  ]);
}

const MAX_USER_PRIORITY = 1_000_000_000;

/** Findings about a PriorityClass. */
export function* validatePriorityClass(object: JsonObject, old: JsonObject | undefined): Findings {
  const name = getString(object['metadata'], 'name');
  const value = object['value'] ?? 0;
  const isSystem = name.startsWith('system-');
  const isKnown = name === 'system-cluster-critical' || name === 'system-node-critical';
  if (isSystem && !isKnown)
    yield forbidden(
      'metadata.name',
      `priority class names with 'system-' prefix are reserved for system use only. error: ${name} is not a known system priority class`,
    );
  if (!isSystem && typeof value === 'number' && value > MAX_USER_PRIORITY)
    yield forbidden('value', `maximum allowed value of a user defined priority is ${MAX_USER_PRIORITY}`);
  yield* validateChoice(object['preemptionPolicy'], 'preemptionPolicy', ['Never', 'PreemptLowerPriority']);
  if (!old) return;
  if ((old['value'] ?? 0) !== value) yield forbidden('value', 'may not be changed in an update.');
  if (old['preemptionPolicy'] !== object['preemptionPolicy'])
    yield immutable('preemptionPolicy', object['preemptionPolicy']);
}

/** Findings about a StorageClass. */
export function* validateStorageClass(object: JsonObject, old: JsonObject | undefined): Findings {
  if (!getString(object, 'provisioner')) yield required('provisioner');
  yield* validateChoice(object['reclaimPolicy'], 'reclaimPolicy', ['Delete', 'Retain']);
  yield* validateChoice(object['volumeBindingMode'], 'volumeBindingMode', [
    'Immediate',
    'WaitForFirstConsumer',
  ]);
  if (!old) return;
  if (!isDeepStrictEqual(object['parameters'], old['parameters']))
    yield forbidden('parameters', 'updates to parameters are forbidden.');
  for (const key of ['provisioner', 'reclaimPolicy', 'volumeBindingMode'])
    if (object[key] !== old[key])
      yield key === 'volumeBindingMode'
        ? immutable(key, object[key])
        : forbidden(key, `updates to ${key} are forbidden.`);
}

/** Findings about a RuntimeClass. */
export function* validateRuntimeClass(object: JsonObject, old: JsonObject | undefined): Findings {
  if (!getString(object, 'handler')) yield required('handler');
  if (old && old['handler'] !== object['handler']) yield immutable('handler', object['handler']);
}

function* validatePath(path: JsonObject, field: string): Findings {
  const type = path['pathType'];
  const text = getString(path, 'path');
  if (!type) yield required(`${field}.pathType`, 'pathType must be specified');
  else yield* validateChoice(type, `${field}.pathType`, ['Exact', 'ImplementationSpecific', 'Prefix']);
  if (type !== 'ImplementationSpecific' && !text.startsWith('/'))
    yield invalid(`${field}.path`, text, 'must be an absolute path');
  yield* validateBackend(getObject(path, 'backend'), `${field}.backend`);
}

function* validateBackend(backend: JsonObject | undefined, field: string): Findings {
  const service = getObject(backend, 'service');
  if (!service && !getObject(backend, 'resource')) {
    yield required(field, 'service or resource backend is required');
    return;
  }
  if (!service) return;
  const name = getString(service, 'name');
  const problem = name ? checkDns1035Label(name) : undefined;
  if (!name) yield required(`${field}.service.name`);
  if (problem) yield invalid(`${field}.service.name`, name, problem);
  const port = getObject(service, 'port') ?? {};
  if (!port['name'] && !port['number'])
    yield required(`${field}.service.port`, 'port name or number is required');
  if (port['name'] && port['number'])
    yield invalid(`${field}.service.port`, port, 'cannot set both port name & port number');
}

/** Findings about an Ingress. */
export function* validateIngress(object: JsonObject): Findings {
  const spec = getObject(object, 'spec') ?? {};
  const rules = getObjects(spec, 'rules');
  const backend = getObject(spec, 'defaultBackend');
  if (rules.length === 0 && !backend)
    yield invalid('spec', spec, 'either `defaultBackend` or `rules` must be specified');
  if (backend) yield* validateBackend(backend, 'spec.defaultBackend');
  for (const [index, rule] of rules.entries()) {
    const field = `spec.rules[${index}]`;
    const host = getString(rule, 'host');
    const problem = host ? checkDnsSubdomain(host.replace(/^\*\./, '')) : undefined;
    if (problem) yield invalid(`${field}.host`, host, problem);
    const http = getObject(rule, 'http');
    if (http && getObjects(http, 'paths').length === 0) yield required(`${field}.http.paths`);
    for (const [place, path] of getObjects(http, 'paths').entries())
      yield* validatePath(path, `${field}.http.paths[${place}]`);
  }
}

/** Findings about a NetworkPolicy. */
export function* validateNetworkPolicy(object: JsonObject): Findings {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateLabelSelector(getObject(spec, 'podSelector'), 'spec.podSelector');
  for (const [index, type] of getStrings(spec, 'policyTypes').entries())
    yield* validateChoice(type, `spec.policyTypes[${index}]`, ['Egress', 'Ingress']);
}

/** Findings about an Event of either group. */
export function* validateEvent(object: JsonObject): Findings {
  const reference = getObject(object, object['apiVersion'] === 'v1' ? 'involvedObject' : 'regarding') ?? {};
  const own = getString(object['metadata'], 'namespace');
  const namespace = getString(reference, 'namespace');
  const field = object['apiVersion'] === 'v1' ? 'involvedObject.namespace' : 'regarding.namespace';
  if (namespace === '' ? own !== 'default' && own !== 'kube-system' : own !== namespace)
    yield invalid(field, namespace, 'does not match event.namespace');
}

/** Findings about a CustomResourceDefinition. */
export function* validateDefinition(object: JsonObject, old: JsonObject | undefined): Findings {
  const spec = getObject(object, 'spec') ?? {};
  const names = getObject(spec, 'names') ?? {};
  const group = getString(spec, 'group');
  const expected = `${getString(names, 'plural')}.${group}`;
  if (!group) yield required('spec.group');
  else if (!group.includes('.'))
    yield invalid('spec.group', group, 'should be a domain with at least one dot');
  for (const key of ['plural', 'kind']) if (!getString(names, key)) yield required(`spec.names.${key}`);
  if (getString(object['metadata'], 'name') !== expected)
    yield invalid(
      'metadata.name',
      getString(object['metadata'], 'name'),
      'must be spec.names.plural+"."+spec.group',
    );
  yield* validateChoice(spec['scope'] ?? '', 'spec.scope', ['Cluster', 'Namespaced']);
  yield* validateVersions(getObjects(spec, 'versions'));
  const before = old && getObject(old, 'spec');
  if (!before) return;
  if (before['group'] !== group) yield immutable('spec.group', group);
  if (before['scope'] !== spec['scope']) yield immutable('spec.scope', spec['scope']);
  for (const key of ['plural', 'kind'])
    if (getString(before['names'], key) !== getString(names, key))
      yield immutable(`spec.names.${key}`, names[key]);
}

function* validateVersions(versions: readonly JsonObject[]): Findings {
  const storage = versions.filter((version) => version['storage'] === true);
  if (storage.length !== 1)
    yield invalid('spec.versions', versions, 'must have exactly one version marked as storage version');
  for (const [index, version] of versions.entries()) {
    const field = `spec.versions[${index}]`;
    const problem = checkDns1035Label(getString(version, 'name'));
    if (problem) yield invalid(`${field}.name`, version['name'] ?? '', problem);
    const schema = getObject(getObject(version, 'schema'), 'openAPIV3Schema');
    if (!schema) yield required(`${field}.schema.openAPIV3Schema`, 'schemas are required');
    else if (schema['type'] !== 'object')
      yield getString(schema, 'type') === ''
        ? required(`${field}.schema.openAPIV3Schema.type`, 'must not be empty at the root')
        : invalid(`${field}.schema.openAPIV3Schema.type`, schema['type'], 'must be object at the root');
  }
}

/** Findings about a webhook configuration. */
export function* validateWebhooks(object: JsonObject): Findings {
  for (const [index, webhook] of getObjects(object, 'webhooks').entries()) {
    const field = `webhooks[${index}]`;
    const name = getString(webhook, 'name');
    if (name.split('.').length < 3 || checkDnsSubdomain(name))
      yield invalid(
        `${field}.name`,
        name,
        'should be a domain with at least three segments separated by dots',
      );
    if (!webhook['sideEffects'])
      yield required(`${field}.sideEffects`, 'must specify one of None, NoneOnDryRun');
    else yield* validateChoice(webhook['sideEffects'], `${field}.sideEffects`, ['None', 'NoneOnDryRun']);
    if (getStrings(webhook, 'admissionReviewVersions').length === 0)
      yield required(`${field}.admissionReviewVersions`, 'must specify one of v1, v1beta1');
    const client = getObject(webhook, 'clientConfig') ?? {};
    if (!client['url'] && !client['service'])
      yield required(`${field}.clientConfig`, 'exactly one of url or service is required');
    const seconds = webhook['timeoutSeconds'];
    if (typeof seconds === 'number' && (seconds < 1 || seconds > 30))
      yield invalid(`${field}.timeoutSeconds`, seconds, 'the timeout value must be between 1 and 30 seconds');
  }
}
