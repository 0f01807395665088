import type { Service } from 'kubernetes-types/core/v1.d.ts';
import { StatusError } from '../../apiserver/status-error.ts';
import { type FieldProblem, refuseInvalid } from '../refusals.ts';
import type { AdmissionRequest } from '../types.ts';
import { familyOf, type IpFamily } from './ip-range.ts';
import type { Reservation } from './service.ts';
import { type AddressPool, type ServiceAllocations, serviceAddresses } from './service-allocation.ts';

/** One Service on its way to the store. */
export interface AllocationInput {
  readonly request: AdmissionRequest;
  readonly service: Service;
  readonly old: Service | undefined;
  readonly allocations: ServiceAllocations;
  readonly reservation: Reservation;
}

/**
 * Sets ipFamilies, ipFamilyPolicy, clusterIPs and clusterIP; takes the addresses that are asked for or free ones.
 * @throws StatusError 422 when they cannot be had, 500 when the range is used up
 */
export function allocateAddresses(input: AllocationInput): void {
  const { request, service, old, allocations, reservation } = input;
  const spec = service.spec!;
  if (spec.type === 'ExternalName') return;
  const wanted = requestedAddresses(service);
  const isHeadless = wanted[0] === 'None';
  const pools = choosePools(input, isHeadless ? [] : wanted);
  spec.ipFamilies = pools.map(({ family }) => family);
  spec.ipFamilyPolicy ??= 'SingleStack';
  if (isHeadless) {
    spec.clusterIP = 'None';
    spec.clusterIPs = ['None'];
    return;
  }
  const held = new Set(old ? serviceAddresses(old) : []);
  const addresses = pools.map(({ pool, family }) => {
    const address = wanted.find((address) => familyOf(address) === family);
    if (address !== undefined && held.has(address)) return address;
    if (!pool) throw refuseFamily(request, family);
    const offset =
      address === undefined ? pickFree(pool) : checkFree(request, address, { pool, all: wanted });
    pool.pool.take(offset);
    reservation.release.push(() => pool.pool.release(offset));
    reservation.addresses.push(pool.range.address(offset));
    // An address that was asked for is kept as it was written.
    return address ?? pool.range.address(offset);
  });
  spec.clusterIPs = addresses;
  spec.clusterIP = addresses[0] ?? '';

  function pickFree({ pool, range }: AddressPool): number {
    const offset = pool.pick();
    if (offset !== undefined) return offset;
    throw new StatusError(500, {
      reason: 'InternalError',
      message: `Internal error occurred: failed to allocate a serviceIP: range is full (${range.cidr}, ${allocations.addressPools.length} ranges)`,
    });
  }
}

interface FamilyPool {
  readonly family: IpFamily;
  /** undefined: the cluster has no range of this family (headless Services without selector may still name it). */
  readonly pool: AddressPool | undefined;
}

/** The families of the Service in order: as asked, else by the addresses asked for, else the cluster's default. */
function choosePools(
  { request, service, allocations }: AllocationInput,
  wanted: readonly string[],
): FamilyPool[] {
  const spec = service.spec!;
  const { addressPools } = allocations;
  const families = (spec.ipFamilies ?? []) as IpFamily[];
  for (const address of wanted) {
    const family = familyOf(address);
    if (!families.includes(family)) families.push(family);
  }
  if (families.length === 0) families.push(addressPools[0]?.range.family ?? 'IPv4');
  const isDual = spec.ipFamilyPolicy === 'PreferDualStack' || spec.ipFamilyPolicy === 'RequireDualStack';
  if (spec.ipFamilyPolicy === 'RequireDualStack' && addressPools.length < 2) {
    const message =
      'Invalid value: "RequireDualStack": this cluster is not configured for dual-stack services';
    throw refuseInvalid(request, [{ field: 'spec.ipFamilyPolicy', message }]);
  }
  if (families.length > 1 && spec.ipFamilyPolicy === undefined) spec.ipFamilyPolicy = 'RequireDualStack';
  if (families.length > 1 && !isDual && spec.ipFamilyPolicy === 'SingleStack') {
    const message =
      "Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when multiple 'ipFamilies' are specified";
    throw refuseInvalid(request, [{ field: 'spec.ipFamilyPolicy', message }]);
  }
  if (isDual) {
    const other = addressPools.find(({ range }) => !families.includes(range.family));
    if (other) families.push(other.range.family);
  }
  const isFree = spec.clusterIP === 'None' && !spec.selector;
  return families.map((family) => {
    const pool = addressPools.find(({ range }) => range.family === family);
    if (!pool && !isFree) throw refuseFamily(request, family);
    return { family, pool };
  });
}

function refuseFamily(request: AdmissionRequest, family: IpFamily): StatusError {
  const message = `Invalid value: "${family}": not configured on this cluster`;
  return refuseInvalid(request, [{ field: 'spec.ipFamilies[0]', message }]);
}

function requestedAddresses(service: Service): readonly string[] {
  const { clusterIP, clusterIPs } = service.spec!;
  if (clusterIPs?.length) return clusterIPs.filter((address) => address !== '');
  return clusterIP ? [clusterIP] : [];
}

function checkFree(
  request: AdmissionRequest,
  address: string,
  { pool: { pool, range }, all }: { readonly pool: AddressPool; readonly all: readonly string[] },
): number {
  const offset = range.offset(address);
  const problem = (why: string): FieldProblem => ({
    field: 'spec.clusterIPs',
    message: `Invalid value: ${JSON.stringify(all)}: failed to allocate IP ${address}: ${why}`,
  });
  if (offset === undefined) {
    const why = `the provided IP (${address}) is not in the valid range. The range of valid IPs is ${range.cidr}`;
    throw refuseInvalid(request, [problem(why)]);
  }
  if (pool.isTaken(offset)) throw refuseInvalid(request, [problem('provided IP is already allocated')]);
  return offset;
}
