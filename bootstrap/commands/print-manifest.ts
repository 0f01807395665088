import type { Host } from '../../runtime/base/host.ts';
import { selectProxyEnvs } from '../../templates/input.ts';
import { readPatches } from '../../templates/patches.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { buildCoreDnsObjects } from '../addons/coredns.ts';
import { buildKubeProxyObjects } from '../addons/kube-proxy.ts';
import { buildPodNetworkObjects } from '../addons/pod-network.ts';
import type { InitConfig } from '../config/types.ts';
import { isSelected } from '../workflow/phase.ts';
import type { CliContext } from './context.ts';

/** The objects of an add-on phase, or of all of them, as YAML documents for `kubectl apply -f -`. */
export async function printAddonManifests(
  context: Pick<CliContext, 'env' | 'write'>,
  { config, host, phase }: { readonly config: InitConfig; readonly host: Host; readonly phase: string },
): Promise<void> {
  const input = { ...config, proxyEnvs: selectProxyEnvs(context.env) };
  const builders = {
    'addon/pod-network': async () => buildPodNetworkObjects(),
    'addon/coredns': async () => buildCoreDnsObjects(input, await readPatches(host, config.patchesDirectory)),
    'addon/kube-proxy': async () => buildKubeProxyObjects(input),
  };
  const objects = await Promise.all(
    Object.entries(builders)
      .filter(([name]) => isSelected(name, [phase]))
      .map(([, build]) => build()),
  );
  context.write(objects.flat().map(renderYaml).join('---\n'));
}
