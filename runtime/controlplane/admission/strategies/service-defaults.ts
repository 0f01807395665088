import type { Service, ServiceSpec, ServiceStatus } from 'kubernetes-types/core/v1.d.ts';
import { refuseInvalid } from '../refusals.ts';
import type { AdmissionRequest } from '../types.ts';
import { serviceAddresses } from './service-allocation.ts';
import { hasNodePorts, needsHealthPort } from './service-ports.ts';

/** The constant defaults of core/v1 Service; those that the schema has set already stay. */
export function setServiceDefaults(service: Service): void {
  const spec = service.spec!;
  spec.type ??= 'ClusterIP';
  spec.sessionAffinity ??= 'None';
  if (spec.sessionAffinity === 'ClientIP')
    spec.sessionAffinityConfig ??= { clientIP: { timeoutSeconds: 10_800 } };
  for (const port of spec.ports ?? []) {
    port.protocol ??= 'TCP';
    port.targetPort ??= port.port;
  }
  if (spec.type !== 'ExternalName') spec.internalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'NodePort' || spec.type === 'LoadBalancer') spec.externalTrafficPolicy ??= 'Cluster';
  if (spec.type === 'LoadBalancer') spec.allocateLoadBalancerNodePorts ??= true;
  if (!service.status) (service as { status?: ServiceStatus }).status = { loadBalancer: {} };
}

/**
 * What a client leaves out of an update stays as it was; what the old type needed and the new one does not is
 * dropped unless the client changed it (upstream: patchAllocatedValues, dropTypeDependentFields).
 */
export function carryOver(service: Service, old: Service): void {
  const spec = service.spec!;
  const before = old.spec ?? {};
  if (hasClusterIp(before) && hasClusterIp(spec)) {
    if (!spec.clusterIP && !spec.clusterIPs?.length) {
      if (before.clusterIP !== undefined) spec.clusterIP = before.clusterIP;
      if (before.clusterIPs) spec.clusterIPs = [...before.clusterIPs];
    } else if (!spec.clusterIPs?.length && spec.clusterIP === before.clusterIP && before.clusterIPs) {
      spec.clusterIPs = [...before.clusterIPs];
    }
    if (!spec.ipFamilies?.length && before.ipFamilies) spec.ipFamilies = [...before.ipFamilies];
    if (spec.ipFamilyPolicy === undefined && before.ipFamilyPolicy)
      spec.ipFamilyPolicy = before.ipFamilyPolicy;
    if (before.ipFamilyPolicy !== 'SingleStack' && spec.ipFamilyPolicy === 'SingleStack') {
      spec.clusterIPs &&= spec.clusterIPs.slice(0, 1);
      spec.ipFamilies &&= spec.ipFamilies.slice(0, 1);
    }
  }
  if (hasNodePorts(before) && hasNodePorts(spec)) carryNodePorts(spec, before);
  if (needsHealthPort(before) && needsHealthPort(spec) && before.healthCheckNodePort) {
    spec.healthCheckNodePort ||= before.healthCheckNodePort;
  }
  if (spec.type !== before.type) dropUnneeded(spec, before);
}

function hasClusterIp(spec: ServiceSpec): boolean {
  return spec.type !== 'ExternalName';
}

function carryNodePorts(spec: ServiceSpec, before: ServiceSpec): void {
  for (const port of spec.ports ?? []) {
    const same = before.ports?.find(
      (other) => other.port === port.port && (other.protocol ?? 'TCP') === (port.protocol ?? 'TCP'),
    );
    const isTaken = spec.ports?.some((other) => other !== port && other.nodePort === same?.nodePort);
    if (!port.nodePort && same?.nodePort && !isTaken) port.nodePort = same.nodePort;
  }
}

function dropUnneeded(spec: ServiceSpec, before: ServiceSpec): void {
  if (!hasClusterIp(spec) && spec.clusterIP === before.clusterIP) {
    delete spec.clusterIP;
    delete spec.clusterIPs;
    delete spec.ipFamilies;
    delete spec.ipFamilyPolicy;
    delete spec.internalTrafficPolicy;
  }
  if (!hasNodePorts(spec)) {
    const old = new Set(before.ports?.map(({ nodePort }) => nodePort));
    for (const port of spec.ports ?? []) if (old.has(port.nodePort)) delete port.nodePort;
  }
  if (!needsHealthPort(spec) && spec.healthCheckNodePort === before.healthCheckNodePort) {
    delete spec.healthCheckNodePort;
  }
  const isExternal = spec.type === 'NodePort' || spec.type === 'LoadBalancer';
  if (!isExternal && spec.externalTrafficPolicy === before.externalTrafficPolicy)
    delete spec.externalTrafficPolicy;
  if (spec.type !== 'LoadBalancer') delete spec.allocateLoadBalancerNodePorts;
}

/** The first address stays for life, while the Service has one. */
export function checkImmutable(request: AdmissionRequest, service: Service, old: Service | undefined): void {
  if (!old || !hasClusterIp(service.spec!) || !hasClusterIp(old.spec ?? {})) return;
  const before = old.spec?.clusterIPs ?? [old.spec?.clusterIP ?? ''];
  const now = service.spec?.clusterIPs ?? [service.spec?.clusterIP ?? ''];
  if (before[0] && before[0] !== now[0]) {
    const message = `Invalid value: ${JSON.stringify(now)}: may not change once set`;
    throw refuseInvalid(request, [{ field: 'spec.clusterIPs[0]', message }]);
  }
  const heldSecond = serviceAddresses(old)[1];
  if (heldSecond && now[1] && heldSecond !== now[1]) {
    const message = `Invalid value: ${JSON.stringify(now)}: may not change once set`;
    throw refuseInvalid(request, [{ field: 'spec.clusterIPs[1]', message }]);
  }
}
