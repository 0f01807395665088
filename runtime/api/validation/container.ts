import { getObject, getObjects, getString } from '../schema/access.ts';
import { isJsonObject, type JsonObject } from '../schema/types.ts';
import { duplicate, type Findings, forbidden, invalid, notSupported, required } from './field-error.ts';
import { checkConfigKey, checkDnsLabel, checkDnsSubdomain, checkEnvName, checkPortName } from './names.ts';
import { validateChoice, validateNonNegative, validateRange, validateResources } from './resources.ts';

/** What a container's fields refer to in its pod. */
export interface ContainerScope {
  readonly field: string;
  readonly volumes: ReadonlySet<string>;
  readonly isHostNetwork: boolean;
}

const PORT_RANGE = [1, 65535] as const;
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'] as const;
const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'] as const;
const MESSAGE_POLICIES = ['FallbackToLogsOnError', 'File'] as const;
const FIELD_PATHS =
  /^(metadata\.(name|namespace|uid|labels\['.+'\]|annotations\['.+'\])|spec\.(nodeName|serviceAccountName)|status\.(hostIP|hostIPs|podIP|podIPs))$/;

function* validatePorts(container: JsonObject, scope: ContainerScope): Findings {
  const names = new Set<string>();
  for (const [index, port] of getObjects(container, 'ports').entries()) {
    const field = `${scope.field}.ports[${index}]`;
    const name = getString(port, 'name');
    if (name) {
      const problem = checkPortName(name);
      if (problem) yield invalid(`${field}.name`, name, problem);
      else if (names.has(name)) yield duplicate(`${field}.name`, name);
      names.add(name);
    }
    if (!port['containerPort']) yield required(`${field}.containerPort`);
    else yield* validateRange(port['containerPort'], `${field}.containerPort`, PORT_RANGE);
    if (port['hostPort']) {
      yield* validateRange(port['hostPort'], `${field}.hostPort`, PORT_RANGE);
      if (scope.isHostNetwork && port['hostPort'] !== port['containerPort'])
        yield invalid(
          `${field}.hostPort`,
          port['hostPort'],
          'must match `containerPort` when `hostNetwork` is true',
        );
    }
    yield* validateChoice(port['protocol'], `${field}.protocol`, PROTOCOLS);
  }
}

const ENV_SOURCES = [
  'fieldRef',
  'resourceFieldRef',
  'configMapKeyRef',
  'secretKeyRef',
  'fileKeyRef',
] as const;

function* validateEnvSource(env: JsonObject, field: string): Findings {
  const source = getObject(env, 'valueFrom');
  if (!source) return;
  const given = ENV_SOURCES.filter((name) => isJsonObject(source[name]));
  if (given.length === 0)
    yield invalid(
      `${field}.valueFrom`,
      '',
      'must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`',
    );
  if (given.length > 0 && getString(env, 'value') !== '')
    yield invalid(`${field}.valueFrom`, '', 'may not be specified when `value` is not empty');
  if (given.length > 1)
    yield invalid(`${field}.valueFrom`, '', 'may not have more than one field specified at a time');
  const fieldPath = getString(source['fieldRef'], 'fieldPath');
  if (source['fieldRef'] && !fieldPath) yield required(`${field}.valueFrom.fieldRef.fieldPath`);
  else if (fieldPath && !FIELD_PATHS.test(fieldPath))
    yield invalid(
      `${field}.valueFrom.fieldRef.fieldPath`,
      fieldPath,
      `error converting fieldPath: field label not supported: ${fieldPath}`,
    );
  for (const name of ['configMapKeyRef', 'secretKeyRef'] as const) {
    const reference = getObject(source, name);
    if (!reference) continue;
    const key = getString(reference, 'key');
    const own = `${field}.valueFrom.${name}`;
    if (!getString(reference, 'name')) yield required(`${own}.name`);
    if (!key) yield required(`${own}.key`);
    const problem = key ? checkConfigKey(key) : undefined;
    if (problem) yield invalid(`${own}.key`, key, problem);
  }
}

function* validateEnv(container: JsonObject, scope: ContainerScope): Findings {
  for (const [index, env] of getObjects(container, 'env').entries()) {
    const field = `${scope.field}.env[${index}]`;
    const name = getString(env, 'name');
    const problem = name ? checkEnvName(name) : undefined;
    if (!name) yield required(`${field}.name`);
    if (problem) yield invalid(`${field}.name`, name, problem);
    yield* validateEnvSource(env, field);
  }
  for (const [index, source] of getObjects(container, 'envFrom').entries()) {
    const field = `${scope.field}.envFrom[${index}]`;
    const given = ['configMapRef', 'secretRef'].filter((name) => isJsonObject(source[name]));
    if (given.length === 0) yield invalid(field, '', 'must specify one of: `configMapRef` or `secretRef`');
    if (given.length > 1) yield invalid(field, '', 'may not have more than one field specified at a time');
    for (const name of given) if (!getString(source[name], 'name')) yield required(`${field}.${name}.name`);
  }
}

function* validateMounts(container: JsonObject, scope: ContainerScope): Findings {
  const paths = new Set<string>();
  for (const [index, mount] of getObjects(container, 'volumeMounts').entries()) {
    const field = `${scope.field}.volumeMounts[${index}]`;
    const name = getString(mount, 'name');
    const path = getString(mount, 'mountPath');
    if (!name) yield required(`${field}.name`);
    else if (!scope.volumes.has(name)) yield { type: 'NotFound', field: `${field}.name`, value: name };
    if (!path) yield required(`${field}.mountPath`);
    else if (paths.has(path)) yield invalid(`${field}.mountPath`, path, 'must be unique');
    paths.add(path);
    for (const key of ['subPath', 'subPathExpr']) {
      const sub = getString(mount, key);
      if (sub.startsWith('/')) yield invalid(`${field}.${key}`, sub, 'must be a relative path');
      if (sub.split('/').includes('..')) yield invalid(`${field}.${key}`, sub, "must not contain '..'");
    }
    if (getString(mount, 'subPath') && getString(mount, 'subPathExpr'))
      yield invalid(
        `${field}.subPathExpr`,
        mount['subPathExpr'],
        'subPathExpr and subPath are mutually exclusive',
      );
    yield* validateChoice(mount['mountPropagation'], `${field}.mountPropagation`, [
      'Bidirectional',
      'HostToContainer',
      'None',
    ]);
  }
}

const HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'grpc', 'sleep'] as const;

function* validatePort(value: unknown, field: string): Findings {
  if (typeof value === 'string') {
    const problem = checkPortName(value);
    if (problem) yield invalid(field, value, problem);
  } else yield* validateRange(value ?? 0, field, PORT_RANGE);
}

function* validateHandler(handler: JsonObject, field: string, kinds: readonly string[]): Findings {
  const given = HANDLERS.filter((name) => isJsonObject(handler[name]));
  if (given.length === 0) yield required(field, 'must specify a handler type');
  for (const name of given.slice(1))
    yield forbidden(`${field}.${name}`, 'may not specify more than 1 handler type');
  for (const name of given)
    if (!kinds.includes(name)) yield forbidden(`${field}.${name}`, 'is not a handler of this hook');
  const exec = getObject(handler, 'exec');
  if (exec && !(Array.isArray(exec['command']) && exec['command'].length > 0))
    yield required(`${field}.exec.command`);
  const http = getObject(handler, 'httpGet');
  if (http) {
    if (!getString(http, 'path')) yield required(`${field}.httpGet.path`);
    yield* validatePort(http['port'], `${field}.httpGet.port`);
    yield* validateChoice(http['scheme'], `${field}.httpGet.scheme`, ['HTTP', 'HTTPS']);
  }
  const tcp = getObject(handler, 'tcpSocket');
  if (tcp) yield* validatePort(tcp['port'], `${field}.tcpSocket.port`);
  const grpc = getObject(handler, 'grpc');
  if (grpc) yield* validateRange(grpc['port'], `${field}.grpc.port`, PORT_RANGE);
}

const PROBE_HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'grpc'] as const;
const HOOK_HANDLERS = ['exec', 'httpGet', 'tcpSocket', 'sleep'] as const;

function* validateProbes(container: JsonObject, scope: ContainerScope): Findings {
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe']) {
    const probe = getObject(container, name);
    if (!probe) continue;
    const field = `${scope.field}.${name}`;
    yield* validateHandler(probe, field, PROBE_HANDLERS);
    for (const key of [
      'initialDelaySeconds',
      'timeoutSeconds',
      'periodSeconds',
      'successThreshold',
      'failureThreshold',
    ])
      yield* validateNonNegative(probe[key], `${field}.${key}`);
    const threshold = probe['successThreshold'];
    if (name !== 'readinessProbe' && threshold !== undefined && threshold !== 1)
      yield invalid(`${field}.successThreshold`, threshold, 'must be 1');
    if (name === 'readinessProbe' && probe['terminationGracePeriodSeconds'] !== undefined)
      yield invalid(
        `${field}.terminationGracePeriodSeconds`,
        probe['terminationGracePeriodSeconds'],
        'must not be set for readinessProbes',
      );
  }
  const lifecycle = getObject(container, 'lifecycle');
  for (const name of ['postStart', 'preStop']) {
    const hook = getObject(lifecycle, name);
    if (hook) yield* validateHandler(hook, `${scope.field}.lifecycle.${name}`, HOOK_HANDLERS);
  }
}

function* validateSecurity(container: JsonObject, scope: ContainerScope): Findings {
  const security = getObject(container, 'securityContext');
  if (!security) return;
  const field = `${scope.field}.securityContext`;
  for (const key of ['runAsUser', 'runAsGroup'])
    yield* validateRange(security[key], `${field}.${key}`, [0, 2147483647]);
  if (security['allowPrivilegeEscalation'] === false && security['privileged'] === true)
    yield invalid(field, security, 'cannot set `allowPrivilegeEscalation` to false and `privileged` to true');
}

/** Findings about what every sort of container has; `scope.field` is its path. */
export function* validateContainer(container: JsonObject, scope: ContainerScope): Findings {
  const name = getString(container, 'name');
  const problem = name ? checkDnsLabel(name) : undefined;
  if (!name) yield required(`${scope.field}.name`);
  if (problem) yield invalid(`${scope.field}.name`, name, problem);
  const image = getString(container, 'image');
  if (!image) yield required(`${scope.field}.image`);
  else if (image !== image.trim())
    yield invalid(`${scope.field}.image`, image, 'must not have leading or trailing whitespace');
  yield* validateChoice(container['imagePullPolicy'], `${scope.field}.imagePullPolicy`, PULL_POLICIES);
  yield* validateChoice(
    container['terminationMessagePolicy'],
    `${scope.field}.terminationMessagePolicy`,
    MESSAGE_POLICIES,
  );
  yield* validatePorts(container, scope);
  yield* validateEnv(container, scope);
  yield* validateMounts(container, scope);
  yield* validateProbes(container, scope);
  yield* validateSecurity(container, scope);
  yield* validateResources(getObject(container, 'resources'), `${scope.field}.resources`);
}

const VOLUME_REFERENCES: Readonly<Record<string, string>> = {
  persistentVolumeClaim: 'claimName',
  hostPath: 'path',
  csi: 'driver',
  secret: 'secretName',
  configMap: 'name',
  nfs: 'server',
};

/** Findings about the volumes of a pod; fills `names`. */
export function* validateVolumes(spec: JsonObject, field: string, names: Set<string>): Findings {
  for (const [index, volume] of getObjects(spec, 'volumes').entries()) {
    const own = `${field}.volumes[${index}]`;
    const name = getString(volume, 'name');
    const problem = checkDnsLabel(name);
    if (!name) yield required(`${own}.name`);
    else if (problem) yield invalid(`${own}.name`, name, problem);
    if (names.has(name)) yield duplicate(`${own}.name`, name);
    names.add(name);
    const sources = Object.keys(volume).filter((key) => key !== 'name');
    if (sources.length === 0) yield required(own, 'must specify a volume type');
    for (const source of sources.slice(1))
      yield forbidden(`${own}.${source}`, 'may not specify more than 1 volume type');
    for (const source of sources) {
      const key = VOLUME_REFERENCES[source];
      if (key && !getString(volume[source], key)) yield required(`${own}.${source}.${key}`);
    }
    const hostPathType = getObject(volume, 'hostPath')?.['type'];
    if (hostPathType) yield* validateChoice(hostPathType, `${own}.hostPath.type`, HOST_PATH_TYPES);
    const mode = (getObject(volume, 'secret') ?? getObject(volume, 'configMap'))?.['defaultMode'];
    if (mode !== undefined && (typeof mode !== 'number' || mode < 0 || mode > 0o777))
      yield invalid(
        `${own}.defaultMode`,
        mode,
        'must be a number between 0 and 0777 (octal), both inclusive',
      );
  }
}

const HOST_PATH_TYPES = [
  '',
  'BlockDevice',
  'CharDevice',
  'Directory',
  'DirectoryOrCreate',
  'File',
  'FileOrCreate',
  'Socket',
] as const;

/** Findings about the name of something in the cluster that a field refers to. */
export function* validateReference(name: unknown, field: string): Findings {
  if (typeof name !== 'string' || name === '') return;
  const problem = checkDnsSubdomain(name);
  if (problem) yield invalid(field, name, problem);
}

/** Findings about a policy whose only exceptional value is "Always", for sidecars. */
export function* validateInitRestartPolicy(container: JsonObject, field: string): Findings {
  const policy = container['restartPolicy'];
  if (policy !== undefined && policy !== 'Always' && !Array.isArray(container['restartPolicyRules']))
    yield notSupported(`${field}.restartPolicy`, policy, ['Always']);
}
