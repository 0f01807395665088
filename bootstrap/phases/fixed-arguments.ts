import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { InitConfig } from '../config/types.ts';

/** Arguments of running components that a cluster keeps for life: addresses and names that were given out. */
const FIXED_ARGUMENTS = [
  {
    component: 'kube-apiserver',
    name: 'service-cluster-ip-range',
    field: 'networking.serviceSubnet',
    value: ({ cluster }: InitConfig) => cluster.networking.serviceSubnet,
  },
  {
    component: 'kube-apiserver',
    name: 'service-account-issuer',
    field: 'networking.dnsDomain',
    value: ({ cluster }: InitConfig) => `https://kubernetes.default.svc.${cluster.networking.dnsDomain}`,
  },
  {
    component: 'kube-controller-manager',
    name: 'cluster-cidr',
    field: 'networking.podSubnet',
    value: ({ cluster }: InitConfig) => cluster.networking.podSubnet,
  },
] as const;

/**
 * Looks at the manifests that are there, before one is written anew: a second init without the flags of the
 * first would take the network from under the cluster.
 * @throws CONFIG_INVALID naming the field; not for an argument that the configuration's extraArgs set.
 */
export async function refuseOtherNetwork(host: Pick<Host, 'readFile'>, config: InitConfig): Promise<void> {
  const { apiServer, controllerManager } = config.cluster;
  const named = [...apiServer.extraArgs, ...controllerManager.extraArgs].map((arg) => arg.name);
  for (const { component, name, field, value } of FIXED_ARGUMENTS) {
    const manifest = await host.readFile(`${PATHS.manifests}/${component}.yaml`);
    const found = new RegExp(`^ *- --${name}=(\\S+)$`, 'm').exec(manifest ?? '')?.[1];
    const wanted = value(config);
    if (found === undefined || found === wanted || named.includes(name)) continue;
    throw new TkadmError(
      'CONFIG_INVALID',
      `Cannot change ${field} of a cluster: its ${component} runs with --${name}=${found}, not ${wanted ?? 'none'}`,
      { hint: 'Give init the flags or the file of the first time; for a new cluster: tkadm reset' },
    );
  }
}
