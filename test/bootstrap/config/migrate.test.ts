import { loadAll } from 'js-yaml';
import t from 'tap';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import { migrateConfiguration } from '../../../bootstrap/config/migrate-command.ts';

const MACHINE = { hostname: 'node-1', advertiseAddress: '10.0.0.5' };
const API = 'kubeadm.k8s.io/v1beta4';

/** What people of kubeadm 1.11 and 1.12 still have. */
const MASTER = `apiVersion: kubeadm.k8s.io/v1alpha2
kind: MasterConfiguration
kubernetesVersion: v1.27.2
api: {advertiseAddress: 192.168.0.102, bindPort: 6443}
etcd: {local: {dataDir: /var/lib/etcd, image: ""}}
imageRepository: k8s.gcr.io
kubeProxy: {config: {bindAddress: 0.0.0.0}}
kubeletConfiguration: {baseConfig: {address: 0.0.0.0}}
networking: {dnsDomain: cluster.local, podSubnet: "", serviceSubnet: 10.96.0.0/12}
nodeRegistration: {criSocket: /var/run/dockershim.sock}
apiServerExtraArgs: {anonymous-auth: "false", enable-admission-plugins: "AlwaysPullImages,DefaultStorageClass"}
`;

t.test('migrateConfiguration() maps or names each field of a MasterConfiguration', async (t) => {
  const { yaml, notes } = migrateConfiguration(MASTER);
  t.same(loadAll(yaml), [
    {
      apiVersion: API,
      kind: 'InitConfiguration',
      localAPIEndpoint: { advertiseAddress: '192.168.0.102', bindPort: 6443 },
    },
    {
      apiVersion: API,
      kind: 'ClusterConfiguration',
      etcd: { local: { dataDir: '/var/lib/etcd' } },
      networking: { dnsDomain: 'cluster.local', serviceSubnet: '10.96.0.0/12' },
      apiServer: {
        extraArgs: [
          { name: 'anonymous-auth', value: 'false' },
          { name: 'enable-admission-plugins', value: 'AlwaysPullImages,DefaultStorageClass' },
        ],
      },
    },
    {
      apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
      kind: 'KubeProxyConfiguration',
      bindAddress: '0.0.0.0',
    },
    { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration', address: '0.0.0.0' },
  ]);
  t.match(notes, [
    /^kubernetesVersion: dropped: "v1\.27\.2" cannot be deployed/,
    /^etcd\.local\.image: dropped: it is empty/,
    /^imageRepository: dropped: "k8s\.gcr\.io" is frozen/,
    /^networking\.podSubnet: dropped: it is empty/,
    /^nodeRegistration\.criSocket: dropped: Kubernetes has no dockershim/,
  ]);
  t.equal(notes.length, 5);
  const { config, warnings } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: yaml,
    defaultsFrom: MACHINE,
  });
  t.match(warnings, [/anonymous-auth=false nodes cannot find the cluster by a token/]);
  t.equal(config.localAPIEndpoint.advertiseAddress, '192.168.0.102');
});

t.test('migrateConfiguration() of every other field of v1alpha2', async (t) => {
  const { yaml, notes } = migrateConfiguration(`apiVersion: kubeadm.k8s.io/v1alpha2
kind: MasterConfiguration
bootstrapTokens: [{token: abcdef.0123456789abcdef, ttl: 24h0m0s}]
nodeRegistration:
  name: cp
  taints: [{key: node-role.kubernetes.io/master, effect: NoSchedule}]
  kubeletExtraArgs: {v: "4", node-ip: 10.0.0.9}
api: {controlPlaneEndpoint: "api.example:6443"}
etcd: {external: {endpoints: ["https://10.0.0.1:2379"], caFile: /ca, certFile: /c, keyFile: /k}}
kubernetesVersion: v1.35.3
schedulerExtraArgs: {v: "2"}
controllerManagerExtraVolumes: [{name: v, hostPath: /h, mountPath: /m, writable: true}]
apiServerCertSANs: [a.example]
certificatesDir: /pki
unifiedControlPlaneImage: x/hyperkube:1
auditPolicy: {path: /p, logMaxAge: 3}
featureGates: {CoreDNS: true, NodeLocalCRISocket: true, Nothing: false}
clusterName: c
kubeletConfiguration: {baseConfig: {maxPods: 5, cadvisorPort: 0}}
spelt: wrong
`);
  t.same(loadAll(yaml).slice(0, 2), [
    {
      apiVersion: API,
      kind: 'InitConfiguration',
      bootstrapTokens: [{ token: 'abcdef.0123456789abcdef', ttl: '24h0m0s' }],
      nodeRegistration: {
        name: 'cp',
        taints: [{ key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' }],
        kubeletExtraArgs: [
          { name: 'node-ip', value: '10.0.0.9' },
          { name: 'v', value: '4' },
        ],
      },
    },
    {
      apiVersion: API,
      kind: 'ClusterConfiguration',
      controlPlaneEndpoint: 'api.example:6443',
      etcd: {
        external: { endpoints: ['https://10.0.0.1:2379'], caFile: '/ca', certFile: '/c', keyFile: '/k' },
      },
      kubernetesVersion: 'v1.35.3',
      scheduler: { extraArgs: [{ name: 'v', value: '2' }] },
      controllerManager: {
        extraVolumes: [{ name: 'v', hostPath: '/h', mountPath: '/m', readOnly: false }],
      },
      apiServer: { certSANs: ['a.example'] },
      certificatesDir: '/pki',
      featureGates: { NodeLocalCRISocket: true },
      clusterName: 'c',
    },
  ]);
  t.match(loadAll(yaml)[2], { kind: 'KubeletConfiguration', maxPods: 5, cadvisorPort: undefined });
  for (const pattern of [
    /taints: the key .* has become/,
    /unifiedControlPlaneImage: dropped/,
    /auditPolicy\.path: dropped/,
    /auditPolicy\.logMaxAge: dropped/,
    /featureGates: "CoreDNS" is dropped: .*; "Nothing" is dropped: no such gate/,
    /spelt: dropped: v1alpha2 has no such field/,
    /cadvisorPort: Unknown field/,
  ]) {
    t.ok(
      notes.some((note) => pattern.test(note)),
      String(pattern),
    );
  }
  t.notMatch(notes.join(), /0123456789abcdef/);
});

t.test('migrateConfiguration() of a NodeConfiguration', async (t) => {
  const pin = `sha256:${'a'.repeat(64)}`;
  const old = `apiVersion: kubeadm.k8s.io/v1alpha2
kind: NodeConfiguration
token: abcdef.0123456789abcdef
discoveryTokenAPIServers: ["10.0.0.1:6443", "10.0.0.2:6443"]
discoveryTokenCACertHashes: ["${pin}"]
discoveryTokenUnsafeSkipCAVerification: false
discoveryTimeout: 5m0s
discoveryFile: ""
clusterName: kubernetes
bindPort: 6443
`;
  const { yaml, notes } = migrateConfiguration(old);
  t.same(loadAll(yaml), [
    {
      apiVersion: API,
      kind: 'JoinConfiguration',
      discovery: {
        bootstrapToken: {
          token: 'abcdef.0123456789abcdef',
          apiServerEndpoint: '10.0.0.1:6443',
          caCertHashes: [pin],
        },
      },
      timeouts: { discovery: '5m0s' },
    },
  ]);
  t.match(notes.join('\n'), /only the first is kept; dropped: 10\.0\.0\.2:6443/);
  t.match(notes.join('\n'), /bindPort: dropped: "controlPlane" is not set/);
  t.match(notes.join('\n'), /discoveryTokenUnsafeSkipCAVerification: dropped: it is the default/);
  const controlPlane = migrateConfiguration(`${old}controlPlane: true\nadvertiseAddress: 10.0.0.7\n`);
  t.match(loadAll(controlPlane.yaml)[0], {
    controlPlane: { localAPIEndpoint: { advertiseAddress: '10.0.0.7', bindPort: 6443 } },
  });
});

t.test('migrateConfiguration() of v1beta4 changes nothing, of v1beta3 each place once', async (t) => {
  const now = `apiVersion: ${API}
kind: InitConfiguration
timeouts:
  controlPlaneComponentHealthCheck: 7m0s
---
apiVersion: ${API}
kind: UpgradeConfiguration
apply:
  etcdUpgrade: false
---
apiVersion: tkadm.io/v1alpha1
kind: TkadmConfiguration
engine: embedded
`;
  t.equal(migrateConfiguration(now).yaml, now);
  const old = `apiVersion: kubeadm.k8s.io/v1beta3
kind: JoinConfiguration
discovery: {timeout: 90s, tlsBootstrapToken: abcdef.0123456789abcdef, file: {kubeConfigPath: /a}}
nodeRegistration: {kubeletExtraArgs: {v: "1", a: "2"}}
---
apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
etcd: {local: {extraArgs: {b: "1", a: "2"}}}
scheduler: {extraArgs: {}}
apiServer: {timeoutForControlPlane: 2m0s}
`;
  t.same(loadAll(migrateConfiguration(old).yaml), [
    {
      apiVersion: API,
      kind: 'JoinConfiguration',
      discovery: { tlsBootstrapToken: 'abcdef.0123456789abcdef', file: { kubeConfigPath: '/a' } },
      nodeRegistration: {
        kubeletExtraArgs: [
          { name: 'a', value: '2' },
          { name: 'v', value: '1' },
        ],
      },
      timeouts: { discovery: '90s' },
    },
    {
      apiVersion: API,
      kind: 'ClusterConfiguration',
      etcd: {
        local: {
          extraArgs: [
            { name: 'a', value: '2' },
            { name: 'b', value: '1' },
          ],
        },
      },
      scheduler: { extraArgs: [] },
      apiServer: {},
    },
    {
      apiVersion: API,
      kind: 'InitConfiguration',
      timeouts: { controlPlaneComponentHealthCheck: '2m0s' },
    },
  ]);
});

const REFUSED: readonly (readonly [name: string, text: string, message: RegExp, hint?: RegExp])[] = [
  [
    'a field that v1beta3 has not',
    'apiVersion: kubeadm.k8s.io/v1beta3\nkind: InitConfiguration\ntimeouts: {discovery: 1m}\n',
    /timeouts: Unknown field.*line 3/,
  ],
  [
    'arguments of v1beta4 in v1beta3',
    'apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\nscheduler: {extraArgs: []}\n',
    /scheduler\.extraArgs: Invalid value: \[\]: it must be a mapping/,
  ],
  ['an unknown field', `apiVersion: ${API}\nkind: ClusterConfiguration\nx: 1\n`, /x: Unknown field.*line 3/],
  [
    'a kind twice, once old',
    `${MASTER}---\napiVersion: ${API}\nkind: InitConfiguration\n`,
    /"InitConfiguration" occurs twice/,
  ],
  [
    'a version that only kubeadm migrates',
    'apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\n',
    /"kubeadm\.k8s\.io\/v1beta2" is no longer read/,
    /kubeadm v1\.22: kubeadm config migrate --old-config my\.yaml/,
  ],
  ['an empty file', '---\n# nothing\n', /there is no document in it/],
];

for (const [name, text, message, hint = /^$/] of REFUSED) {
  t.test(`migrateConfiguration() refuses ${name}`, async (t) => {
    try {
      migrateConfiguration(text, 'my.yaml');
      t.fail('accepted');
    } catch (error) {
      t.match((error as Error).message, message);
      t.match((error as { hint?: string }).hint ?? '', hint);
    }
  });
}

t.test('loadConfiguration() explains a MasterConfiguration with the command that migrates it', async (t) => {
  const load = (path?: string) =>
    loadConfiguration({ kind: 'InitConfiguration', text: MASTER, path, defaultsFrom: MACHINE });
  await t.rejects(load('/etc/old.yaml'), {
    code: 'CONFIG_INVALID',
    message: /MasterConfiguration of "kubeadm\.k8s\.io\/v1alpha2" is no longer read/,
    hint: 'tkadm config migrate --old-config /etc/old.yaml --new-config /etc/old.yaml.new',
  });
  await t.rejects(load('-'), {
    code: 'CONFIG_INVALID',
    hint: 'tkadm config migrate --old-config - --new-config NEW',
  });
});
