import { TkadmError } from '../../runtime/base/errors.ts';
import { loadConfiguration } from './load.ts';
import type { InitConfig, JoinConfig, MachineDefaults } from './types.ts';

/** The data of ConfigMap kube-system/kubeadm-config. */
export type ClusterDocuments = Readonly<Record<string, string>>;

/** How a cluster comes to have more than one control-plane node. */
const HINT = 'tkadm init with --control-plane-endpoint and, in the ClusterConfiguration, etcd.external';

/**
 * The configuration that a further control-plane node would have been initialised with: the cluster's, with the
 * machine's own name, address and settings.
 * @throws UNSUPPORTED for a cluster that can have one control-plane node only, CONFIG_INVALID
 */
export async function buildJoinedConfig(
  documents: ClusterDocuments,
  join: JoinConfig,
  machine: MachineDefaults,
): Promise<InitConfig> {
  const { controlPlane, nodeRegistration, timeouts, isDryRun, skipPhases, patchesDirectory } = join;
  if (!controlPlane) throw new Error('a worker has no control plane');
  const text = [documents['ClusterConfiguration'], documents['TkadmConfiguration']]
    .filter(Boolean)
    .join('---\n');
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    text,
    isStrict: false,
    defaultsFrom: machine,
  });
  requireManyControlPlanes(config);
  return {
    ...config,
    nodeRegistration,
    localAPIEndpoint: controlPlane.localAPIEndpoint,
    timeouts,
    isDryRun,
    skipPhases,
    ...(patchesDirectory ? { patchesDirectory } : {}),
  };
}

/**
 * Refuses a further control-plane node for a cluster that can have one only.
 * @throws UNSUPPORTED
 */
export function requireManyControlPlanes({ cluster, tkadm }: Pick<InitConfig, 'cluster' | 'tkadm'>): void {
  const refuse = (state: string) =>
    new TkadmError('UNSUPPORTED', `Cannot join as control plane: ${state}`, { hint: HINT });
  if (tkadm.engine !== 'embedded') throw refuse(`engine "${tkadm.engine}" is not there yet`);
  if (tkadm.store === 'embedded') {
    throw refuse('the cluster keeps its objects in the embedded store, which one API server alone can open');
  }
  if (!cluster.etcd.external) throw refuse('members of an etcd that tkadm runs cannot be added yet');
  if (!cluster.controlPlaneEndpoint) {
    throw refuse('the cluster has no controlPlaneEndpoint, the one address of all its API servers');
  }
}
