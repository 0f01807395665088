import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import {
  buildBootstrapRbacObjects,
  buildCertificatesRoleObjects,
  buildClusterAdminsBinding,
} from '../../bootstrap/addons/bootstrap-rbac.ts';
import {
  buildKubeadmConfigObjects,
  buildKubeletConfigObjects,
} from '../../bootstrap/addons/cluster-config.ts';
import { buildClusterInfo } from '../../bootstrap/addons/cluster-info.ts';
import { buildCoreDnsObjects } from '../../bootstrap/addons/coredns.ts';
import { buildKubeProxyObjects } from '../../bootstrap/addons/kube-proxy.ts';
import { buildPodNetworkObjects } from '../../bootstrap/addons/pod-network.ts';
import { buildTokenSecrets } from '../../bootstrap/addons/token-secrets.ts';
import { findResourceByKind } from '../../runtime/api/resources.ts';
import {
  buildKubeconfig,
  controlPlaneServer,
  KUBECONFIGS,
  kubeconfigUser,
  localServer,
} from '../../templates/kubeconfig.ts';
import { buildKubeletFiles } from '../../templates/kubelet-files.ts';
import { renderManifest, selectManifests } from '../../templates/manifests/manifests.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { matchGolden } from '../golden.ts';
import { type LoadedVariant, loadVariant, VARIANTS } from './variants.ts';

const NOW = new Date('2026-01-01T00:00:00Z');

for (const engine of ['embedded', 'upstream'] as const) {
  const expected = new Set<string>();
  let defaults: ReadonlyMap<string, string> = new Map();
  for (const variant of VARIANTS) {
    if (variant.engine && variant.engine !== engine) continue;
    t.test(`${engine}, ${variant.name}: every file and object matches its golden file`, async (t) => {
      const files = renderAll(await loadVariant(variant, engine));
      const isDefault = variant.name === 'default';
      if (isDefault) defaults = files;
      const own = [...files].filter(([name, text]) => isDefault || defaults.get(name) !== text);
      t.not(own.length, 0, 'a variant changes something');
      for (const [name, text] of own) {
        const path = `${engine}/${isDefault ? '' : `${variant.name}/`}${name}`;
        expected.add(path);
        matchGolden(t, path, text);
      }
    });
  }
  t.test(`${engine}: no golden file is left over`, async (t) => {
    const root = join(import.meta.dirname ?? '.', '../golden');
    const found = readdirSync(join(root, engine), { recursive: true, withFileTypes: true })
      .filter((entry) => entry.isFile())
      .map((entry) => join(entry.parentPath, entry.name).slice(root.length + 1));
    t.same(found.sort(), [...expected].sort());
  });
}

/** Everything that init writes for a configuration: file name → text. */
function renderAll({ config, facts, patches }: LoadedVariant): ReadonlyMap<string, string> {
  const files = new Map<string, string>();
  for (const row of selectManifests(config)) {
    files.set(`${row.name}.yaml`, renderManifest(row, config, facts, patches));
  }
  const kubelet = { ...config, hostname: 'node-1', isWorker: false, nodeIp: '10.0.0.5', patches };
  for (const { path, content } of buildKubeletFiles(kubelet)) files.set(path.split('/').at(-1)!, content);
  for (const row of KUBECONFIGS) {
    const user = kubeconfigUser(row, config.nodeRegistration.name);
    const kubeconfig = buildKubeconfig({
      clusterName: config.cluster.clusterName,
      server: row.server === 'local' ? localServer(config) : controlPlaneServer(config),
      caPem: 'CA',
      user,
      credentials: { certPem: 'CERT', keyPem: 'KEY' },
    });
    files.set(row.fileName, renderYaml(kubeconfig));
  }
  const input = { ...config, proxyEnvs: facts.proxyEnvs };
  const groups = {
    coredns: buildCoreDnsObjects(input, patches),
    'kube-proxy': buildKubeProxyObjects(input),
    'pod-network': buildPodNetworkObjects(),
    bootstrap: [
      buildClusterAdminsBinding(),
      ...buildKubeadmConfigObjects(input),
      ...buildKubeletConfigObjects(input),
      ...buildBootstrapRbacObjects(),
    ],
    'cluster-info': [buildClusterInfo(input, 'CA')],
    'bootstrap-tokens': buildTokenSecrets(config.bootstrapTokens, NOW),
    'upload-certs-role': buildCertificatesRoleObjects(),
  };
  for (const [name, objects] of Object.entries(groups)) {
    for (const row of objects) {
      if (!findResourceByKind(row.apiVersion!, row.kind!)) throw new Error(`${row.kind} is not served`);
    }
    files.set(`${name}.objects.yaml`, objects.map(renderYaml).join('---\n'));
  }
  return files;
}
