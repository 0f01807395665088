import { isDeepStrictEqual } from 'node:util';
import { getObject, getObjects, getString, getStringMap, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import {
  validateContainer,
  validateInitRestartPolicy,
  validateReference,
  validateVolumes,
} from './container.ts';
import { duplicate, type Findings, forbidden, invalid, notSupported, required } from './field-error.ts';
import { validateLabels } from './metadata.ts';
import { checkDnsLabel, checkIp, checkLabelValue, checkQualifiedName } from './names.ts';
import { validateChoice, validateNonNegative, validateResources } from './resources.ts';

const RESTART_POLICIES = ['Always', 'Never', 'OnFailure'] as const;
const DNS_POLICIES = ['ClusterFirst', 'ClusterFirstWithHostNet', 'Default', 'None'] as const;
const EFFECTS = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'] as const;

function* validateContainers(spec: JsonObject, field: string, volumes: ReadonlySet<string>): Findings {
  const names = new Set<string>();
  const isHostNetwork = spec['hostNetwork'] === true;
  const containers = getObjects(spec, 'containers');
  if (containers.length === 0) yield required(`${field}.containers`);
  for (const list of ['containers', 'initContainers', 'ephemeralContainers'] as const) {
    for (const [index, container] of getObjects(spec, list).entries()) {
      const own = `${field}.${list}[${index}]`;
      yield* validateContainer(container, { field: own, volumes, isHostNetwork });
      const name = getString(container, 'name');
      if (name && names.has(name)) yield duplicate(`${own}.name`, name);
      names.add(name);
      if (list === 'initContainers') yield* validateInitContainer(container, own);
      if (list === 'ephemeralContainers') yield* validateEphemeral(container, own);
    }
  }
  yield* validateHostPorts(spec, field);
}

function* validateInitContainer(container: JsonObject, field: string): Findings {
  yield* validateInitRestartPolicy(container, field);
  if (container['restartPolicy'] === 'Always') return;
  for (const key of ['lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'])
    if (container[key] !== undefined)
      yield forbidden(`${field}.${key}`, 'may not be set for init containers without restartPolicy=Always');
}

function* validateEphemeral(container: JsonObject, field: string): Findings {
  for (const key of ['ports', 'lifecycle', 'livenessProbe', 'readinessProbe', 'startupProbe'])
    if (container[key] !== undefined)
      yield forbidden(`${field}.${key}`, `cannot be set for an Ephemeral Container`);
  if (Object.keys(getObject(container, 'resources') ?? {}).length > 0)
    yield forbidden(`${field}.resources`, 'cannot be set for an Ephemeral Container');
}

function* validateHostPorts(spec: JsonObject, field: string): Findings {
  const seen = new Set<string>();
  for (const [index, container] of getObjects(spec, 'containers').entries())
    for (const [place, port] of getObjects(container, 'ports').entries()) {
      if (!port['hostPort']) continue;
      const key = `${String(port['protocol'] ?? 'TCP')}/${getString(port, 'hostIP')}/${String(port['hostPort'])}`;
      if (seen.has(key)) yield duplicate(`${field}.containers[${index}].ports[${place}].hostPort`, key);
      seen.add(key);
    }
}

function* validateTolerations(spec: JsonObject, field: string): Findings {
  for (const [index, toleration] of getObjects(spec, 'tolerations').entries()) {
    const own = `${field}.tolerations[${index}]`;
    const key = getString(toleration, 'key');
    const operator = getString(toleration, 'operator') || 'Equal';
    if (key) {
      const problem = checkQualifiedName(key);
      if (problem) yield invalid(`${own}.key`, key, problem);
    } else if (operator !== 'Exists')
      yield invalid(
        `${own}.operator`,
        operator,
        'operator must be Exists when `key` is empty, which means "match all values and all keys"',
      );
    if (toleration['tolerationSeconds'] !== undefined && toleration['effect'] !== 'NoExecute')
      yield invalid(
        `${own}.effect`,
        toleration['effect'] ?? '',
        "effect must be 'NoExecute' when `tolerationSeconds` is set",
      );
    if (operator === 'Exists' && getString(toleration, 'value'))
      yield invalid(`${own}.operator`, toleration, "value must be empty when `operator` is 'Exists'");
    const problem = operator === 'Equal' ? checkLabelValue(getString(toleration, 'value')) : undefined;
    if (problem) yield invalid(`${own}.operator`, toleration['value'], problem);
    if (!['Equal', 'Exists', 'Lt', 'Gt'].includes(operator))
      yield notSupported(`${own}.operator`, operator, ['Equal', 'Exists']);
    if (toleration['effect']) yield* validateChoice(toleration['effect'], `${own}.effect`, EFFECTS);
  }
}

function* validateHost(spec: JsonObject, field: string): Findings {
  for (const [index, alias] of getObjects(spec, 'hostAliases').entries()) {
    const ip = getString(alias, 'ip');
    const problem = checkIp(ip);
    if (problem) yield invalid(`${field}.hostAliases[${index}].ip`, ip, problem);
  }
  for (const key of ['hostname', 'subdomain']) {
    const text = getString(spec, key);
    const problem = text ? checkDnsLabel(text) : undefined;
    if (problem) yield invalid(`${field}.${key}`, text, problem);
  }
  if (spec['hostPID'] === true && spec['shareProcessNamespace'] === true)
    yield invalid(
      `${field}.shareProcessNamespace`,
      true,
      'ShareProcessNamespace and HostPID cannot both be enabled',
    );
}

function* validateDns(spec: JsonObject, field: string): Findings {
  yield* validateChoice(spec['dnsPolicy'], `${field}.dnsPolicy`, DNS_POLICIES);
  const nameservers = getStrings(spec['dnsConfig'], 'nameservers');
  if (spec['dnsPolicy'] === 'None' && nameservers.length === 0)
    yield required(
      `${field}.dnsConfig.nameservers`,
      'must provide at least one DNS nameserver when `dnsPolicy` is None',
    );
  for (const [index, address] of nameservers.entries()) {
    const problem = checkIp(address);
    if (problem) yield invalid(`${field}.dnsConfig.nameservers[${index}]`, address, problem);
  }
}

function* validateTopologySpread(spec: JsonObject, field: string): Findings {
  for (const [index, constraint] of getObjects(spec, 'topologySpreadConstraints').entries()) {
    const own = `${field}.topologySpreadConstraints[${index}]`;
    const skew = constraint['maxSkew'];
    if (typeof skew !== 'number' || skew <= 0)
      yield invalid(`${own}.maxSkew`, skew ?? 0, 'must be greater than zero');
    if (!getString(constraint, 'topologyKey')) yield required(`${own}.topologyKey`, 'can not be empty');
    yield* validateChoice(constraint['whenUnsatisfiable'] ?? '', `${own}.whenUnsatisfiable`, [
      'DoNotSchedule',
      'ScheduleAnyway',
    ]);
  }
}

/** Findings about a PodSpec at `field`. */
function* validatePodSpec(spec: JsonObject, field: string): Findings {
  const volumes = new Set<string>();
  yield* validateVolumes(spec, field, volumes);
  yield* validateContainers(spec, field, volumes);
  yield* validateChoice(spec['restartPolicy'], `${field}.restartPolicy`, RESTART_POLICIES);
  yield* validateDns(spec, field);
  yield* validateLabels(getStringMap(spec, 'nodeSelector'), `${field}.nodeSelector`);
  yield* validateReference(spec['serviceAccountName'], `${field}.serviceAccountName`);
  yield* validateReference(spec['nodeName'], `${field}.nodeName`);
  yield* validateReference(spec['priorityClassName'], `${field}.priorityClassName`);
  yield* validateReference(spec['runtimeClassName'], `${field}.runtimeClassName`);
  yield* validateNonNegative(spec['terminationGracePeriodSeconds'], `${field}.terminationGracePeriodSeconds`);
  const deadline = spec['activeDeadlineSeconds'];
  if (typeof deadline === 'number' && (deadline < 1 || deadline > 2147483647))
    yield invalid(`${field}.activeDeadlineSeconds`, deadline, 'must be between 1 and 2147483647, inclusive');
  yield* validateTolerations(spec, field);
  yield* validateHost(spec, field);
  yield* validateTopologySpread(spec, field);
  yield* validateResources(getObject(spec, 'resources'), `${field}.resources`);
  for (const [index, gate] of getObjects(spec, 'schedulingGates').entries()) {
    const problem = checkQualifiedName(getString(gate, 'name'));
    if (problem) yield invalid(`${field}.schedulingGates[${index}]`, gate['name'], problem);
  }
}

/** Findings about a PodTemplateSpec at `field`. */
export function* validatePodTemplate(template: JsonObject, field: string): Findings {
  const metadata = getObject(template, 'metadata');
  yield* validateLabels(getStringMap(metadata, 'labels'), `${field}.labels`);
  yield* validatePodSpec(getObject(template, 'spec') ?? {}, `${field}.spec`);
  if (getObjects(template['spec'], 'ephemeralContainers').length > 0)
    yield forbidden(`${field}.spec.ephemeralContainers`, 'ephemeral containers not allowed in pod template');
}

const UPDATE_MESSAGE =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';

function withOldImages(containers: readonly JsonObject[], old: readonly JsonObject[]): JsonObject[] {
  return containers.map((container, index) => ({ ...container, image: old[index]?.['image'] }));
}

/** The spec with what may change put back to its old value. */
function withOldValues(spec: JsonObject, old: JsonObject): JsonObject {
  const result: JsonObject = { ...spec };
  for (const list of ['containers', 'initContainers'])
    if (Array.isArray(spec[list]))
      result[list] = withOldImages(getObjects(spec, list), getObjects(old, list));
  const keys = ['activeDeadlineSeconds', 'tolerations', 'schedulingGates'];
  if (old['terminationGracePeriodSeconds'] !== undefined && Number(old['terminationGracePeriodSeconds']) < 0)
    keys.push('terminationGracePeriodSeconds');
  if (getObjects(old, 'schedulingGates').length > 0) keys.push('nodeSelector', 'affinity');
  for (const key of keys) {
    if (old[key] === undefined) delete result[key];
    else result[key] = old[key];
  }
  return result;
}

function* validateTolerationUpdate(spec: JsonObject, old: JsonObject): Findings {
  const tolerations = getObjects(spec, 'tolerations');
  const lost = getObjects(old, 'tolerations').some(
    ({ tolerationSeconds: _old, ...before }) =>
      !tolerations.some(({ tolerationSeconds: _new, ...after }) => isDeepStrictEqual(before, after)),
  );
  if (lost)
    yield forbidden(
      'spec.tolerations',
      'existing toleration can not be modified except its tolerationSeconds',
    );
}

function sameSpec(left: JsonObject, right: JsonObject): boolean {
  return isDeepStrictEqual(JSON.parse(JSON.stringify(left)), JSON.parse(JSON.stringify(right)));
}

/** Findings about how the spec of a pod may change by an ordinary update. */
function* validatePodUpdate(pod: JsonObject, oldPod: JsonObject): Findings {
  const spec = getObject(pod, 'spec') ?? {};
  const old = getObject(oldPod, 'spec') ?? {};
  if (getObjects(spec, 'containers').length !== getObjects(old, 'containers').length) {
    yield forbidden('spec.containers', 'pod updates may not add or remove containers');
    return;
  }
  if (getObjects(spec, 'initContainers').length !== getObjects(old, 'initContainers').length) {
    yield forbidden('spec.initContainers', 'pod updates may not add or remove containers');
    return;
  }
  const [deadline, before] = [spec['activeDeadlineSeconds'], old['activeDeadlineSeconds']];
  if (typeof before === 'number' && (typeof deadline !== 'number' || deadline > before))
    yield invalid(
      'spec.activeDeadlineSeconds',
      deadline ?? '',
      'must be less than or equal to previous value',
    );
  yield* validateTolerationUpdate(spec, old);
  const gates = getObjects(old, 'schedulingGates').map((gate) => getString(gate, 'name'));
  const added = getObjects(spec, 'schedulingGates').find((gate) => !gates.includes(getString(gate, 'name')));
  if (added)
    yield forbidden('spec.schedulingGates', 'only deletion is allowed, but found new scheduling gate');
  if (!sameSpec(withOldValues(spec, old), old)) yield forbidden('spec', UPDATE_MESSAGE);
}

/** Findings about a Pod, of which `old` is the stored state at an update. */
export function* validatePod(pod: JsonObject, old: JsonObject | undefined): Findings {
  if (old) {
    yield* validatePodUpdate(pod, old);
    return;
  }
  const spec = getObject(pod, 'spec');
  if (!spec) yield required('spec');
  else yield* validatePodSpec(spec, 'spec');
}
