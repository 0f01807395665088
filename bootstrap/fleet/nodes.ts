import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { NODES } from '../../runtime/api/kinds.ts';
import { CONTROL_PLANE_TAINT } from '../config/defaults.ts';
import type { Taint } from '../config/types.ts';
import type { Action } from '../workflow/action.ts';
import type { FleetHost, HostSsh } from './cluster-file.ts';

/** Holds, as JSON, what `apply` knows of a node: `Remembered`. */
const APPLY_ANNOTATION = 'tkadm.io/apply';
const CONTROL_PLANE_LABEL = 'node-role.kubernetes.io/control-plane';

/** What is kept with a Node, so that a host that is gone from the file can be reached, and its labels told apart. */
export interface Remembered {
  readonly address: string;
  readonly ssh: HostSsh;
  /** Keys of the labels that the file has set. */
  readonly labels: readonly string[];
  /** "key:effect" of the taints that the file has set. */
  readonly taints: readonly string[];
}

export function isControlPlane(node: Node): boolean {
  return node.metadata?.labels?.[CONTROL_PLANE_LABEL] !== undefined;
}

/** What `apply` has left with a node; undefined for one that it has not made. */
export function readRemembered(node: Node): Remembered | undefined {
  try {
    return JSON.parse(node.metadata?.annotations?.[APPLY_ANNOTATION] ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

/** The address under which the nodes reach this one. */
export function internalIp(node: Node): string | undefined {
  return node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
}

/** The node that a host of the file is: by its name, by what was remembered, by its address. */
export function findNodeOf(host: FleetHost, nodes: readonly Node[]): Node | undefined {
  const byMemory = nodes.find((node) => {
    const remembered = readRemembered(node);
    return remembered?.address === host.address && remembered.ssh.port === host.ssh.port;
  });
  if (byMemory) return byMemory;
  if (host.nodeName !== undefined) return nodes.find((node) => node.metadata?.name === host.nodeName);
  const addresses = [host.address, host.nodeIP];
  return nodes.find((node) => readRemembered(node) === undefined && addresses.includes(internalIp(node)));
}

/** What a Node lacks of labels, taints and memory that its host has in the file; what others have set stays. */
export function planNode(host: FleetHost, node: Node): readonly Action[] {
  const before = readRemembered(node);
  const labels = diffLabels(host.labels, before?.labels ?? [], node.metadata?.labels ?? {});
  const taints = mergeTaints(host, before?.taints ?? [], (node.spec?.taints ?? []) as readonly Taint[]);
  const memory = JSON.stringify({
    address: host.address,
    ssh: host.ssh,
    labels: Object.keys(host.labels).sort(),
    taints: (host.taints ?? []).map(nameTaint).sort(),
  } satisfies Remembered);
  const isRemembered = node.metadata?.annotations?.[APPLY_ANNOTATION] === memory;
  if (Object.keys(labels).length === 0 && taints === undefined && isRemembered) return [];
  const patch = {
    metadata: { labels, ...(isRemembered ? {} : { annotations: { [APPLY_ANNOTATION]: memory } }) },
    ...(taints === undefined ? {} : { spec: { taints } }),
  };
  const object = { apiVersion: 'v1', kind: NODES.kind, metadata: { name: node.metadata?.name ?? '' } };
  return [{ kind: 'patch-object', object, patch, live: node }];
}

/** Labels to set, and null for those that the file has set once and does not name any more. */
function diffLabels(
  wanted: FleetHost['labels'],
  owned: readonly string[],
  live: Readonly<Record<string, string>>,
): Readonly<Record<string, string | null>> {
  const set = Object.entries(wanted).filter(([key, value]) => live[key] !== value);
  const gone = owned.filter((key) => wanted[key] === undefined && live[key] !== undefined);
  return Object.fromEntries([...set, ...gone.map((key) => [key, null] as const)]);
}

/** The node's taints as they should be; undefined when they are. A control plane's own goes when the file has another list. */
function mergeTaints(
  { taints: wanted, role }: FleetHost,
  owned: readonly string[],
  live: readonly Taint[],
): readonly Taint[] | undefined {
  const ours = new Set(owned);
  if (wanted && role === 'control-plane') ours.add(nameTaint(CONTROL_PLANE_TAINT));
  const names = new Set((wanted ?? []).map(nameTaint));
  const kept = live.filter((taint) => !names.has(nameTaint(taint)) && !ours.has(nameTaint(taint)));
  const merged = [...kept, ...(wanted ?? [])];
  const text = (taints: readonly Taint[]) => JSON.stringify(taints.map(formatTaint).sort());
  return text(merged) === text(live) ? undefined : merged;
}

function nameTaint({ key, effect }: Pick<Taint, 'key' | 'effect'>): string {
  return `${key}:${effect}`;
}

function formatTaint({ key, value = '', effect }: Taint): string {
  return `${key}=${value}:${effect}`;
}
