import { ApiClient } from '../../runtime/api/client.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { formatError, isSystemError, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import {
  FLAG_FIELDS,
  type Overrides,
  type OverrideValue,
  type UpgradeStepName,
  upgradeFlag,
} from '../config/flags.ts';
import { loadConfiguration } from '../config/load.ts';
import type { MachineDefaults, UpgradeConfig } from '../config/types.ts';
import { findNodeName } from '../phases/node-name.ts';
import { readJournalDocuments } from '../upgrade/journal.ts';
import { loadUpgradeSource, readStoredDocuments, type UpgradeSource } from '../upgrade/source.ts';
import { type CliContext, readInput } from './context.ts';
import { observeMachine } from './machine.ts';

/** Flags that the upgrade commands share. */
export interface UpgradeOptions {
  readonly config?: string;
  readonly kubeconfig?: string;
  readonly output: string;
}

const ADMIN_KUBECONFIG = `${PATHS.kubernetes}/admin.conf`;
/** How long an API server that has just been started, by an upgrade that was cut short, may take. */
const ANSWER_TIMEOUT_MS = 5_000;
const CALL_TIMEOUT_MS = 5_000;

/** What an upgrade command knows before it begins. */
export interface OpenedUpgrade {
  readonly host: Host;
  readonly machine: MachineDefaults;
  readonly upgrade: UpgradeConfig;
  readonly warnings: readonly string[];
  readonly nodeName: string;
  readonly isControlPlane: boolean;
  readonly kubeconfig: string;
  readonly api: () => Promise<ApiClient>;
  /** The cluster answers. */
  readonly isReachable: boolean;
  readonly documents: string;
  /** The configuration for a version of the cluster. */
  readonly load: (targetVersion: string, patchesDirectory?: string) => Promise<UpgradeSource>;
}

/**
 * Reads the UpgradeConfiguration, and the cluster's stored configuration; while an upgrade that was cut short keeps
 * the API server from answering, the copy that it has kept.
 * @throws CONFIG_INVALID, CONFIG_FLAGS_MIXED, UPGRADE_NO_CLUSTER, API_UNREACHABLE
 */
export async function openUpgrade(
  context: CliContext,
  step: UpgradeStepName,
  options: UpgradeOptions & Readonly<Record<string, unknown>>,
): Promise<OpenedUpgrade> {
  const host = createLocalHost();
  const { config: upgrade, warnings } = await loadConfiguration({
    kind: 'UpgradeConfiguration',
    text: options.config === undefined ? undefined : await readInput(context, options.config),
    path: options.config,
    isStrict: false,
    overrides: collectUpgradeOverrides(step, options),
    defaultsFrom: { hostname: 'node', advertiseAddress: '127.0.0.1' },
  });
  // The directory of the manifests is root's; the administrator's kubeconfig is seen by everybody.
  const isControlPlane = await context.fileExists(
    context.uid === 0 ? `${PATHS.manifests}/kube-apiserver.yaml` : ADMIN_KUBECONFIG,
  );
  const kubeconfig = options.kubeconfig ?? (await findKubeconfig(context, isControlPlane));
  const api = clientOnce(kubeconfig);
  const [machine, nodeName] = [await observeMachine(host), await findNodeName(host)];
  const { documents, isReachable } = await readDocuments(host, api, context.signal);
  return {
    host,
    machine,
    upgrade,
    warnings,
    nodeName,
    isControlPlane,
    kubeconfig,
    api,
    isReachable,
    documents,
    load: (targetVersion, patchesDirectory) =>
      loadUpgradeSource({ host, documents, nodeName, machine, targetVersion, upgrade, patchesDirectory }),
  };
}

function collectUpgradeOverrides(
  step: UpgradeStepName,
  options: Readonly<Record<string, unknown>>,
): Overrides {
  const overrides: Record<string, OverrideValue> = {};
  for (const { flag } of FLAG_FIELDS.UpgradeConfiguration) {
    const name = flag.slice(step.length + 1);
    if (flag !== upgradeFlag(step, name)) continue;
    const value = options[name.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase())];
    if (value !== undefined) overrides[flag] = value as OverrideValue;
  }
  return overrides;
}

/** The administrator's on a control-plane node, the node's own on a worker. @throws UPGRADE_NO_CLUSTER */
async function findKubeconfig(context: CliContext, isControlPlane: boolean): Promise<string> {
  const path = isControlPlane ? ADMIN_KUBECONFIG : `${PATHS.kubernetes}/kubelet.conf`;
  if (await context.fileExists(path)) return path;
  throw new TkadmError(
    'UPGRADE_NO_CLUSTER',
    `Cannot upgrade: this machine is no node: there is no "${path}"`,
    {
      hint: 'tkadm upgrade on a machine of the cluster, or with --kubeconfig FILE; tkadm init makes a cluster',
    },
  );
}

async function readDocuments(
  host: Pick<Host, 'readFile'>,
  api: () => Promise<ApiClient>,
  signal: AbortSignal,
) {
  // A kubeconfig that cannot be used is no server that is away.
  const client = await api().catch((error) => {
    if (!isSystemError((error as Error).cause, 'EACCES')) throw error;
    throw new TkadmError('NOT_ROOT', formatError(error), {
      cause: error,
      hint: 'sudo tkadm upgrade ..., or --kubeconfig with one of your own',
    });
  });
  try {
    const documents = await waitFor(() => readStoredDocuments(client, CALL_TIMEOUT_MS), {
      subject: 'the stored configuration of the cluster',
      timeoutMs: ANSWER_TIMEOUT_MS,
      signal,
    });
    return { documents, isReachable: true };
  } catch (error) {
    signal.throwIfAborted();
    const kept = await readJournalDocuments(host);
    if (kept !== undefined) return { documents: kept, isReachable: false };
    if (!isTkadmError(error, 'WAIT_TIMEOUT')) throw error;
    const cause = error.cause ?? error;
    throw new TkadmError(
      'API_UNREACHABLE',
      `Cannot read ConfigMap kube-system/kubeadm-config: ${formatError(cause)}`,
      { cause, hint: 'tkadm service status, and: kubectl --kubeconfig /etc/kubernetes/admin.conf get nodes' },
    );
  }
}

function clientOnce(path: string): () => Promise<ApiClient> {
  let client: ApiClient | undefined;
  return async () => {
    client ??= new ApiClient(await loadClientConfig(path));
    return client;
  };
}
