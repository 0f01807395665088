import type { Container, Pod } from 'kubernetes-types/core/v1.d.ts';
import { quantityToInteger, quantityToMilli } from '../../api/quantity.ts';

/** Amounts by resource name: cpu in thousandths of a core, all else in units (bytes, devices). */
export type Resources = Readonly<Record<string, number>>;

/** A port of the host that a pod takes. */
export interface HostPort {
  readonly ip: string;
  readonly protocol: string;
  readonly port: number;
}

/** What placing a pod depends on, worked out once. */
export interface PodInfo {
  readonly pod: Pod;
  readonly key: string;
  readonly priority: number;
  readonly requests: Resources;
  /** cpu and memory as scores count them: a container that asks for nothing counts as 100m and 200 MiB. */
  readonly scored: { readonly cpu: number; readonly memory: number };
  readonly hostPorts: readonly HostPort[];
}

const DEFAULT_CPU_MILLI = 100;
const DEFAULT_MEMORY_BYTES = 200 * 2 ** 20;

/** Reads a pod. */
export function buildPodInfo(pod: Pod): PodInfo {
  const { namespace, name } = pod.metadata ?? {};
  return {
    pod,
    key: `${namespace}/${name}`,
    priority: pod.spec?.priority ?? 0,
    requests: sumRequests(pod, requestsOf),
    scored: sumScored(pod),
    hostPorts: hostPortsOf(pod),
  };
}

/** Amounts of a quantity map, as `requests` or `allocatable`. */
export function parseResources(quantities: Readonly<Record<string, string>> | undefined): Resources {
  const amounts: Record<string, number> = {};
  for (const [name, quantity] of Object.entries(quantities ?? {})) {
    amounts[name] = name === 'cpu' ? quantityToMilli(quantity) : quantityToInteger(quantity);
  }
  return amounts;
}

function requestsOf(container: Container): Resources {
  return parseResources(container.resources?.requests);
}

function scoredOf(container: Container): Resources {
  const { cpu = DEFAULT_CPU_MILLI, memory = DEFAULT_MEMORY_BYTES } = requestsOf(container);
  return { cpu, memory };
}

function sumScored(pod: Pod): { readonly cpu: number; readonly memory: number } {
  const { cpu = 0, memory = 0 } = sumRequests(pod, scoredOf);
  return { cpu, memory };
}

/**
 * What the pod asks for: its containers and sidecars together, or the largest init container with the
 * sidecars started before it if that is more; plus the overhead of its runtime class. Requests of the pod
 * as a whole go before those of its containers.
 */
function sumRequests(pod: Pod, read: (container: Container) => Resources): Resources {
  const total: Record<string, number> = {};
  const initial: Record<string, number> = {};
  const sidecars: Record<string, number> = {};
  for (const container of pod.spec?.containers ?? []) add(total, read(container));
  for (const container of pod.spec?.initContainers ?? []) {
    const amounts = read(container);
    if ((container as { restartPolicy?: string }).restartPolicy === 'Always') {
      add(total, amounts);
      add(sidecars, amounts);
      raise(initial, sidecars);
    } else {
      const together = { ...sidecars };
      add(together, amounts);
      raise(initial, together);
    }
  }
  raise(total, initial);
  const whole = (pod.spec as { resources?: { requests?: Record<string, string> } } | undefined)?.resources;
  Object.assign(total, parseResources(whole?.requests));
  add(total, parseResources(pod.spec?.overhead));
  return total;
}

function add(total: Record<string, number>, amounts: Resources): void {
  for (const [name, amount] of Object.entries(amounts)) total[name] = (total[name] ?? 0) + amount;
}

function raise(total: Record<string, number>, amounts: Resources): void {
  for (const [name, amount] of Object.entries(amounts)) total[name] = Math.max(total[name] ?? 0, amount);
}

function hostPortsOf({ spec }: Pod): HostPort[] {
  const sidecars = (spec?.initContainers ?? []).filter(
    (container) => (container as { restartPolicy?: string }).restartPolicy === 'Always',
  );
  return [...(spec?.containers ?? []), ...sidecars].flatMap((container) =>
    (container.ports ?? []).flatMap(({ hostPort, hostIP, protocol, containerPort }) => {
      const port = hostPort || (spec?.hostNetwork ? containerPort : 0);
      return port ? [{ ip: hostIP || '0.0.0.0', protocol: protocol ?? 'TCP', port }] : [];
    }),
  );
}
