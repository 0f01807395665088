import { dump, load } from 'js-yaml';
import type { ApiClient } from '../../runtime/api/client.ts';
import { CONFIG_MAPS } from '../../runtime/api/kinds.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { MANIFESTS, manifestPath } from '../../templates/manifests/manifests.ts';
import { KUBE_SYSTEM } from '../addons/objects.ts';
import { apiVersionOf } from '../config/kinds.ts';
import { loadConfiguration } from '../config/load.ts';
import type { InitConfig, MachineDefaults, UpgradeConfig } from '../config/types.ts';

/** A cluster's stored configuration, as this package would run it on this node. */
export interface UpgradeSource {
  readonly config: InitConfig;
  /** What the stored configuration says that runs: "v1.36.2". */
  readonly clusterVersion: string;
  /** The stored documents. */
  readonly documents: string;
  readonly warnings: readonly string[];
}

/** The ClusterConfiguration and the TkadmConfiguration of ConfigMap kube-system/kubeadm-config. */
export async function readStoredDocuments(api: ApiClient, timeoutMs: number): Promise<string> {
  const { data } = await api.get(
    CONFIG_MAPS,
    { namespace: KUBE_SYSTEM, name: 'kubeadm-config' },
    { timeoutMs },
  );
  return [data?.['ClusterConfiguration'], data?.['TkadmConfiguration']].filter(Boolean).join('---\n');
}

export interface SourceInput {
  readonly host: Pick<Host, 'readFile'>;
  readonly documents: string;
  readonly nodeName: string;
  readonly machine: MachineDefaults;
  /** What the components shall be. */
  readonly targetVersion: string;
  readonly upgrade: Pick<UpgradeConfig, 'timeouts'>;
  readonly patchesDirectory?: string | undefined;
}

/**
 * The configuration to render this node's files from: the stored one in the target's version, and what only the
 * node knows. @throws CONFIG_INVALID
 */
export async function loadUpgradeSource(input: SourceInput): Promise<UpgradeSource> {
  const { host, documents, machine, targetVersion, upgrade, patchesDirectory } = input;
  const [cluster = {}, ...others] = documents.split(/^---\n/m).map((text) => load(text) as Fields);
  const endpoint = await readEndpoint(host);
  const init = {
    apiVersion: apiVersionOf('InitConfiguration'),
    kind: 'InitConfiguration',
    nodeRegistration: { name: input.nodeName },
    ...(endpoint ? { localAPIEndpoint: endpoint } : {}),
  };
  const text = [{ ...cluster, kubernetesVersion: targetVersion }, ...others, init]
    .map((row) => dump(row))
    .join('---\n');
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text,
    isStrict: false,
    defaultsFrom: machine,
  });
  return {
    config: {
      ...config,
      timeouts: upgrade.timeouts,
      ...(patchesDirectory === undefined ? {} : { patchesDirectory }),
    },
    clusterVersion: String(cluster['kubernetesVersion'] ?? ''),
    documents,
    warnings,
  };
}

type Fields = Readonly<Record<string, unknown>>;

const ENDPOINT = /kube-apiserver\.advertise-address\.endpoint: '?"?([^\s'"]+):(\d+)/;

/** Where this node's API server listens, as the manifest's annotation says; undefined on a worker. */
async function readEndpoint(host: Pick<Host, 'readFile'>) {
  const row = MANIFESTS.find(({ name }) => name === 'kube-apiserver')!;
  const match = ENDPOINT.exec((await host.readFile(manifestPath(row))) ?? '');
  if (!match) return undefined;
  return { advertiseAddress: match[1]!.replace(/^\[(.*)\]$/, '$1'), bindPort: Number(match[2]) };
}

/** @throws UPGRADE_VERSION when the embedded engine would have to serve another version than its own. */
export function refuseOtherVersion(target: string, own: string): void {
  if (target === own) return;
  throw new TkadmError(
    'UPGRADE_VERSION',
    `Cannot upgrade to ${target}: this package has the programs of ${own} alone`,
    { hint: `the tkadm package that is made for ${target}; or, with this one: tkadm upgrade apply ${own}` },
  );
}
