import type * as core from 'kubernetes-types/core/v1.d.ts';
import { parseQuantity } from '../api/quantity.ts';
import { TkadmError } from '../base/errors.ts';
import { type AgentPod, allContainers } from './pod.ts';

/** What a pod may ask about itself beyond its own object. */
export interface FieldContext {
  readonly nodeName: string;
  readonly hostIps: readonly string[];
  readonly podIps: readonly string[];
  /** The node's allocatable resources: what "no limit" means. */
  readonly allocatable: Readonly<Record<string, string>>;
}

const PLAIN_FIELDS: Readonly<Record<string, (pod: AgentPod, context: FieldContext) => string>> = {
  'metadata.name': (pod) => pod.metadata.name,
  'metadata.namespace': (pod) => pod.metadata.namespace,
  'metadata.uid': (pod) => pod.metadata.uid,
  'metadata.labels': (pod) => formatMap(pod.metadata.labels),
  'metadata.annotations': (pod) => formatMap(pod.metadata.annotations),
  'spec.nodeName': (_pod, context) => context.nodeName,
  'spec.serviceAccountName': (pod) => pod.spec.serviceAccountName ?? '',
  'status.hostIP': (_pod, context) => context.hostIps[0] ?? '',
  'status.hostIPs': (_pod, context) => context.hostIps.join(','),
  'status.podIP': (_pod, context) => context.podIps[0] ?? '',
  'status.podIPs': (_pod, context) => context.podIps.join(','),
};

/**
 * A field of the pod as text, by the paths that fieldRef allows.
 * @throws AGENT_CONTAINER_CONFIG naming a path that is not allowed.
 */
export function readPodField(pod: AgentPod, path: string, context: FieldContext): string {
  const plain = PLAIN_FIELDS[path];
  if (plain) return plain(pod, context);
  const match = /^metadata\.(labels|annotations)\['(.+)'\]$/.exec(path);
  if (match) return pod.metadata[match[1] as 'labels' | 'annotations']?.[match[2]!] ?? '';
  throw new TkadmError('AGENT_CONTAINER_CONFIG', `Cannot read field "${path}": fieldRef does not allow it`);
}

/**
 * A container's request or limit in units of the divisor, rounded up.
 * @throws AGENT_CONTAINER_CONFIG
 */
export function readContainerResource(
  pod: AgentPod,
  selector: core.ResourceFieldSelector,
  options: { readonly fields: FieldContext; readonly defaultContainer?: string },
): string {
  const name = selector.containerName ?? options.defaultContainer;
  const container = allContainers(pod).find((candidate) => candidate.name === name);
  if (!container) {
    throw new TkadmError(
      'AGENT_CONTAINER_CONFIG',
      `Cannot read resources of "${name ?? ''}": no such container`,
    );
  }
  const [kind, resource] = splitResource(selector.resource);
  const table = container.resources?.[kind] ?? {};
  const fallback = kind === 'limits' ? options.fields.allocatable[resource] : undefined;
  const value = parseQuantity(table[resource] ?? fallback ?? '0');
  const divisor = parseQuantity(selector.divisor ?? 1) || parseQuantity(1);
  return String((value + divisor - 1n) / divisor);
}

function splitResource(text: string): ['limits' | 'requests', string] {
  const match = /^(limits|requests)\.(.+)$/.exec(text);
  if (!match)
    throw new TkadmError('AGENT_CONTAINER_CONFIG', `Cannot read resource "${text}": no limits or requests`);
  return [match[1] as 'limits' | 'requests', match[2]!];
}

/** `key="value"` lines in key order, the form of the downward API's maps. */
function formatMap(map: Readonly<Record<string, string>> | undefined): string {
  return Object.entries(map ?? {})
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => `${key}=${JSON.stringify(value)}`)
    .join('\n');
}
