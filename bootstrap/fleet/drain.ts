import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { isApiError } from '../../runtime/api/api-error.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { NODES, PODS } from '../../runtime/api/kinds.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
const INTERVAL_MS = 1_000;

export interface DrainOptions {
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly onProgress: (text: string) => void;
  readonly warn: (text: string) => void;
}

/**
 * Takes a node out of scheduling and evicts its pods (policy/v1 Eviction), but those of DaemonSets and static ones;
 * a PodDisruptionBudget that forbids an eviction is asked again. Returns when they are gone.
 * @throws FLEET_DRAIN when the time is over, naming a pod that stays
 */
export async function drainNode(api: ApiClient, node: Node, options: DrainOptions): Promise<void> {
  const name = node.metadata?.name ?? '';
  const { timeoutMs, signal, onProgress, warn } = options;
  onProgress('drain the node');
  if (!node.spec?.unschedulable)
    await api.patch(NODES, { name }, { type: 'merge', body: { spec: { unschedulable: true } } });
  const deadline = performance.now() + timeoutMs;
  const warned = new Set<string>();
  for (;;) {
    signal.throwIfAborted();
    const pods = (await api.list(PODS, { fieldSelector: `spec.nodeName=${name}` })).items.filter(isEvictable);
    if (pods.length === 0) return;
    const held: string[] = [];
    for (const pod of pods) {
      const id = formatPod(pod);
      if (!pod.metadata?.ownerReferences?.length && !warned.has(id)) {
        warned.add(id);
        warn(`pod ${id} has no controller: it is gone with the node`);
      }
      const reason = await evict(api, pod);
      if (reason !== undefined) held.push(`${id}: ${reason}`);
    }
    onProgress(`drain the node: ${pods.length} pods left`);
    if (performance.now() > deadline)
      throw notDrained(name, held[0] ?? `${formatPod(pods[0]!)} is still ending`);
    await sleep(INTERVAL_MS, signal);
  }
}

/** Asks for an eviction; returns why it is not allowed for now. One that is on its way out is left alone. */
async function evict(api: ApiClient, pod: Pod): Promise<string | undefined> {
  if (pod.metadata?.deletionTimestamp !== undefined) return undefined;
  const { name = '', namespace = '' } = pod.metadata ?? {};
  const body = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name, namespace } };
  try {
    await api.requestJson('POST', `/api/v1/namespaces/${namespace}/pods/${name}/eviction`, { body });
    return undefined;
  } catch (error) {
    if (isApiError(error, 'NotFound')) return undefined;
    if (isApiError(error, 'TooManyRequests')) return (error as Error).message;
    throw error;
  }
}

function isEvictable({ metadata, status }: Pod): boolean {
  if (status?.phase === 'Succeeded' || status?.phase === 'Failed') return false;
  if (metadata?.annotations?.[MIRROR_ANNOTATION] !== undefined) return false;
  return !metadata?.ownerReferences?.some(({ kind, controller }) => controller && kind === 'DaemonSet');
}

function formatPod({ metadata }: Pod): string {
  return `${metadata?.namespace}/${metadata?.name}`;
}

function notDrained(node: string, state: string): TkadmError {
  return new TkadmError('FLEET_DRAIN', `Cannot drain node "${node}": ${state}`, {
    hint: `kubectl get pods -A --field-selector spec.nodeName=${node}; the node stays cordoned (kubectl uncordon ${node})`,
  });
}
