import type * as core from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../base/errors.ts';
import { type FieldContext, readContainerResource, readPodField } from './downward-api.ts';
import type { AgentPod, Container } from './pod.ts';

/** Reads the API objects that variables and volumes refer to; undefined when the object is not there. */
export interface ObjectSource {
  configMap(namespace: string, name: string): Promise<core.ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<core.Secret | undefined>;
}

export interface EnvironmentOptions {
  readonly pod: AgentPod;
  readonly container: Container;
  readonly objects: ObjectSource;
  readonly fields: FieldContext;
  /** Variables of the Services in reach, lowest precedence. */
  readonly serviceVariables: ReadonlyMap<string, string>;
}

/**
 * A container's variables: Services, then envFrom, then env, each over the one before; `$(NAME)` in env
 * values is expanded with what is already known.
 * @throws AGENT_OBJECT_MISSING when a reference that is not optional cannot be followed.
 */
export async function buildEnvironment(options: EnvironmentOptions): Promise<Map<string, string>> {
  const { container, serviceVariables } = options;
  const own = new Map<string, string>();
  for (const source of container.envFrom ?? []) {
    for (const [name, value] of await readEnvFrom(source, options)) own.set(name, value);
  }
  for (const variable of container.env ?? []) {
    const value = await readVariable(
      variable,
      options,
      (name) => own.get(name) ?? serviceVariables.get(name),
    );
    if (value !== undefined) own.set(variable.name, value);
  }
  const result = new Map(own);
  for (const [name, value] of serviceVariables) if (!result.has(name)) result.set(name, value);
  return result;
}

async function readVariable(
  variable: core.EnvVar,
  options: EnvironmentOptions,
  lookup: (name: string) => string | undefined,
): Promise<string | undefined> {
  const { pod, container, objects, fields } = options;
  const source = variable.valueFrom;
  if (!source) return expandVariables(variable.value ?? '', lookup);
  if (source.fieldRef) return readPodField(pod, source.fieldRef.fieldPath, fields);
  if (source.resourceFieldRef) {
    return readContainerResource(pod, source.resourceFieldRef, { fields, defaultContainer: container.name });
  }
  if (source.configMapKeyRef) {
    const { name = '', key, optional = false } = source.configMapKeyRef;
    const map = await objects.configMap(pod.metadata.namespace, name);
    if (!map) return missing(optional, `configmap "${name}" not found`);
    const value = map.data?.[key];
    return (
      value ?? missing(optional, `couldn't find key ${key} in ConfigMap ${pod.metadata.namespace}/${name}`)
    );
  }
  if (source.secretKeyRef) {
    const { name = '', key, optional = false } = source.secretKeyRef;
    const secret = await objects.secret(pod.metadata.namespace, name);
    if (!secret) return missing(optional, `secret "${name}" not found`);
    const value = secret.data?.[key];
    if (value === undefined) {
      return missing(optional, `couldn't find key ${key} in Secret ${pod.metadata.namespace}/${name}`);
    }
    return Buffer.from(value, 'base64').toString('utf8');
  }
  const kind = Object.keys(source)[0] ?? 'nothing';
  throw new TkadmError(
    'AGENT_CONTAINER_CONFIG',
    `Cannot set variable "${variable.name}": ${kind} is not supported`,
  );
}

async function readEnvFrom(
  source: core.EnvFromSource,
  { pod, objects }: EnvironmentOptions,
): Promise<[string, string][]> {
  const { namespace } = pod.metadata;
  const prefix = source.prefix ?? '';
  if (source.configMapRef) {
    const { name = '', optional = false } = source.configMapRef;
    const map = await objects.configMap(namespace, name);
    if (!map) missing(optional, `configmap "${name}" not found`);
    return Object.entries(map?.data ?? {}).map(([key, value]) => [prefix + key, value]);
  }
  if (source.secretRef) {
    const { name = '', optional = false } = source.secretRef;
    const secret = await objects.secret(namespace, name);
    if (!secret) missing(optional, `secret "${name}" not found`);
    return Object.entries(secret?.data ?? {}).map(([key, value]) => [
      prefix + key,
      Buffer.from(value, 'base64').toString('utf8'),
    ]);
  }
  return [];
}

function missing(isOptional: boolean, message: string): undefined {
  if (!isOptional) throw new TkadmError('AGENT_OBJECT_MISSING', message);
  return undefined;
}

/**
 * Expands `$(NAME)`: an unknown name stays as it is, `$$` is one `$` (Kubernetes third_party/expansion).
 */
export function expandVariables(text: string, lookup: (name: string) => string | undefined): string {
  let result = '';
  for (let i = 0; i < text.length; i += 1) {
    const next = text[i + 1];
    if (text[i] !== '$' || next === undefined) {
      result += text[i];
      continue;
    }
    if (next === '$') {
      result += '$';
      i += 1;
      continue;
    }
    const end = next === '(' ? text.indexOf(')', i) : -1;
    if (end < 0) {
      result += `$${next}`;
      i += 1;
      continue;
    }
    const name = text.slice(i + 2, end);
    result += lookup(name) ?? `$(${name})`;
    i = end;
  }
  return result;
}

/**
 * The variables that Services give to a container: the "kubernetes" Service of the default namespace
 * always, those of the pod's own namespace when service links are on.
 */
export function buildServiceVariables(
  services: readonly core.Service[],
  options: { readonly namespace: string; readonly enableServiceLinks: boolean },
): Map<string, string> {
  const chosen = new Map<string, core.Service>();
  for (const service of services) {
    const { name = '', namespace } = service.metadata ?? {};
    const ip = service.spec?.clusterIP;
    if (!ip || ip === 'None') continue;
    const isApiServer = namespace === 'default' && name === 'kubernetes';
    if (options.enableServiceLinks && namespace === options.namespace) chosen.set(name, service);
    else if (isApiServer && !chosen.has(name)) chosen.set(name, service);
  }
  const result = new Map<string, string>();
  for (const [name, service] of chosen) addServiceVariables(result, name, service);
  return result;
}

function addServiceVariables(result: Map<string, string>, name: string, service: core.Service): void {
  const prefix = name.toUpperCase().replaceAll('-', '_');
  const host = service.spec?.clusterIP ?? '';
  const address = host.includes(':') ? `[${host}]` : host;
  const ports = service.spec?.ports ?? [];
  result.set(`${prefix}_SERVICE_HOST`, host);
  for (const [index, port] of ports.entries()) {
    const protocol = (port.protocol ?? 'TCP').toLowerCase();
    const url = `${protocol}://${address}:${port.port}`;
    const portPrefix = `${prefix}_PORT_${port.port}_${protocol.toUpperCase()}`;
    if (index === 0) {
      result.set(`${prefix}_SERVICE_PORT`, String(port.port));
      result.set(`${prefix}_PORT`, url);
    }
    if (port.name) {
      result.set(`${prefix}_SERVICE_PORT_${port.name.toUpperCase().replaceAll('-', '_')}`, String(port.port));
    }
    result.set(portPrefix, url);
    result.set(`${portPrefix}_PROTO`, protocol);
    result.set(`${portPrefix}_PORT`, String(port.port));
    result.set(`${portPrefix}_ADDR`, host);
  }
}
