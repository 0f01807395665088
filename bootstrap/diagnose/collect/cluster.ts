import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { isApiError } from '../../../runtime/api/api-error.ts';
import type { ApiClient } from '../../../runtime/api/client.ts';
import {
  CERTIFICATE_SIGNING_REQUESTS,
  DAEMON_SETS,
  DEPLOYMENTS,
  EVENTS,
  type Kind,
  type KubeObject,
  LEASES,
  NODES,
  PODS,
} from '../../../runtime/api/kinds.ts';
import { formatHostPort } from '../../../runtime/base/cidr.ts';
import { formatError, isTkadmError } from '../../../runtime/base/errors.ts';
import type { Host } from '../../../runtime/base/host.ts';
import type { ClusterEvidence } from '../evidence.ts';
import type { Looker } from './looker.ts';
import { type ProbeOptions, probeAll } from './probes.ts';

export interface ClusterOptions extends ProbeOptions {
  readonly host: Host;
  readonly looker: Looker;
  readonly api: () => Promise<ApiClient>;
}

const SYSTEM = 'kube-system';
/** More says no more. */
const EVENTS_AT_MOST = 1_000;
const PROBED_AT_MOST = 64;
const LOGS_AT_MOST = 6;
const LOG_LINES = 4;
const AGENT_PORT = 10250;

/** What the API server tells; with `problem` alone when it cannot be asked. Undefined without any kubeconfig. */
export async function collectCluster(options: ClusterOptions): Promise<ClusterEvidence> {
  const { api, looker, timeoutMs } = options;
  let client: ApiClient;
  try {
    client = await api();
    await client.requestJson('GET', '/version', { timeoutMs });
    await client.requestText('GET', '/readyz', { timeoutMs });
  } catch (error) {
    return { ...NOTHING, server: serverOf(error), problem: problemOf(error) };
  }
  const forbidden: string[] = [];
  const list = <T extends KubeObject>(kind: Kind<T>, limits: { namespace?: string; limit?: number } = {}) =>
    looker.look(kind.plural, async (): Promise<readonly T[]> => {
      try {
        return (await client.list(kind, limits)).items ?? [];
      } catch (error) {
        if (!isApiError(error, 'Forbidden')) throw error;
        forbidden.push(kind.plural);
        return [];
      }
    }, []);
  const [nodes, leases, pods, events, deployments, daemonSets, requests] = await Promise.all([
    list(NODES),
    list(LEASES, { namespace: 'kube-node-lease' }),
    list(PODS),
    list(EVENTS, { limit: EVENTS_AT_MOST }),
    list(DEPLOYMENTS, { namespace: SYSTEM }),
    list(DAEMON_SETS, { namespace: SYSTEM }),
    list(CERTIFICATE_SIGNING_REQUESTS),
  ]);
  if (forbidden.length > 0)
    looker.note(`${forbidden.join(', ')}: the credentials of this machine may not list them`);
  const [agentProbes, containerLogs] = await Promise.all([
    looker.look("the agents' ports", () => probeAgents(nodes, options), []),
    looker.look('logs', () => readLogs(pods, client, timeoutMs), new Map()),
  ]);
  return {
    server: client.config.server,
    nodes,
    leases,
    pods,
    events,
    deployments,
    daemonSets,
    requests,
    agentProbes,
    containerLogs,
  };
}

const NOTHING = {
  nodes: [],
  leases: [],
  pods: [],
  events: [],
  deployments: [],
  daemonSets: [],
  requests: [],
  agentProbes: [],
  containerLogs: new Map<string, readonly string[]>(),
} as const;

function problemOf(error: unknown): { readonly code: string; readonly message: string } {
  const code = isApiError(error)
    ? (error.reason ?? 'API_REQUEST')
    : isTkadmError(error)
      ? error.code
      : 'INTERNAL';
  return { code, message: formatError(error) };
}

/** `Cannot reach API server "https://..."` names it. */
function serverOf(error: unknown): string {
  return /"(https?:[^"]+)"/.exec(formatError(error))?.[1] ?? '';
}

/** Address under which a Node's agent is reached. */
export function nodeAddress(node: Node): string | undefined {
  return node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
}

async function probeAgents(nodes: readonly Node[], { host, ...options }: ClusterOptions) {
  const targets = nodes.slice(0, PROBED_AT_MOST).flatMap((node) => {
    const address = nodeAddress(node);
    const name = node.metadata?.name ?? '';
    return address ? [{ name, url: `https://${formatHostPort(address, AGENT_PORT)}/healthz` }] : [];
  });
  return (await probeAll(host, targets, options)).map((row) => ({ ...row, nodeName: row.name }));
}

/** The last lines of containers that have ended and are started again, the one before the present one first. */
async function readLogs(pods: readonly Pod[], client: ApiClient, timeoutMs: number) {
  const ended = pods.flatMap((pod) =>
    [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])]
      .filter(({ lastState, state }) => lastState?.terminated || (state?.terminated?.exitCode ?? 0) !== 0)
      .map(({ name }) => ({ pod, container: name })),
  );
  const rows = ended.slice(0, LOGS_AT_MOST).map(async ({ pod, container }) => {
    const { namespace = '', name = '' } = pod.metadata ?? {};
    const path = `/api/v1/namespaces/${namespace}/pods/${name}/log`;
    const read = (previous: boolean) =>
      client.requestText('GET', path, { query: { container, previous, tailLines: LOG_LINES }, timeoutMs });
    const text = await read(true)
      .catch(() => read(false))
      .catch(() => '');
    return [`${namespace}/${name}/${container}`, text.trimEnd().split('\n').filter(Boolean)] as const;
  });
  return new Map(await Promise.all(rows));
}
