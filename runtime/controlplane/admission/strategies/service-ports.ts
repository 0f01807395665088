import type { ServiceSpec } from 'kubernetes-types/core/v1.d.ts';
import { StatusError } from '../../apiserver/status-error.ts';
import { refuseInvalid } from '../refusals.ts';
import type { AllocationInput } from './service-addresses.ts';
import { servicePorts } from './service-allocation.ts';

/** Takes the node ports that are asked for, and free ones for ports without. @throws StatusError 422 or 500 */
export function allocateNodePorts(input: AllocationInput): void {
  const spec = input.service.spec!;
  const mine = new Set(input.old ? servicePorts(input.old) : []);
  const ports = spec.ports ?? [];
  if (hasNodePorts(spec)) {
    for (const [i, port] of ports.entries()) {
      if (port.nodePort) takePort(input, { port: port.nodePort, field: `spec.ports[${i}].nodePort`, mine });
    }
    for (const port of ports) port.nodePort ||= shareOrPick(input, port.port, mine);
  }
  if (needsHealthPort(spec)) {
    if (spec.healthCheckNodePort) {
      takePort(input, { port: spec.healthCheckNodePort, field: 'spec.healthCheckNodePort', mine });
    } else spec.healthCheckNodePort = pickPort(input, mine);
  }
}

/** NodePort always, LoadBalancer unless it does without. */
export function hasNodePorts(spec: ServiceSpec): boolean {
  if (spec.type === 'NodePort') return true;
  return spec.type === 'LoadBalancer' && spec.allocateLoadBalancerNodePorts !== false;
}

/** A load balancer that keeps traffic on the node asks each node whether it has endpoints. */
export function needsHealthPort(spec: ServiceSpec): boolean {
  return spec.type === 'LoadBalancer' && spec.externalTrafficPolicy === 'Local';
}

function takePort(
  { request, allocations, reservation }: AllocationInput,
  { port, field, mine }: { readonly port: number; readonly field: string; readonly mine: Set<number> },
): void {
  if (mine.has(port)) return;
  const { from, to } = allocations.nodePortRange;
  const problem = (why: string) =>
    refuseInvalid(request, [{ field, message: `Invalid value: ${port}: ${why}` }]);
  if (port < from || port > to) {
    throw problem(`provided port is not in the valid range. The range of valid ports is ${from}-${to}`);
  }
  if (allocations.nodePorts.isTaken(port)) throw problem('provided port is already allocated');
  allocations.nodePorts.take(port);
  reservation.release.push(() => allocations.nodePorts.release(port));
  reservation.ports.push(port);
  // The same number may serve TCP and UDP of one Service.
  mine.add(port);
}

/** A port that is served over two protocols gets one node port for both. */
function shareOrPick(input: AllocationInput, port: number, mine: Set<number>): number {
  const twin = input.service.spec?.ports?.find((other) => other.port === port && other.nodePort);
  return twin?.nodePort ?? pickPort(input, mine);
}

function pickPort({ allocations, reservation }: AllocationInput, mine: Set<number>): number {
  const port = allocations.nodePorts.pick();
  if (port === undefined) {
    const message = 'Internal error occurred: failed to allocate a nodePort: range is full';
    throw new StatusError(500, { reason: 'InternalError', message });
  }
  allocations.nodePorts.take(port);
  reservation.release.push(() => allocations.nodePorts.release(port));
  reservation.ports.push(port);
  mine.add(port);
  return port;
}
