import { createHash } from 'node:crypto';
import { load } from 'js-yaml';
import t from 'tap';
import {
  buildBootstrapRbacObjects,
  buildCertificatesRoleObjects,
  buildClusterAdminsBinding,
} from '../../../bootstrap/addons/bootstrap-rbac.ts';
import {
  buildKubeadmConfigObjects,
  buildKubeletConfigObjects,
} from '../../../bootstrap/addons/cluster-config.ts';
import { buildClusterInfo } from '../../../bootstrap/addons/cluster-info.ts';
import { buildCoreDnsObjects } from '../../../bootstrap/addons/coredns.ts';
import { buildKubeProxyObjects } from '../../../bootstrap/addons/kube-proxy.ts';
import { buildTokenSecrets, tokenExpiry } from '../../../bootstrap/addons/token-secrets.ts';
import { loadConfiguration, parseClusterConfiguration } from '../../../bootstrap/config/load.ts';
import type { InitConfig } from '../../../bootstrap/config/types.ts';
import { parseCorefile, resolveDnsConfig } from '../../../runtime/network/dns/corefile.ts';
import { parseProxyConfig } from '../../../runtime/network/proxy/config.ts';

async function loadInit(engine: string, more = ''): Promise<InitConfig> {
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: `apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: ${engine}\n${more}`,
    defaultsFrom: { hostname: 'node-1', advertiseAddress: '10.0.0.5' },
  });
  return config;
}

const buildAddonObjects = (config: InitConfig) => [
  ...buildCoreDnsObjects(config),
  ...buildKubeProxyObjects(config),
];
const buildBootstrapObjects = (config: InitConfig) => [
  buildClusterAdminsBinding(),
  ...buildKubeadmConfigObjects(config),
  ...buildKubeletConfigObjects(config),
  ...buildBootstrapRbacObjects(),
];

type Loose = {
  metadata: { name: string; namespace?: string; annotations?: Record<string, string> };
  data: Record<string, string>;
};

t.test('no object is built twice', async (t) => {
  const config = await loadInit('embedded');
  const objects = [...buildAddonObjects(config), ...buildBootstrapObjects(config)];
  const keys = objects.map((row) => `${row.kind} ${row.metadata?.namespace ?? ''}/${row.metadata?.name}`);
  t.equal(new Set(keys).size, keys.length);
});

t.test('the uploaded configuration reads back as it was', async (t) => {
  const config = await loadInit('embedded');
  const map = buildBootstrapObjects(config).find(
    (row) => row.metadata?.name === 'kubeadm-config',
  ) as never as Loose;
  const again = await parseClusterConfiguration(map.data['ClusterConfiguration']!, config.tkadm);
  t.same(again.config, config.cluster);
  t.same(again.warnings, []);
  t.match(load(map.data['TkadmConfiguration']!), { ...config.tkadm });
});

t.test('generated component configurations carry their hash, given ones do not', async (t) => {
  const config = await loadInit('embedded');
  const find = (c: InitConfig, name: string) =>
    [...buildAddonObjects(c), ...buildBootstrapObjects(c)].find(
      (row) => row.kind === 'ConfigMap' && row.metadata?.name === name,
    ) as never as Loose;
  const map = find(config, 'kubelet-config');
  const hash = createHash('sha256').update(map.data['kubelet']!).digest('hex');
  t.equal(map.metadata.annotations?.['kubeadm.kubernetes.io/component-config.hash'], `sha256:${hash}`);
  const given = await loadInit(
    'embedded',
    '---\napiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPods: 50\n',
  );
  t.equal(find(given, 'kubelet-config').metadata.annotations, undefined);
  t.match(find(given, 'kubelet-config').data['kubelet'], /maxPods: 50/);
  t.ok(find(given, 'kube-proxy').metadata.annotations);
});

t.test('the embedded programs accept what the add-ons give them', async (t) => {
  const config = await loadInit('embedded');
  const data = (name: string) =>
    (
      buildAddonObjects(config).find(
        (row) => row.kind === 'ConfigMap' && row.metadata?.name === name,
      ) as never as Loose
    ).data;
  t.match(parseProxyConfig(data('kube-proxy')['config.conf']!), {
    kubeconfig: '/var/lib/kube-proxy/kubeconfig.conf',
    clusterCidr: '10.244.0.0/16',
  });
  t.match(resolveDnsConfig(parseCorefile(data('coredns')['Corefile']!)), {
    clusterDomain: 'cluster.local',
    readyPort: 8181,
    healthPort: 8080,
    port: 53,
  });
});

t.test('add-ons that are disabled have no objects', async (t) => {
  const config = await loadInit(
    'embedded',
    '---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\ndns: {disabled: true}\nproxy: {disabled: true}\n',
  );
  t.same(buildAddonObjects(config), []);
});

t.test('buildClusterInfo() holds one cluster without name', async (t) => {
  const map = buildClusterInfo(await loadInit('embedded'), 'PEM') as never as Loose;
  t.same(load(map.data['kubeconfig']!), {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: '', cluster: { server: 'https://10.0.0.5:6443', 'certificate-authority-data': 'UEVN' } },
    ],
    contexts: null,
    'current-context': '',
    preferences: {},
    users: null,
  });
  t.equal(buildCertificatesRoleObjects().length, 2);
});

t.test('tokenExpiry() and buildTokenSecrets()', (t) => {
  const now = new Date('2026-01-01T00:00:00Z');
  t.equal(tokenExpiry({ ttl: '24h0m0s' }, now)?.toISOString(), '2026-01-02T00:00:00.000Z');
  t.equal(tokenExpiry({ ttl: '0' }, now), undefined);
  t.equal(tokenExpiry({ expires: '2027-01-01T00:00:00Z' }, now)?.toISOString(), '2027-01-01T00:00:00.000Z');
  const [secret] = buildTokenSecrets(
    [{ token: 'abcdef.0123456789abcdef', ttl: '1h', usages: ['signing'], groups: [] }],
    now,
  );
  t.equal(secret?.metadata?.name, 'bootstrap-token-abcdef');
  const { data } = secret as never as Loose;
  t.equal(Buffer.from(data['expiration']!, 'base64').toString(), '2026-01-01T01:00:00Z');
  t.end();
});
