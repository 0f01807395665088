import { getObject, getObjects, getString, getStringMap, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Cell, type Printer, parseColumns } from './columns.ts';
import { loadBalancerAddresses } from './core.ts';
import {
  ageOf,
  countOf,
  findCondition,
  formatAge,
  formatSelector,
  formatShort,
  nameOf,
  orNone,
  specOf,
  statusOf,
} from './format.ts';

type Cells = (object: JsonObject) => readonly Cell[];

/** A printer whose first column is the name and whose last is the age. */
function simple(line: string, cells: Cells): Printer {
  const columns = parseColumns(line === '' ? 'Name|Age' : `Name|${line}|Age`);
  return { columns, cells: (object, now) => [nameOf(object), ...cells(object), ageOf(object, now)] };
}

function formatHosts(spec: JsonObject): string {
  const hosts = getObjects(spec, 'rules')
    .map((rule) => getString(rule, 'host'))
    .filter((host) => host !== '');
  return hosts.length === 0 ? '*' : formatShort(hosts);
}

function ingressCells(object: JsonObject): readonly Cell[] {
  const spec = specOf(object);
  return [
    orNone(getString(spec, 'ingressClassName')),
    formatHosts(spec),
    loadBalancerAddresses(object).join(','),
    getObjects(spec, 'tls').length > 0 ? '80, 443' : '80',
  ];
}

function ingressClassCells(object: JsonObject): readonly Cell[] {
  const spec = specOf(object);
  const parameters = getObject(spec, 'parameters');
  const group = getString(parameters, 'apiGroup');
  const kind = `${getString(parameters, 'kind')}${group ? `.${group}` : ''}`;
  return [getString(spec, 'controller'), parameters ? `${kind}/${getString(parameters, 'name')}` : '<none>'];
}

function bindingCells(object: JsonObject, now: Date): readonly Cell[] {
  const role = getObject(object, 'roleRef');
  const names = (kind: string): string =>
    getObjects(object, 'subjects')
      .filter((subject) => subject['kind'] === kind)
      .map((subject) =>
        kind === 'ServiceAccount'
          ? `${getString(subject, 'namespace')}/${getString(subject, 'name')}`
          : getString(subject, 'name'),
      )
      .join(', ');
  return [
    nameOf(object),
    `${getString(role, 'kind')}/${getString(role, 'name')}`,
    ageOf(object, now),
    names('User'),
    names('Group'),
    names('ServiceAccount'),
  ];
}

function formatRequestState(object: JsonObject): string {
  const has = (type: string): boolean => findCondition(object, type) !== undefined;
  let text = has('Denied') ? 'Denied' : has('Approved') ? 'Approved' : 'Pending';
  if (has('Failed')) text += ',Failed';
  return getString(object['status'], 'certificate') ? `${text},Issued` : text;
}

function signingRequestCells(object: JsonObject, now: Date): readonly Cell[] {
  const spec = specOf(object);
  const seconds = spec['expirationSeconds'];
  return [
    nameOf(object),
    ageOf(object, now),
    getString(spec, 'signerName'),
    getString(spec, 'username'),
    typeof seconds === 'number' ? formatAge(seconds * 1000) : '<none>',
    formatRequestState(object),
  ];
}

const DEFAULT_CLASS = 'storageclass.kubernetes.io/is-default-class';

function storageClassCells(object: JsonObject, now: Date): readonly Cell[] {
  const isDefault = getStringMap(object['metadata'], 'annotations')[DEFAULT_CLASS] === 'true';
  return [
    isDefault ? `${nameOf(object)} (default)` : nameOf(object),
    getString(object, 'provisioner'),
    getString(object, 'reclaimPolicy') || 'Delete',
    getString(object, 'volumeBindingMode') || 'Immediate',
    object['allowVolumeExpansion'] === true,
    ageOf(object, now),
  ];
}

function formatSlicePorts(object: JsonObject): string {
  const ports = getObjects(object, 'ports').map((port) => String(port['port'] ?? '*'));
  return ports.length === 0 ? '<unset>' : formatShort(ports);
}

function sliceCells(object: JsonObject): readonly Cell[] {
  const endpoints = getObjects(object, 'endpoints').flatMap((endpoint) => getStrings(endpoint, 'addresses'));
  return [
    getString(object, 'addressType'),
    formatSlicePorts(object),
    endpoints.length === 0 ? '<unset>' : formatShort(endpoints),
  ];
}

function priorityClassCells(object: JsonObject, now: Date): readonly Cell[] {
  return [
    nameOf(object),
    countOf(object, 'value'),
    object['globalDefault'] === true,
    ageOf(object, now),
    getString(object, 'preemptionPolicy'),
  ];
}

function driverCells(object: JsonObject): readonly Cell[] {
  const spec = specOf(object);
  const tokens = getObjects(spec, 'tokenRequests').map((token) => getString(token, 'audience'));
  return [
    spec['attachRequired'] !== false,
    spec['podInfoOnMount'] === true,
    spec['storageCapacity'] === true,
    tokens.length === 0 ? '<unset>' : tokens.join(','),
    spec['requiresRepublish'] === true,
    orNone(getStrings(spec, 'volumeLifecycleModes').join(',')),
  ];
}

function apiServiceCells(object: JsonObject): readonly Cell[] {
  const service = getObject(specOf(object), 'service');
  const available = findCondition(object, 'Available');
  const status = getString(available, 'status') || 'Unknown';
  const reason = getString(available, 'reason');
  return [
    service ? `${getString(service, 'namespace')}/${getString(service, 'name')}` : 'Local',
    status === 'True' || !reason ? status : `${status} (${reason})`,
  ];
}

function formatParamKind(object: JsonObject): string {
  const kind = getObject(specOf(object), 'paramKind');
  return kind ? `${getString(kind, 'apiVersion')}/${getString(kind, 'kind')}` : '<unset>';
}

function policyBindingCells(object: JsonObject): readonly Cell[] {
  const spec = specOf(object);
  const parameter = getObject(spec, 'paramRef');
  const name = getString(parameter, 'name') || (parameter ? '*' : '');
  const namespace = getString(parameter, 'namespace');
  return [
    getString(spec, 'policyName'),
    parameter ? `${namespace ? `${namespace}/` : ''}${name}` : '<unset>',
  ];
}

function flowSchemaCells(object: JsonObject, now: Date): readonly Cell[] {
  const spec = specOf(object);
  return [
    nameOf(object),
    getString(spec['priorityLevelConfiguration'], 'name'),
    countOf(spec, 'matchingPrecedence'),
    orNone(getString(spec['distinguisherMethod'], 'type')),
    ageOf(object, now),
    getString(findCondition(object, 'Dangling'), 'status') || '?',
  ];
}

function priorityLevelCells(object: JsonObject): readonly Cell[] {
  const spec = specOf(object);
  const limited = getObject(spec, 'limited');
  const queuing = getObject(getObject(limited, 'limitResponse'), 'queuing');
  const show = (parent: JsonObject | undefined, key: string): string => String(parent?.[key] ?? '<none>');
  return [
    getString(spec, 'type'),
    show(limited ?? getObject(spec, 'exempt'), 'nominalConcurrencyShares'),
    show(queuing, 'queues'),
    show(queuing, 'handSize'),
    show(queuing, 'queueLengthLimit'),
  ];
}

function formatParent(object: JsonObject): string {
  const parent = getObject(specOf(object), 'parentRef');
  return ['resource', 'namespace', 'name']
    .map((key) => getString(parent, key))
    .filter((text) => text !== '')
    .join('/');
}

function formatClaimState(object: JsonObject): string {
  const status = statusOf(object);
  const states: string[] = [];
  if (getString(object['metadata'], 'deletionTimestamp')) states.push('deleted');
  if (!getObject(status, 'allocation')) {
    if (states.length === 0) states.push('pending');
  } else {
    states.push('allocated');
    if (getObjects(status, 'reservedFor').length > 0) states.push('reserved');
  }
  return states.join(',');
}

const createdAt: Cells = (object) => [nameOf(object), getString(object['metadata'], 'creationTimestamp')];

/** Kinds without columns of their own. */
export const DEFAULT_PRINTER: Printer = { columns: parseColumns('Name|Created At'), cells: createdAt };

const BINDING_PRINTER: Printer = {
  columns: parseColumns('Name|Role|Age|Users+|Groups+|ServiceAccounts+'),
  cells: bindingCells,
};

const WEBHOOK_PRINTER = simple('Webhooks#', (object) => [getObjects(object, 'webhooks').length]);

/** By "group/Kind". */
export const GROUP_PRINTERS: Readonly<Record<string, Printer>> = {
  'networking.k8s.io/Ingress': simple('Class|Hosts|Address|Ports', ingressCells),
  'networking.k8s.io/IngressClass': simple('Controller|Parameters', ingressClassCells),
  'networking.k8s.io/NetworkPolicy': simple('Pod-Selector', (object) => [
    formatSelector(getObject(specOf(object), 'podSelector')),
  ]),
  'networking.k8s.io/IPAddress': simple('ParentRef', (object) => [formatParent(object)]),
  'networking.k8s.io/ServiceCIDR': simple('CIDRs', (object) => [
    getStrings(specOf(object), 'cidrs').join(','),
  ]),
  'discovery.k8s.io/EndpointSlice': simple('AddressType|Ports|Endpoints', sliceCells),
  'coordination.k8s.io/Lease': simple('Holder', (object) => [getString(specOf(object), 'holderIdentity')]),
  'rbac.authorization.k8s.io/RoleBinding': BINDING_PRINTER,
  'rbac.authorization.k8s.io/ClusterRoleBinding': BINDING_PRINTER,
  'certificates.k8s.io/CertificateSigningRequest': {
    columns: parseColumns('Name|Age|SignerName|Requestor|RequestedDuration|Condition'),
    cells: signingRequestCells,
  },
  'storage.k8s.io/StorageClass': {
    columns: parseColumns('Name|Provisioner|ReclaimPolicy|VolumeBindingMode|AllowVolumeExpansion|Age'),
    cells: storageClassCells,
  },
  'storage.k8s.io/VolumeAttributesClass': simple('DriverName', (object) => [getString(object, 'driverName')]),
  'storage.k8s.io/CSIDriver': simple(
    'AttachRequired?|PodInfoOnMount?|StorageCapacity?|TokenRequests|RequiresRepublish?|Modes',
    driverCells,
  ),
  'storage.k8s.io/CSINode': simple('Drivers#', (object) => [getObjects(specOf(object), 'drivers').length]),
  'storage.k8s.io/CSIStorageCapacity': {
    columns: parseColumns('Name|StorageClassName|Capacity'),
    cells: (object) => [
      nameOf(object),
      getString(object, 'storageClassName'),
      String(object['capacity'] ?? '<unset>'),
    ],
  },
  'storage.k8s.io/VolumeAttachment': simple('Attacher|PV|Node|Attached?', (object) => [
    getString(specOf(object), 'attacher'),
    getString(specOf(object)['source'], 'persistentVolumeName'),
    getString(specOf(object), 'nodeName'),
    statusOf(object)['attached'] === true,
  ]),
  'scheduling.k8s.io/PriorityClass': {
    columns: parseColumns('Name|Value#|Global-Default?|Age|PreemptionPolicy'),
    cells: priorityClassCells,
  },
  'node.k8s.io/RuntimeClass': simple('Handler', (object) => [getString(object, 'handler')]),
  'admissionregistration.k8s.io/MutatingWebhookConfiguration': WEBHOOK_PRINTER,
  'admissionregistration.k8s.io/ValidatingWebhookConfiguration': WEBHOOK_PRINTER,
  'admissionregistration.k8s.io/ValidatingAdmissionPolicy': simple('Validations#|ParamKind', (object) => [
    getObjects(specOf(object), 'validations').length,
    formatParamKind(object),
  ]),
  'admissionregistration.k8s.io/MutatingAdmissionPolicy': simple('Mutations#|ParamKind', (object) => [
    getObjects(specOf(object), 'mutations').length,
    formatParamKind(object),
  ]),
  'admissionregistration.k8s.io/ValidatingAdmissionPolicyBinding': simple(
    'PolicyName|ParamRef',
    policyBindingCells,
  ),
  'admissionregistration.k8s.io/MutatingAdmissionPolicyBinding': simple(
    'PolicyName|ParamRef',
    policyBindingCells,
  ),
  'apiregistration.k8s.io/APIService': simple('Service|Available', apiServiceCells),
  'flowcontrol.apiserver.k8s.io/FlowSchema': {
    columns: parseColumns('Name|PriorityLevel|MatchingPrecedence#|DistinguisherMethod|Age|MissingPL'),
    cells: flowSchemaCells,
  },
  'flowcontrol.apiserver.k8s.io/PriorityLevelConfiguration': simple(
    'Type|NominalConcurrencyShares|Queues|HandSize|QueueLengthLimit',
    priorityLevelCells,
  ),
  'resource.k8s.io/ResourceClaim': simple('State', (object) => [formatClaimState(object)]),
  'resource.k8s.io/ResourceClaimTemplate': simple('', () => []),
  'resource.k8s.io/DeviceClass': simple('', () => []),
  'resource.k8s.io/ResourceSlice': simple('Node|Driver|Pool', (object) => [
    getString(specOf(object), 'nodeName') || '<unset>',
    getString(specOf(object), 'driver'),
    getString(specOf(object)['pool'], 'name'),
  ]),
};
