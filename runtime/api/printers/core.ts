import { getObject, getObjects, getString, getStringMap, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Cell, type Printer, parseColumns } from './columns.ts';
import {
  ageOf,
  countOf,
  findCondition,
  formatSelectorMap,
  formatShort,
  formatSince,
  nameOf,
  orNone,
  specOf,
  statusOf,
} from './format.ts';

/** Addresses that a load balancer gave the object. */
export function loadBalancerAddresses(object: JsonObject): string[] {
  return getObjects(getObject(statusOf(object), 'loadBalancer'), 'ingress').map(
    (item) => getString(item, 'ip') || getString(item, 'hostname'),
  );
}

function formatExternalIps(service: JsonObject): string {
  const spec = specOf(service);
  const external = getStrings(spec, 'externalIPs');
  if (spec['type'] === 'ExternalName') return getString(spec, 'externalName');
  if (spec['type'] !== 'LoadBalancer') return orNone(external.join(','));
  return [...loadBalancerAddresses(service), ...external].join(',') || '<pending>';
}

function formatPort(port: JsonObject): string {
  const node = port['nodePort'] ? `:${String(port['nodePort'])}` : '';
  return `${String(port['port'])}${node}/${getString(port, 'protocol')}`;
}

function serviceCells(object: JsonObject, now: Date): readonly Cell[] {
  const spec = specOf(object);
  return [
    nameOf(object),
    getString(spec, 'type'),
    orNone(getStrings(spec, 'clusterIPs')[0] ?? getString(spec, 'clusterIP')),
    formatExternalIps(object),
    orNone(getObjects(spec, 'ports').map(formatPort).join(',')),
    ageOf(object, now),
    formatSelectorMap(spec, 'selector'),
  ];
}

function formatEndpoints(object: JsonObject): string {
  const pairs = getObjects(object, 'subsets').flatMap((subset) => {
    const ips = getObjects(subset, 'addresses').map((address) => getString(address, 'ip'));
    const ports = getObjects(subset, 'ports').map((port) => String(port['port']));
    if (ports.length === 0) return ips;
    return ports.flatMap((port) => ips.map((ip) => (ip.includes(':') ? `[${ip}]:${port}` : `${ip}:${port}`)));
  });
  return orNone(formatShort(pairs));
}

const ROLE_PREFIX = 'node-role.kubernetes.io/';

function formatRoles(node: JsonObject): string {
  const labels = getStringMap(node['metadata'], 'labels');
  const roles = Object.keys(labels)
    .filter((key) => key.startsWith(ROLE_PREFIX) && key.length > ROLE_PREFIX.length)
    .map((key) => key.slice(ROLE_PREFIX.length));
  const legacy = labels['kubernetes.io/role'];
  if (legacy) roles.push(legacy);
  return orNone([...new Set(roles)].sort().join(','));
}

function formatNodeStatus(node: JsonObject): string {
  const ready = findCondition(node, 'Ready');
  const text = ready === undefined ? 'Unknown' : ready['status'] === 'True' ? 'Ready' : 'NotReady';
  return specOf(node)['unschedulable'] === true ? `${text},SchedulingDisabled` : text;
}

function addressOf(node: JsonObject, type: string): string {
  const found = getObjects(node['status'], 'addresses').find((address) => address['type'] === type);
  return orNone(getString(found, 'address'));
}

function nodeCells(object: JsonObject, now: Date): readonly Cell[] {
  const info = getObject(statusOf(object), 'nodeInfo');
  const known = (key: string): string => getString(info, key) || '<unknown>';
  return [
    nameOf(object),
    formatNodeStatus(object),
    formatRoles(object),
    ageOf(object, now),
    getString(info, 'kubeletVersion'),
    addressOf(object, 'InternalIP'),
    addressOf(object, 'ExternalIP'),
    known('osImage'),
    known('kernelVersion'),
    known('containerRuntimeVersion'),
  ];
}

function formatReference(reference: JsonObject | undefined): string {
  const kind = getString(reference, 'kind').toLowerCase();
  const name = getString(reference, 'name');
  return name ? `${kind}/${name}` : kind;
}

function eventCells(object: JsonObject, now: Date): readonly Cell[] {
  const isCore = object['apiVersion'] === 'v1';
  const reference = getObject(object, isCore ? 'involvedObject' : 'regarding');
  const time = (core: string, other: string): string => getString(object, isCore ? core : other);
  const eventTime = getString(object, 'eventTime');
  const first = time('firstTimestamp', 'deprecatedFirstTimestamp') || eventTime;
  const series = getObject(object, 'series');
  const last =
    getString(series, 'lastObservedTime') || time('lastTimestamp', 'deprecatedLastTimestamp') || first;
  const source = getObject(object, isCore ? 'source' : 'deprecatedSource');
  const component =
    getString(source, 'component') ||
    getString(object, isCore ? 'reportingComponent' : 'reportingController');
  const host =
    getString(source, 'host') ||
    (getString(source, 'component') ? '' : getString(object, 'reportingInstance'));
  const count = series
    ? countOf(series, 'count')
    : countOf(object, isCore ? 'count' : 'deprecatedCount') || 1;
  return [
    formatSince(last, now),
    getString(object, 'type'),
    getString(object, 'reason'),
    formatReference(reference),
    getString(reference, 'fieldPath'),
    host ? `${component}, ${host}` : component,
    getString(object, isCore ? 'message' : 'note').trim(),
    formatSince(first, now),
    count,
    nameOf(object),
  ];
}

const MODES: Readonly<Record<string, string>> = {
  ReadWriteOnce: 'RWO',
  ReadOnlyMany: 'ROX',
  ReadWriteMany: 'RWX',
  ReadWriteOncePod: 'RWOP',
};

function formatModes(modes: readonly string[]): string {
  return Object.keys(MODES)
    .filter((mode) => modes.includes(mode))
    .map((mode) => MODES[mode])
    .join(',');
}

function phaseOf(object: JsonObject): string {
  return getString(object['metadata'], 'deletionTimestamp')
    ? 'Terminating'
    : getString(object['status'], 'phase');
}

function storageClassOf(object: JsonObject): string {
  const legacy = getStringMap(object['metadata'], 'annotations')['volume.beta.kubernetes.io/storage-class'];
  return legacy ?? getString(object['spec'], 'storageClassName');
}

function volumeCells(object: JsonObject, now: Date): readonly Cell[] {
  const spec = specOf(object);
  const claim = getObject(spec, 'claimRef');
  return [
    nameOf(object),
    String(getObject(spec, 'capacity')?.['storage'] ?? ''),
    formatModes(getStrings(spec, 'accessModes')),
    getString(spec, 'persistentVolumeReclaimPolicy'),
    phaseOf(object),
    claim ? `${getString(claim, 'namespace')}/${getString(claim, 'name')}` : '',
    storageClassOf(object),
    getString(spec, 'volumeAttributesClassName') || '<unset>',
    getString(statusOf(object), 'reason'),
    ageOf(object, now),
    getString(spec, 'volumeMode') || '<unset>',
  ];
}

function claimCells(object: JsonObject, now: Date): readonly Cell[] {
  const [spec, status] = [specOf(object), statusOf(object)];
  const isBound = getString(spec, 'volumeName') !== '';
  return [
    nameOf(object),
    phaseOf(object),
    getString(spec, 'volumeName'),
    isBound ? String(getObject(status, 'capacity')?.['storage'] ?? '') : '',
    isBound ? formatModes(getStrings(status, 'accessModes')) : '',
    storageClassOf(object),
    getString(spec, 'volumeAttributesClassName') || '<unset>',
    ageOf(object, now),
    getString(spec, 'volumeMode') || '<unset>',
  ];
}

function quotaCells(object: JsonObject, now: Date): readonly Cell[] {
  const status = statusOf(object);
  const used = getObject(status, 'used') ?? {};
  const entries = Object.entries(getObject(status, 'hard') ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  const format = (isLimit: boolean): string =>
    entries
      .filter(([name]) => name.startsWith('limits.') === isLimit)
      .map(([name, hard]) => `${name}: ${String(used[name] ?? 0)}/${String(hard)}`)
      .join(', ');
  return [nameOf(object), format(false), format(true), ageOf(object, now)];
}

function componentCells(object: JsonObject): readonly Cell[] {
  const healthy = getObjects(object, 'conditions').find((condition) => condition['type'] === 'Healthy');
  const text = { True: 'Healthy', False: 'Unhealthy' }[getString(healthy, 'status')] ?? 'Unknown';
  return [nameOf(object), text, getString(healthy, 'message'), getString(healthy, 'error')];
}

function sizeOf(object: JsonObject, ...keys: readonly string[]): number {
  return keys.reduce((sum, key) => sum + Object.keys(getObject(object, key) ?? {}).length, 0);
}

/** By "group/Kind". */
export const CORE_PRINTERS: Readonly<Record<string, Printer>> = {
  '/Service': {
    columns: parseColumns('Name|Type|Cluster-IP|External-IP|Port(s)|Age|Selector+'),
    cells: serviceCells,
  },
  '/Endpoints': {
    columns: parseColumns('Name|Endpoints|Age'),
    cells: (object, now) => [nameOf(object), formatEndpoints(object), ageOf(object, now)],
  },
  '/Node': {
    columns: parseColumns(
      'Name|Status|Roles|Age|Version|Internal-IP+|External-IP+|OS-Image+|Kernel-Version+|Container-Runtime+',
    ),
    cells: nodeCells,
  },
  '/Event': {
    columns: parseColumns(
      'Last Seen|Type|Reason|Object|Subobject+|Source+|Message|First Seen+|Count#+|Name+',
    ),
    cells: eventCells,
  },
  'events.k8s.io/Event': {
    columns: parseColumns(
      'Last Seen|Type|Reason|Object|Subobject+|Source+|Message|First Seen+|Count#+|Name+',
    ),
    cells: eventCells,
  },
  '/Namespace': {
    columns: parseColumns('Name|Status|Age'),
    cells: (object, now) => [nameOf(object), getString(object['status'], 'phase'), ageOf(object, now)],
  },
  '/Secret': {
    columns: parseColumns('Name|Type|Data#|Age'),
    cells: (object, now) => [
      nameOf(object),
      getString(object, 'type'),
      sizeOf(object, 'data'),
      ageOf(object, now),
    ],
  },
  '/ConfigMap': {
    columns: parseColumns('Name|Data#|Age'),
    cells: (object, now) => [nameOf(object), sizeOf(object, 'data', 'binaryData'), ageOf(object, now)],
  },
  '/ServiceAccount': {
    columns: parseColumns('Name|Secrets#|Age'),
    cells: (object, now) => [nameOf(object), getObjects(object, 'secrets').length, ageOf(object, now)],
  },
  '/PersistentVolume': {
    columns: parseColumns(
      'Name|Capacity|Access Modes|Reclaim Policy|Status|Claim|StorageClass|VolumeAttributesClass|Reason|Age|VolumeMode+',
    ),
    cells: volumeCells,
  },
  '/PersistentVolumeClaim': {
    columns: parseColumns(
      'Name|Status|Volume|Capacity|Access Modes|StorageClass|VolumeAttributesClass|Age|VolumeMode+',
    ),
    cells: claimCells,
  },
  '/ResourceQuota': { columns: parseColumns('Name|Request|Limit|Age'), cells: quotaCells },
  '/ComponentStatus': { columns: parseColumns('Name|Status|Message|Error'), cells: componentCells },
};
