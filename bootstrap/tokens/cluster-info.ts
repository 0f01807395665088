import type { ApiClient } from '../../runtime/api/client.ts';
import { type Kubeconfig, parseKubeconfig, resolveClientConfig } from '../../runtime/api/kubeconfig.ts';
import { readTokenExpirations, type TokenExpirations } from '../../runtime/api/token-expirations.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { checkClock } from './clock.ts';

/** What a look at cluster-info needs besides a client. */
export interface LookOptions {
  /** "10.0.0.1:6443", for messages. */
  readonly endpoint: string;
  readonly now: () => Date;
  readonly signal: AbortSignal;
  /** How long an API server that is connected to may take for an answer; default: 20 s. */
  readonly answerMs?: number;
  /** Told what does not stop discovery. */
  readonly warn?: (message: string) => void;
}

/** The server and CA of a cluster. */
export interface ClusterAddress {
  readonly server: string;
  readonly caPem: string;
}

/** How a joining node says who it is. */
export interface JoinCredentials {
  readonly certPem?: string | undefined;
  readonly keyPem?: string | undefined;
  readonly token?: string | undefined;
}

/** A cluster whose CA is known to be the right one, and how to log in where discovery knows that. */
export interface DiscoveredCluster extends ClusterAddress {
  readonly credentials?: JoinCredentials | undefined;
}

/** kube-public/cluster-info as it was served. */
export interface ClusterInfo {
  /** The text that the signatures are over. */
  readonly kubeconfig: string;
  /** All keys, with `jws-kubeconfig-ID`. */
  readonly data: Readonly<Record<string, string>>;
  /** When tokens end or have ended; {} where the cluster's signer does not tell. */
  readonly expirations: TokenExpirations;
}

export const CLUSTER_INFO_PATH = '/api/v1/namespaces/kube-public/configmaps/cluster-info';
/** One that has just started on a slow machine; who does not listen is noticed by the connection. */
const ANSWER_TIMEOUT_MS = 20_000;

/**
 * Fetches cluster-info and compares the clocks by the answer's Date header.
 * @throws ApiError, API_UNREACHABLE, DISCOVERY_CLOCK; SyntaxError for an answer that is no ConfigMap
 */
export async function fetchClusterInfo(client: ApiClient, options: LookOptions): Promise<ClusterInfo> {
  const response = await client.requestStream('GET', CLUSTER_INFO_PATH, {
    timeoutMs: options.answerMs ?? ANSWER_TIMEOUT_MS,
    signal: options.signal,
  });
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  const value = JSON.parse(Buffer.concat(chunks).toString('utf8')) as {
    kind?: string;
    data?: Record<string, string>;
    metadata?: { annotations?: Record<string, string> };
  };
  if (value?.kind !== 'ConfigMap') throw new SyntaxError('no ConfigMap');
  checkClock(response.headers.date, options);
  const kubeconfig = value.data?.['kubeconfig'];
  if (kubeconfig === undefined) throw noKubeconfig(options.endpoint);
  return { kubeconfig, data: value.data ?? {}, expirations: readTokenExpirations(value) };
}

function noKubeconfig(endpoint: string): TkadmError {
  return new TkadmError(
    'DISCOVERY_NO_CLUSTER_INFO',
    `Cannot use cluster-info of "${endpoint}": it has no key "kubeconfig"`,
    { hint: 'tkadm init phase bootstrap-token, on the control plane' },
  );
}

/** Server and CA of the text in cluster-info. @throws KUBECONFIG_INVALID, DISCOVERY_NO_CLUSTER_INFO */
export async function readClusterAddress(kubeconfigText: string, name: string): Promise<ClusterAddress> {
  const config = parseKubeconfig(kubeconfigText, name);
  const { server, caPem } = await resolveClientConfig(withSomeContext(config), name);
  if (caPem) return { server, caPem };
  throw new TkadmError('DISCOVERY_NO_CLUSTER_INFO', `Cannot use ${name}: its cluster has no CA`, {
    hint: 'tkadm init phase bootstrap-token, on the control plane',
  });
}

/** cluster-info names one cluster and no context. */
export function withSomeContext(config: Kubeconfig): Kubeconfig {
  if (config['current-context']) return config;
  const [cluster] = config.clusters ?? [];
  return {
    ...config,
    contexts: [{ name: 'discovery', context: { cluster: cluster?.name ?? '', user: '' } }],
    'current-context': 'discovery',
  };
}
