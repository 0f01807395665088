import t from 'tap';
import { buildJoinedConfig } from '../../../bootstrap/config/joined-cluster.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';

const MACHINE = { hostname: 'n2', advertiseAddress: '10.0.0.6' };
const HEAD = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n';
const ENDPOINT = 'controlPlaneEndpoint: api.example.com:6443\n';
const EXTERNAL =
  'etcd: {external: {endpoints: ["https://a:2379"], caFile: /e/ca.crt, certFile: /e/c.crt, keyFile: /e/c.key}}\n';

const tkadm = (fields: string) => `apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\n${fields}`;

async function join() {
  const { config } = await loadConfiguration({
    kind: 'JoinConfiguration',
    overrides: {
      'control-plane': true,
      token: 'abcdef.0123456789abcdef',
      'api-server-endpoint': '10.0.0.5:6443',
      'discovery-token-unsafe-skip-ca-verification': true,
      'apiserver-bind-port': '7443',
    },
    defaultsFrom: MACHINE,
  });
  return config;
}

t.test('buildJoinedConfig() is the cluster with the machine in it', async (t) => {
  const documents = {
    ClusterConfiguration: `${HEAD}${ENDPOINT}${EXTERNAL}networking: {podSubnet: 10.9.0.0/16}\n`,
    TkadmConfiguration: tkadm('engine: embedded\nstore: etcd\n'),
  };
  const config = await buildJoinedConfig(documents, await join(), MACHINE);
  t.match(config, {
    nodeRegistration: { name: 'n2', taints: [] },
    localAPIEndpoint: { advertiseAddress: '10.0.0.6', bindPort: 7443 },
    cluster: {
      controlPlaneEndpoint: 'api.example.com:6443',
      networking: { podSubnet: '10.9.0.0/16' },
      etcd: { external: { certFile: '/e/c.crt' } },
    },
    tkadm: { store: 'etcd' },
  });
});

const REFUSALS: readonly {
  readonly name: string;
  readonly cluster: string;
  readonly own: string;
  readonly message: RegExp;
}[] = [
  { name: 'the embedded store', cluster: ENDPOINT, own: 'store: embedded\n', message: /the embedded store/ },
  { name: 'an etcd of its own', cluster: ENDPOINT, own: 'store: etcd\n', message: /an etcd that tkadm runs/ },
  { name: 'no stable address', cluster: EXTERNAL, own: 'store: etcd\n', message: /no controlPlaneEndpoint/ },
  {
    name: 'the upstream engine',
    cluster: `${ENDPOINT}${EXTERNAL}`,
    own: 'engine: upstream\n',
    message: /engine "upstream"/,
  },
];

for (const { name, cluster, own, message } of REFUSALS) {
  t.test(`buildJoinedConfig() refuses ${name} by name and says what to do`, async (t) => {
    const documents = { ClusterConfiguration: `${HEAD}${cluster}`, TkadmConfiguration: tkadm(own) };
    await t.rejects(
      join().then((config) => buildJoinedConfig(documents, config, MACHINE)),
      {
        code: 'UNSUPPORTED',
        message,
        hint: /etcd\.external/,
      },
    );
  });
}
