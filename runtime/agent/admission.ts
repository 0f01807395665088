import { quantityToInteger, quantityToMilli } from '../api/quantity.ts';
import { type AgentPod, isSidecar, isStaticPod } from './pod.ts';
import { findForbiddenSysctl } from './sysctls.ts';

export interface AdmissionContext {
  /** Pods that run on the node already. */
  readonly active: readonly AgentPod[];
  readonly allocatable: Readonly<Record<string, string>>;
  readonly allowedUnsafeSysctls: readonly string[];
  /** undefined while the Node is not known: nothing is checked against it. */
  readonly nodeLabels: Readonly<Record<string, string>> | undefined;
}

const CRITICAL_PRIORITY = 2_000_000_000;

/** Why the node cannot take the pod, or undefined. Static and critical pods are bound by sysctls and ports alone. */
export function admitPod(
  pod: AgentPod,
  context: AdmissionContext,
): { readonly reason: string; readonly message: string } | undefined {
  const forbidden = findForbiddenSysctl(pod, context.allowedUnsafeSysctls);
  if (forbidden) {
    return { reason: 'SysctlForbidden', message: `Pod was rejected: forbidden sysctl: ${forbidden}` };
  }
  const conflict = findPortConflict(pod, context.active);
  if (conflict) {
    return {
      reason: 'NodePorts',
      message: `Pod was rejected: Predicate NodePorts failed: host port ${conflict} is in use`,
    };
  }
  if (isStaticPod(pod) || (pod.spec.priority ?? 0) >= CRITICAL_PRIORITY) return undefined;
  const labels = context.nodeLabels;
  const missing = Object.entries(pod.spec.nodeSelector ?? {}).find(
    ([key, value]) => labels && labels[key] !== value,
  );
  if (missing) {
    return {
      reason: 'NodeAffinity',
      message:
        "Pod was rejected: Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
    };
  }
  return findShortage(pod, context);
}

function findShortage(pod: AgentPod, { active, allocatable }: AdmissionContext) {
  const others = active.filter((other) => other.metadata.uid !== pod.metadata.uid);
  const checks = [
    { name: 'pods', requested: 1, used: others.length, capacity: quantityToInteger(allocatable['pods']) },
    {
      name: 'cpu',
      requested: sumRequests(pod, 'cpu', quantityToMilli),
      used: others.reduce((sum, other) => sum + sumRequests(other, 'cpu', quantityToMilli), 0),
      capacity: quantityToMilli(allocatable['cpu']),
    },
    {
      name: 'memory',
      requested: sumRequests(pod, 'memory', quantityToInteger),
      used: others.reduce((sum, other) => sum + sumRequests(other, 'memory', quantityToInteger), 0),
      capacity: quantityToInteger(allocatable['memory']),
    },
  ];
  const extended = Object.keys(allocatable)
    .filter((name) => name.includes('/'))
    .map((name) => ({
      name,
      requested: sumRequests(pod, name, quantityToInteger),
      used: others.reduce((sum, other) => sum + sumRequests(other, name, quantityToInteger), 0),
      capacity: quantityToInteger(allocatable[name]),
    }));
  const short = [...checks.filter(({ capacity }) => capacity > 0), ...extended].find(
    ({ requested, used, capacity }) => requested > 0 && requested + used > capacity,
  );
  if (!short) return undefined;
  const { name, requested, used, capacity } = short;
  return {
    reason: `OutOf${name}`,
    message: `Pod was rejected: Node didn't have enough resource: ${name}, requested: ${requested}, used: ${used}, capacity: ${capacity}`,
  };
}

type Read = (quantity: string | undefined) => number;

function sumRequests(pod: AgentPod, name: string, read: Read): number {
  const of = (container: AgentPod['spec']['containers'][number]) =>
    read(container.resources?.requests?.[name]);
  const init = pod.spec.initContainers ?? [];
  const steady = [...pod.spec.containers, ...init.filter(isSidecar)].reduce(
    (sum, container) => sum + of(container),
    0,
  );
  return Math.max(steady, ...init.map(of)) + read(pod.spec.overhead?.[name]);
}

/** "TCP/8080" when another pod has this host port on the same address. */
function findPortConflict(pod: AgentPod, active: readonly AgentPod[]): string | undefined {
  const taken = active
    .filter((other) => other.metadata.uid !== pod.metadata.uid)
    .flatMap((other) => hostPorts(other));
  for (const port of hostPorts(pod)) {
    const clash = taken.some(
      (other) => other.key === port.key && (other.ip === port.ip || isAny(other.ip) || isAny(port.ip)),
    );
    if (clash) return port.key;
  }
  return undefined;
}

function hostPorts(pod: AgentPod): { readonly key: string; readonly ip: string }[] {
  return [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)].flatMap((container) =>
    (container.ports ?? [])
      .filter((port) => port.hostPort)
      .map((port) => ({ key: `${port.protocol ?? 'TCP'}/${port.hostPort}`, ip: port.hostIP ?? '' })),
  );
}

function isAny(ip: string): boolean {
  return ip === '' || ip === '0.0.0.0' || ip === '::';
}
