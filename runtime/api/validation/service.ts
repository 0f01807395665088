import { getObject, getObjects, getString, getStringMap, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { duplicate, type Findings, forbidden, invalid, required } from './field-error.ts';
import { immutable, validateLabels } from './metadata.ts';
import { checkDnsLabel, checkDnsSubdomain, checkIp, checkPortName } from './names.ts';
import { validateChoice, validateRange } from './resources.ts';

const TYPES = ['ClusterIP', 'ExternalName', 'LoadBalancer', 'NodePort'] as const;
const PROTOCOLS = ['SCTP', 'TCP', 'UDP'] as const;
const PORT_RANGE = [1, 65535] as const;

function* validateTargetPort(value: unknown, field: string): Findings {
  if (typeof value === 'string') {
    const problem = checkPortName(value);
    if (problem) yield invalid(field, value, problem);
  } else yield* validateRange(value, field, PORT_RANGE);
}

function* validatePorts(spec: JsonObject): Findings {
  const ports = getObjects(spec, 'ports');
  const names = new Set<string>();
  const keys = new Set<string>();
  const nodePorts = new Set<string>();
  for (const [index, port] of ports.entries()) {
    const field = `spec.ports[${index}]`;
    const name = getString(port, 'name');
    const protocol = String(port['protocol']);
    if (ports.length > 1 && name === '') yield required(`${field}.name`);
    const problem = name ? checkDnsLabel(name) : undefined;
    if (problem) yield invalid(`${field}.name`, name, problem);
    if (name && names.has(name)) yield duplicate(`${field}.name`, name);
    names.add(name);
    yield* validateRange(port['port'] ?? 0, `${field}.port`, PORT_RANGE);
    if (!port['protocol']) yield required(`${field}.protocol`);
    else yield* validateChoice(port['protocol'], `${field}.protocol`, PROTOCOLS);
    yield* validateTargetPort(port['targetPort'], `${field}.targetPort`);
    const key = `${protocol}/${String(port['port'])}`;
    if (keys.has(key)) yield duplicate(field, { port: port['port'], protocol });
    keys.add(key);
    if (!port['nodePort']) continue;
    if (spec['type'] === 'ClusterIP')
      yield forbidden(`${field}.nodePort`, "may not be used when `type` is 'ClusterIP'");
    const nodeKey = `${protocol}/${String(port['nodePort'])}`;
    if (nodePorts.has(nodeKey)) yield duplicate(`${field}.nodePort`, port['nodePort']);
    nodePorts.add(nodeKey);
  }
}

function* validateType(spec: JsonObject): Findings {
  const type = getString(spec, 'type');
  if (!type) yield required('spec.type');
  else yield* validateChoice(type, 'spec.type', TYPES);
  const isHeadless = spec['clusterIP'] === 'None';
  if (type === 'LoadBalancer' && isHeadless)
    yield invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for LoadBalancer services");
  if (type === 'NodePort' && isHeadless)
    yield invalid('spec.clusterIPs[0]', 'None', "may not be set to 'None' for NodePort services");
  if (type === 'ExternalName') {
    const name = getString(spec, 'externalName').replace(/\.$/, '');
    if (spec['clusterIP']) yield forbidden('spec.clusterIPs', "may not be set when `type` is 'ExternalName'");
    if (!name) yield required('spec.externalName');
    const problem = name ? checkDnsSubdomain(name) : undefined;
    if (problem) yield invalid('spec.externalName', name, problem);
  } else if (getObjects(spec, 'ports').length === 0 && !isHeadless) yield required('spec.ports');
}

function* validateAddresses(spec: JsonObject): Findings {
  for (const [index, address] of getStrings(spec, 'clusterIPs').entries()) {
    if (address === 'None' && index === 0) continue;
    const problem = address ? checkIp(address) : undefined;
    if (problem) yield invalid(`spec.clusterIPs[${index}]`, address, problem);
  }
  for (const [index, address] of getStrings(spec, 'externalIPs').entries()) {
    const problem = checkIp(address);
    if (problem) yield invalid(`spec.externalIPs[${index}]`, address, problem);
  }
  const seconds = getObject(getObject(spec, 'sessionAffinityConfig'), 'clientIP')?.['timeoutSeconds'];
  yield* validateRange(seconds, 'spec.sessionAffinityConfig.clientIP.timeoutSeconds', [1, 86400]);
}

/** Findings about how a Service may change. */
function* validateUpdate(spec: JsonObject, old: JsonObject): Findings {
  const isExternal = spec['type'] === 'ExternalName' || old['type'] === 'ExternalName';
  const before = old['clusterIP'];
  if (!isExternal && before && spec['clusterIP'] !== before)
    yield immutable('spec.clusterIPs[0]', spec['clusterIP'] ?? '');
}

/** Findings about a Service. */
export function* validateService(object: JsonObject, old: JsonObject | undefined): Findings {
  const spec = getObject(object, 'spec') ?? {};
  yield* validateType(spec);
  yield* validatePorts(spec);
  yield* validateAddresses(spec);
  yield* validateLabels(getStringMap(spec, 'selector'), 'spec.selector');
  yield* validateChoice(spec['sessionAffinity'], 'spec.sessionAffinity', ['ClientIP', 'None']);
  yield* validateChoice(spec['externalTrafficPolicy'], 'spec.externalTrafficPolicy', ['Cluster', 'Local']);
  yield* validateChoice(spec['internalTrafficPolicy'], 'spec.internalTrafficPolicy', ['Cluster', 'Local']);
  const before = old && getObject(old, 'spec');
  if (before) yield* validateUpdate(spec, before);
}

/** Findings about Endpoints. */
export function* validateEndpoints(object: JsonObject): Findings {
  for (const [index, subset] of getObjects(object, 'subsets').entries()) {
    const field = `subsets[${index}]`;
    const lists = ['addresses', 'notReadyAddresses'] as const;
    if (lists.every((list) => getObjects(subset, list).length === 0))
      yield required(field, 'must specify `addresses` or `notReadyAddresses`');
    for (const list of lists)
      for (const [place, address] of getObjects(subset, list).entries()) {
        const problem = checkIp(getString(address, 'ip'));
        if (problem) yield invalid(`${field}.${list}[${place}].ip`, address['ip'], problem);
      }
    for (const [place, port] of getObjects(subset, 'ports').entries())
      yield* validateRange(port['port'] ?? 0, `${field}.ports[${place}].port`, PORT_RANGE);
  }
}

/** Findings about an EndpointSlice. */
export function* validateEndpointSlice(object: JsonObject, old: JsonObject | undefined): Findings {
  const type = getString(object, 'addressType');
  if (!type) yield required('addressType');
  else yield* validateChoice(type, 'addressType', ['FQDN', 'IPv4', 'IPv6']);
  if (old && old['addressType'] !== type) yield immutable('addressType', type);
  const endpoints = getObjects(object, 'endpoints');
  if (endpoints.length > 1000)
    yield {
      type: 'TooMany',
      field: 'endpoints',
      value: endpoints.length,
      detail: 'must have at most 1000 items',
    };
  for (const [index, endpoint] of endpoints.entries()) {
    const addresses = getStrings(endpoint, 'addresses');
    if (addresses.length === 0)
      yield required(`endpoints[${index}].addresses`, 'must contain at least 1 address');
    for (const [place, address] of addresses.entries()) {
      const problem = type === 'FQDN' ? checkDnsSubdomain(address) : checkIp(address);
      if (problem) yield invalid(`endpoints[${index}].addresses[${place}]`, address, problem);
    }
  }
}
