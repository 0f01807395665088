import { ApiClient } from '../../runtime/api/client.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { formatError, isTkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { ANY_MACHINE } from '../config/defaults.ts';
import { loadConfiguration } from '../config/load.ts';
import type { InitConfig, MachineDefaults } from '../config/types.ts';
import { readStoredDocuments } from '../upgrade/source.ts';
import { type CliContext, readInput } from './context.ts';
import { observeMachine } from './machine.ts';

/** Flags that the commands about certificates share. */
export interface CertsOptions {
  readonly config?: string;
  readonly certDir?: string;
  readonly kubeconfig?: string;
  /** Where admin.conf and its like are; default /etc/kubernetes. */
  readonly kubeconfigDir?: string;
}

export interface CertsConfig {
  readonly config: InitConfig;
  /** Where the configuration is from. */
  readonly origin: 'file' | 'cluster' | 'defaults';
  readonly certificatesDir: string;
  readonly kubernetesDir: string;
}

/** A cluster that is down must not hold up the command that repairs it. */
const CLUSTER_TIMEOUT_MS = 3_000;

/**
 * The configuration by which certificates are looked at and issued: --config, else what the cluster keeps, else
 * the defaults, as the cluster may be down because of its certificates.
 * @throws CONFIG_INVALID, FILE_READ
 */
export async function loadCertsConfig(
  context: CliContext,
  host: Host,
  options: CertsOptions & { readonly needsAddress?: boolean },
): Promise<CertsConfig> {
  const kubernetesDir = options.kubeconfigDir ?? PATHS.kubernetes;
  const text = options.config === undefined ? undefined : await readInput(context, options.config);
  const kubeconfig = options.kubeconfig ?? `${kubernetesDir}/admin.conf`;
  const stored = text === undefined ? await readClusterDocuments(context, kubeconfig) : undefined;
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: text ?? stored,
    defaultsFrom: await (options.needsAddress ? observeMachine(host) : observeMachineIfPossible(host)),
    path: options.config,
    isStrict: false,
  });
  for (const warning of text === undefined ? [] : warnings) context.writeError(`Warning: ${warning}\n`);
  return {
    config,
    origin: text !== undefined ? 'file' : stored !== undefined ? 'cluster' : 'defaults',
    certificatesDir: options.certDir ?? config.cluster.certificatesDir,
    kubernetesDir,
  };
}

/** The documents in ConfigMap kube-system/kubeadm-config; undefined, with a note, when it cannot be read. */
async function readClusterDocuments(context: CliContext, kubeconfig: string): Promise<string | undefined> {
  if (!(await context.fileExists(kubeconfig))) return undefined;
  let client: ApiClient | undefined;
  try {
    client = new ApiClient(await loadClientConfig(kubeconfig));
    const documents = await readStoredDocuments(client, CLUSTER_TIMEOUT_MS);
    // Certificates do not depend on it, and a cluster that is not upgraded yet has another one than this package.
    return documents.replace(/^kubernetesVersion: .*\n/m, '') || undefined;
  } catch (error) {
    context.writeError(
      `The cluster's configuration cannot be read; defaults are used: ${formatError(error)}\n`,
    );
    return undefined;
  } finally {
    client?.close();
  }
}

/** Without a network a certificate can still be renewed: its names are copied. */
async function observeMachineIfPossible(host: Host): Promise<MachineDefaults> {
  try {
    return await observeMachine(host);
  } catch (error) {
    if (!isTkadmError(error, 'NO_ADDRESS')) throw error;
    return ANY_MACHINE;
  }
}
