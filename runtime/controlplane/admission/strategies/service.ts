import type { Service } from 'kubernetes-types/core/v1.d.ts';
import { SERVICES } from '../../../api/kinds.ts';
import { isWriteOf, objectOf } from '../refusals.ts';
import type { AdmissionOptions, AdmissionPlugin, AdmissionRequest } from '../types.ts';
import { allocateAddresses } from './service-addresses.ts';
import { createServiceAllocations, serviceAddresses, servicePorts } from './service-allocation.ts';
import { carryOver, checkImmutable, setServiceDefaults } from './service-defaults.ts';
import { allocateNodePorts } from './service-ports.ts';

/** What one write has taken beforehand; given back when it fails or when the store holds the Service. */
export interface Reservation {
  readonly addresses: string[];
  readonly ports: number[];
  readonly release: (() => void)[];
}

/** Fills in and checks what a Service gets from the cluster: addresses, families, node ports. */
export function createServiceStrategy(options: AdmissionOptions): AdmissionPlugin {
  const allocations = createServiceAllocations(options);
  const pending = new Map<AdmissionRequest, Reservation>();
  options.reader.subscribe(SERVICES, (service, type) => {
    if (type === 'DELETED') return;
    for (const [request, reservation] of pending) {
      if (isStored(reservation, service)) end(pending, request);
    }
  });
  return {
    name: 'ServiceStrategy',
    admit(request) {
      if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
      if (!isWriteOf(request, 'services')) return;
      const service = objectOf<Service>(request);
      if (!service.spec) return;
      const old = request.oldObject as Service | undefined;
      if (old) carryOver(service, old);
      setServiceDefaults(service);
      checkImmutable(request, service, old);
      const reservation: Reservation = { addresses: [], ports: [], release: [] };
      pending.set(request, reservation);
      try {
        allocateAddresses({ request, service, old, allocations, reservation });
        allocateNodePorts({ request, service, old, allocations, reservation });
      } catch (error) {
        end(pending, request);
        throw error;
      }
      // Nothing of a dry run is kept, and an update that took nothing has nothing to wait for.
      if (request.isDryRun || reservation.release.length === 0) end(pending, request);
    },
    undo: (request) => end(pending, request),
  };
}

function isStored(reservation: Reservation, service: Service): boolean {
  const addresses = serviceAddresses(service);
  const ports = servicePorts(service);
  return (
    reservation.addresses.every((address) => addresses.includes(address)) &&
    reservation.ports.every((port) => ports.includes(port))
  );
}

function end(pending: Map<AdmissionRequest, Reservation>, request: AdmissionRequest): void {
  for (const release of pending.get(request)?.release.splice(0) ?? []) release();
  pending.delete(request);
}
