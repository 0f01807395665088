import { setDefault } from './defaults-fill.ts';
import { ensureObject, getObject, getObjects, getString } from './schema/access.ts';
import { isJsonObject, type JsonObject } from './schema/types.ts';

const PROBE_DEFAULTS = [
  ['timeoutSeconds', 1],
  ['periodSeconds', 10],
  ['successThreshold', 1],
  ['failureThreshold', 3],
] as const;

function defaultHttpGet(handler: JsonObject): void {
  const http = getObject(handler, 'httpGet');
  if (http) {
    setDefault(http, 'path', '/');
    setDefault(http, 'scheme', 'HTTP');
  }
  const grpc = getObject(handler, 'grpc');
  if (grpc && grpc['service'] === undefined) grpc['service'] = '';
}

function defaultProbe(probe: JsonObject | undefined): void {
  if (!probe) return;
  for (const [key, value] of PROBE_DEFAULTS) if (!probe[key]) probe[key] = value;
  defaultHttpGet(probe);
}

/** "Always" for the tag latest or none, else "IfNotPresent" (also for digests). */
function pullPolicyOf(image: string): string {
  if (image.includes('@')) return 'IfNotPresent';
  const tag = /:([^:/]+)$/.exec(image)?.[1];
  return tag === undefined || tag === 'latest' ? 'Always' : 'IfNotPresent';
}

/** Requests that are not set take the limit. */
function defaultRequests(resources: JsonObject | undefined): void {
  const limits = getObject(resources, 'limits');
  if (!resources || !limits) return;
  const requests = { ...limits, ...getObject(resources, 'requests') };
  if (Object.keys(requests).length > 0) resources['requests'] = requests;
}

function containersOf(spec: JsonObject): JsonObject[] {
  return [...getObjects(spec, 'initContainers'), ...getObjects(spec, 'containers')];
}

function defaultContainer(container: JsonObject): void {
  setDefault(container, 'terminationMessagePath', '/dev/termination-log');
  setDefault(container, 'terminationMessagePolicy', 'File');
  setDefault(container, 'imagePullPolicy', pullPolicyOf(getString(container, 'image')));
  for (const port of getObjects(container, 'ports')) setDefault(port, 'protocol', 'TCP');
  for (const name of ['livenessProbe', 'readinessProbe', 'startupProbe'])
    defaultProbe(getObject(container, name));
  const lifecycle = getObject(container, 'lifecycle');
  for (const name of ['postStart', 'preStop']) {
    const handler = getObject(lifecycle, name);
    if (handler) defaultHttpGet(handler);
  }
  for (const env of getObjects(container, 'env')) {
    const source = getObject(env, 'valueFrom');
    const field = getObject(source, 'fieldRef');
    if (field) setDefault(field, 'apiVersion', 'v1');
    const resource = getObject(source, 'resourceFieldRef');
    if (resource) setDefault(resource, 'divisor', '0');
  }
  const security = getObject(container, 'securityContext');
  if (security?.['procMount'] === '') delete security['procMount'];
  ensureObject(container, 'resources');
}

function defaultItems(items: readonly JsonObject[]): void {
  for (const item of items) {
    const field = getObject(item, 'fieldRef');
    if (field) setDefault(field, 'apiVersion', 'v1');
    const resource = getObject(item, 'resourceFieldRef');
    if (resource) setDefault(resource, 'divisor', '0');
  }
}

const FILE_MODE = 0o644;

/** Sources of a volume with the fields that they set. */
const VOLUME_DEFAULTS: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
  secret: { defaultMode: FILE_MODE },
  configMap: { defaultMode: FILE_MODE },
  downwardAPI: { defaultMode: FILE_MODE },
  projected: { defaultMode: FILE_MODE },
  iscsi: { iscsiInterface: 'default' },
  rbd: { pool: 'rbd', user: 'admin', keyring: '/etc/ceph/keyring' },
  azureDisk: { cachingMode: 'ReadWrite', kind: 'Shared', fsType: 'ext4', readOnly: false },
  scaleIO: { storageMode: 'ThinProvisioned', fsType: 'xfs' },
};

const VOLUME_SOURCES_WITH_EMPTY_OPTIONS = { hostPath: 'type' } as const;

function defaultVolume(volume: JsonObject): void {
  if (!Object.keys(volume).some((key) => key !== 'name')) volume['emptyDir'] = {};
  for (const [source, values] of Object.entries(VOLUME_DEFAULTS)) {
    const object = getObject(volume, source);
    if (object) for (const [key, value] of Object.entries(values)) setDefault(object, key, value);
  }
  for (const [source, key] of Object.entries(VOLUME_SOURCES_WITH_EMPTY_OPTIONS)) {
    const object = getObject(volume, source);
    if (object && object[key] === undefined) object[key] = '';
  }
  defaultItems(getObjects(volume['downwardAPI'], 'items'));
  for (const source of getObjects(volume['projected'], 'sources')) {
    const token = getObject(source, 'serviceAccountToken');
    if (token && token['expirationSeconds'] === undefined) token['expirationSeconds'] = 3600;
    defaultItems(getObjects(source['downwardAPI'], 'items'));
  }
  const claim = getObject(getObject(getObject(volume, 'ephemeral'), 'volumeClaimTemplate'), 'spec');
  if (claim) setDefault(claim, 'volumeMode', 'Filesystem');
  const image = getObject(volume, 'image');
  if (image) setDefault(image, 'pullPolicy', pullPolicyOf(getString(image, 'reference')));
}

function defaultHostPorts(container: JsonObject): void {
  for (const port of getObjects(container, 'ports'))
    if (!port['hostPort']) port['hostPort'] = port['containerPort'];
}

function defaultServiceAccount(spec: JsonObject): void {
  const name = getString(spec, 'serviceAccountName') || getString(spec, 'serviceAccount');
  if (!name) return;
  spec['serviceAccountName'] = name;
  spec['serviceAccount'] = name;
}

/** Sets what a PodSpec leaves out, in place. */
function defaultPodSpec(spec: JsonObject): void {
  setDefault(spec, 'restartPolicy', 'Always');
  setDefault(spec, 'dnsPolicy', 'ClusterFirst');
  setDefault(spec, 'schedulerName', 'default-scheduler');
  if (spec['terminationGracePeriodSeconds'] === undefined) spec['terminationGracePeriodSeconds'] = 30;
  if (!isJsonObject(spec['securityContext'])) spec['securityContext'] = {};
  defaultServiceAccount(spec);
  for (const volume of getObjects(spec, 'volumes')) defaultVolume(volume);
  for (const container of containersOf(spec)) defaultContainer(container);
  for (const container of getObjects(spec, 'ephemeralContainers')) defaultContainer(container);
}

/** Sets what a Pod leaves out, in place; more than for a template: requests, host ports, service links. */
export function defaultPod(pod: JsonObject): void {
  const spec = ensureObject(pod, 'spec');
  if (spec['enableServiceLinks'] === undefined) spec['enableServiceLinks'] = true;
  for (const container of containersOf(spec)) {
    defaultRequests(getObject(container, 'resources'));
    if (spec['hostNetwork'] === true) defaultHostPorts(container);
  }
  defaultRequests(getObject(spec, 'resources'));
  defaultPodSpec(spec);
}

/** Sets what a PodTemplateSpec leaves out, in place. */
export function defaultPodTemplate(template: JsonObject): void {
  defaultPodSpec(ensureObject(template, 'spec'));
}
