import type { Pod, ResourceQuota } from 'kubernetes-types/core/v1.d.ts';
import { type KubeObject, RESOURCE_QUOTAS } from '../../../api/kinds.ts';
import { formatQuantity, parseQuantity, parseQuantityFormat } from '../../../api/quantity.ts';
import type { ResourceRow } from '../../../api/resources.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { add, type ResourceAmounts } from '../pod-resources.ts';
import { isInScope, usageOf } from '../quota-usage.ts';
import { objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

/** A write that was let through counts until the store shows it, but no longer than this. */
const PENDING_MS = 10_000;
const MUST_SPECIFY = ['cpu', 'memory', 'requests.cpu', 'requests.memory', 'limits.cpu', 'limits.memory'];

interface PendingWrite {
  readonly request: AdmissionRequest;
  readonly sinceMs: number;
}

interface Context {
  readonly reader: ObjectReader;
  readonly now: () => Date;
}

/**
 * Holds a namespace to its ResourceQuotas. Use is counted from the stored objects, plus the writes that were let
 * through and are not stored yet, so that parallel creations cannot pass the limit together.
 */
export function createResourceQuota({ reader, now }: Context): AdmissionPlugin {
  const pending = new Set<PendingWrite>();
  return {
    name: 'ResourceQuota',
    validate(request) {
      const { operation, resource, subresource, namespace } = request;
      if ((operation !== 'CREATE' && operation !== 'UPDATE') || subresource !== '') return;
      if (!resource.namespaced || !request.object) return;
      const quotas = reader.list(RESOURCE_QUOTAS, namespace);
      if (quotas.length === 0) return;
      forgetStored(pending, reader, now().getTime());
      for (const quota of quotas) checkQuota({ request, quota, reader, pending });
      if (!request.isDryRun) pending.add({ request, sinceMs: now().getTime() });
    },
    undo(request) {
      for (const write of pending) if (write.request === request) pending.delete(write);
    },
  };
}

function forgetStored(pending: Set<PendingWrite>, reader: ObjectReader, nowMs: number): void {
  for (const write of pending) {
    const { request, sinceMs } = write;
    const name = request.object?.metadata?.name || request.name;
    const isStored =
      name && reader.get(request.resource, name, request.namespace) && request.operation === 'CREATE';
    if (isStored || nowMs - sinceMs > PENDING_MS) pending.delete(write);
  }
}

function checkQuota(input: {
  readonly request: AdmissionRequest;
  readonly quota: ResourceQuota;
  readonly reader: ObjectReader;
  readonly pending: ReadonlySet<PendingWrite>;
}): void {
  const { request, quota, reader, pending } = input;
  const { resource, namespace } = request;
  const object = objectOf(request);
  if (!isInScope(quota, resource, object)) return;
  const hard = (quota.spec?.hard ?? {}) as Record<string, string>;
  const wanted = usageOf(resource, object);
  const before = request.oldObject ? usageOf(resource, request.oldObject) : new Map<string, bigint>();
  if (request.operation === 'CREATE') checkSpecified(request, quota, hard);
  const asked = Object.keys(hard).filter((name) => (wanted.get(name) ?? 0n) > (before.get(name) ?? 0n));
  if (asked.length === 0) return;
  const used = sumUsage({ quota, resource, namespace, reader, pending });
  const exceeded = asked
    .filter(
      (name) =>
        (used.get(name) ?? 0n) - (before.get(name) ?? 0n) + wanted.get(name)! > parseQuantity(hard[name]!),
    )
    .toSorted();
  if (exceeded.length === 0) return;
  const show = (amounts: (name: string) => bigint) =>
    exceeded
      .map((name) => `${name}=${formatQuantity(amounts(name), parseQuantityFormat(hard[name]!).format)}`)
      .join(',');
  throw refuse(
    request,
    `exceeded quota: ${quota.metadata?.name}, requested: ${show((name) => wanted.get(name)! - (before.get(name) ?? 0n))}, ` +
      `used: ${show((name) => used.get(name) ?? 0n)}, limited: ${show((name) => parseQuantity(hard[name]!))}`,
  );
}

function sumUsage(input: {
  readonly quota: ResourceQuota;
  readonly resource: ResourceRow;
  readonly namespace: string;
  readonly reader: ObjectReader;
  readonly pending: ReadonlySet<PendingWrite>;
}): ResourceAmounts {
  const { quota, resource, namespace, reader, pending } = input;
  const used: ResourceAmounts = new Map();
  const count = (object: KubeObject) => {
    if (isInScope(quota, resource, object)) add(used, usageOf(resource, object));
  };
  for (const object of reader.list(resource, namespace)) count(object);
  for (const { request } of pending) {
    const isSame = request.resource === resource && request.namespace === namespace;
    if (isSame && request.operation === 'CREATE') count(objectOf(request));
  }
  return used;
}

/** Where a quota limits cpu or memory, every container must say how much it needs. */
function checkSpecified(request: AdmissionRequest, quota: ResourceQuota, hard: Record<string, string>): void {
  if (request.resource.group !== '' || request.resource.plural !== 'pods') return;
  const { spec } = objectOf<Pod>(request);
  const containers = [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
  const missing = MUST_SPECIFY.filter((name) => hard[name] !== undefined).flatMap((name) => {
    const plain = name.replace(/^(requests|limits)\./, '');
    const without = containers.filter(({ resources }) => {
      const limits = (resources?.limits ?? {}) as Record<string, string>;
      const requests = (resources?.requests ?? {}) as Record<string, string>;
      return name.startsWith('limits.')
        ? limits[plain] === undefined
        : (requests[plain] ?? limits[plain]) === undefined;
    });
    return without.length === 0
      ? []
      : [`${name} for: ${without.map((container) => container.name).join(',')}`];
  });
  if (missing.length === 0) return;
  throw refuse(
    request,
    `failed quota: ${quota.metadata?.name}: must specify ${missing.toSorted().join('; ')}`,
  );
}
