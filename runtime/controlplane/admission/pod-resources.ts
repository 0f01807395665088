import type { Container, PodSpec } from 'kubernetes-types/core/v1.d.ts';
import { parseQuantity } from '../../api/quantity.ts';

/** Quantities by resource name, in billionths. */
export type ResourceAmounts = Map<string, bigint>;

type Side = 'requests' | 'limits';

/**
 * What a pod needs in all: the sum of its containers and sidecars, or the largest init container (with the
 * sidecars started before it) where that is more; plus overhead. Resources of the pod as a whole win.
 */
export function podResources(spec: PodSpec, side: Side): ResourceAmounts {
  const total: ResourceAmounts = new Map();
  for (const container of spec.containers) add(total, amountsOf(container.resources, side));
  const sidecars: ResourceAmounts = new Map();
  const largestInit: ResourceAmounts = new Map();
  for (const container of spec.initContainers ?? []) {
    const amounts = amountsOf(container.resources, side);
    if (isSidecar(container)) {
      add(total, amounts);
      add(sidecars, amounts);
      raise(largestInit, sidecars);
    } else {
      const together = new Map(sidecars);
      add(together, amounts);
      raise(largestInit, together);
    }
  }
  raise(total, largestInit);
  const whole = amountsOf((spec as { resources?: Container['resources'] }).resources, side);
  for (const [name, amount] of whole) total.set(name, amount);
  const overhead = toAmounts(spec.overhead as Record<string, string> | undefined);
  for (const [name, amount] of overhead) {
    // A limit that is not set stays open, whatever the overhead.
    if (side === 'requests' || total.has(name)) total.set(name, (total.get(name) ?? 0n) + amount);
  }
  return total;
}

/** True for an init container that goes on running (restartPolicy Always). */
function isSidecar(container: Container): boolean {
  return container.restartPolicy === 'Always';
}

/** Parsed quantities of a resource list. */
export function toAmounts(list: Readonly<Record<string, string>> | undefined): ResourceAmounts {
  return new Map(Object.entries(list ?? {}).map(([name, text]) => [name, parseQuantity(text)]));
}

/** Adds every amount to that of the same name. */
export function add(sum: ResourceAmounts, more: ReadonlyMap<string, bigint>): void {
  for (const [name, amount] of more) sum.set(name, (sum.get(name) ?? 0n) + amount);
}

/** Requests that are left out are the limits, as the API's own default has it. */
function amountsOf(resources: Container['resources'], side: Side): ResourceAmounts {
  const list = side === 'limits' ? resources?.limits : { ...resources?.limits, ...resources?.requests };
  return toAmounts(list as Record<string, string> | undefined);
}

function raise(sum: ResourceAmounts, floor: ReadonlyMap<string, bigint>): void {
  for (const [name, amount] of floor) if ((sum.get(name) ?? 0n) < amount) sum.set(name, amount);
}
