import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { NODES } from '../../runtime/api/kinds.ts';
import { type ClientConfig, parseKubeconfig, resolveClientConfig } from '../../runtime/api/kubeconfig.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { readFileIfExists, writeFileAtomic } from '../../runtime/base/files.ts';
import { pinsOf } from '../tokens/pin.ts';
import type { Member } from './member.ts';
import { openTunnel } from './tunnel.ts';

/** An API server that drops packets is given up after this; there may be a way through SSH. */
const CONNECT_TIMEOUT_MS = 3_000;

/** The cluster as its administrator has it, from this machine. */
export interface ClusterAccess {
  /** Directly or through a tunnel. */
  readonly api: ApiClient;
  /** Where nodes reach it: "10.0.0.1:6443". */
  readonly endpoint: string;
  /** Of the cluster's CA. */
  readonly pins: readonly string[];
  readonly listNodes: () => Promise<readonly Node[]>;
  readonly close: () => void;
}

/** The kubeconfig file's user and server; undefined without the file. @throws KUBECONFIG_INVALID */
export async function readKubeconfig(path: string): Promise<ClientConfig | undefined> {
  const text = await readFileIfExists(path);
  return text === undefined ? undefined : resolveClientConfig(parseKubeconfig(text, path), path);
}

/**
 * Opens the cluster, directly or through one of its machines.
 * @throws API_UNREACHABLE, API_REQUEST, or why the machine cannot be reached
 */
export async function openCluster(config: ClientConfig, through: Member | undefined): Promise<ClusterAccess> {
  const direct = await tryOpen(config).catch((error) => {
    if (!isTkadmError(error, 'API_UNREACHABLE') || !through || through.isLocal) throw error;
    return undefined;
  });
  if (direct) return describeAccess(direct, { config, close: () => direct.close() });
  const tunnel = await openTunnel(through!, config);
  const api = await tryOpen(tunnel.config).catch((error) => {
    tunnel.close();
    throw error;
  });
  const close = () => {
    api.close();
    tunnel.close();
  };
  return describeAccess(api, { config, close });
}

/** A client whose server has answered. */
async function tryOpen(config: ClientConfig): Promise<ApiClient> {
  const api = new ApiClient({ ...config, connectTimeoutMs: CONNECT_TIMEOUT_MS });
  try {
    await api.requestText('GET', '/version');
    return api;
  } catch (error) {
    api.close();
    throw error;
  }
}

function describeAccess(
  api: ApiClient,
  { config, close }: { readonly config: ClientConfig; readonly close: () => void },
): ClusterAccess {
  return {
    api,
    endpoint: new URL(config.server).host,
    pins: pinsOf(config.caPem ?? ''),
    listNodes: async () => (await api.list(NODES)).items,
    close,
  };
}

/**
 * Keeps the administrator's kubeconfig of a cluster on this machine, readable by its owner alone. One that is there
 * and says the same is left.
 * @throws KUBECONFIG_INVALID when the file is another cluster's
 */
export async function keepKubeconfig(path: string, text: string): Promise<ClientConfig> {
  const config = await resolveClientConfig(parseKubeconfig(text, path), path);
  const before = await readFileIfExists(path);
  if (before === text) return config;
  await refuseOtherCluster(path, config);
  await writeFileAtomic(path, text, { mode: 0o600 });
  return config;
}

/** @throws KUBECONFIG_INVALID when the file at the path is the kubeconfig of another cluster */
async function refuseOtherCluster(path: string, config: ClientConfig): Promise<void> {
  const present = await readKubeconfig(path);
  if (present === undefined || present.caPem?.trim() === config.caPem?.trim()) return;
  throw new TkadmError(
    'KUBECONFIG_INVALID',
    `Cannot keep the kubeconfig at "${path}": the file is of another cluster`,
    { hint: 'tkadm apply -f FILE --kubeconfig OTHER' },
  );
}
