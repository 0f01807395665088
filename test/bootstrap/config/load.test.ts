import t from 'tap';
import type { Overrides } from '../../../bootstrap/config/flags.ts';
import { loadConfiguration, parseClusterConfiguration } from '../../../bootstrap/config/load.ts';
import { migrateConfiguration } from '../../../bootstrap/config/migrate-command.ts';
import { printDefaults } from '../../../bootstrap/config/print.ts';
import type { ConfigKind } from '../../../bootstrap/config/types.ts';

const MACHINE = { hostname: 'Node-1.Example', advertiseAddress: '10.0.0.5' };
const INIT = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n';
const CLUSTER = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n';
const JOIN = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n';
const PIN = `sha256:${'a'.repeat(64)}`;
const DISCOVERY = `discovery: {bootstrapToken: {token: abcdef.0123456789abcdef, apiServerEndpoint: "10.0.0.1:6443", caCertHashes: ["${PIN}"]}}\n`;

function init(text?: string, overrides: Overrides = {}, isStrict = true) {
  return loadConfiguration({ kind: 'InitConfiguration', text, overrides, defaultsFrom: MACHINE, isStrict });
}

t.test('loadConfiguration() fills every default without a file', async (t) => {
  const { config, warnings } = await init();
  t.same(warnings, []);
  t.match(config, {
    nodeRegistration: {
      name: 'node-1.example',
      criSocket: 'unix:///run/tkadm/runtime.sock',
      imagePullPolicy: 'IfNotPresent',
    },
    localAPIEndpoint: { advertiseAddress: '10.0.0.5', bindPort: 6443 },
    timeouts: {
      controlPlaneComponentHealthCheckMs: 240_000,
      discoveryMs: 300_000,
      kubernetesAPICallMs: 60_000,
    },
    tkadm: { engine: 'embedded', store: 'embedded', imageRepository: 'tkadm.local' },
    cluster: {
      kubernetesVersion: 'v1.36.2',
      networking: { serviceSubnet: '10.96.0.0/12', podSubnet: '10.244.0.0/16', dnsDomain: 'cluster.local' },
      etcd: { local: { dataDir: '/var/lib/etcd' } },
      encryptionAlgorithm: 'RSA-2048',
    },
    kubelet: {
      clusterDNS: ['10.96.0.10'],
      staticPodPath: '/etc/kubernetes/manifests',
      rotateCertificates: true,
      cgroupDriver: 'cgroupfs',
    },
    kubeProxy: { clusterCIDR: '10.244.0.0/16', mode: 'nftables' },
  });
  t.match(config.bootstrapTokens[0], { token: /^[a-z0-9]{6}\.[a-z0-9]{16}$/, ttl: '24h0m0s' });
  t.throws(() => {
    (config.cluster.networking as { podSubnet: string }).podSubnet = 'x';
  }, TypeError);
  const upstream = await init('apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: upstream\n');
  t.equal(upstream.config.cluster.networking.podSubnet, undefined);
  t.equal(upstream.config.tkadm.store, 'etcd');
  const external = await init(`${CLUSTER}etcd: {external: {endpoints: ["https://a:2379"]}}\n`);
  t.match(external.config.tkadm, { engine: 'embedded', store: 'etcd' }, 'an etcd that is named is used');
  t.same(config.nodeRegistration.taints, []);
  t.same(upstream.config.nodeRegistration.taints, [
    { key: 'node-role.kubernetes.io/control-plane', effect: 'NoSchedule' },
  ]);
  t.equal(upstream.config.kubelet['cgroupDriver'], 'systemd');
});

t.test('loadConfiguration() puts flags over defaults', async (t) => {
  const { config } = await init(undefined, {
    'node-name': 'Other',
    'pod-network-cidr': '10.1.0.0/16',
    'apiserver-bind-port': '7443',
    'apiserver-cert-extra-sans': ['a.example', '10.9.9.9'],
    'feature-gates': 'NodeLocalCRISocket=true',
    token: 'abcdef.0123456789abcdef',
    'token-ttl': '0',
    'skip-phases': ['addon'],
    'dry-run': false,
  });
  t.match(config, {
    nodeRegistration: { name: 'other' },
    localAPIEndpoint: { bindPort: 7443 },
    cluster: {
      networking: { podSubnet: '10.1.0.0/16' },
      apiServer: { certSANs: ['a.example', '10.9.9.9'] },
      featureGates: { NodeLocalCRISocket: true },
    },
    bootstrapTokens: [{ token: 'abcdef.0123456789abcdef', ttl: '0' }],
    skipPhases: ['addon'],
    isDryRun: false,
  });
  await t.rejects(init(CLUSTER, { 'pod-network-cidr': '10.1.0.0/16', 'service-cidr': '10.2.0.0/16' }), {
    code: 'CONFIG_FLAGS_MIXED',
    message: /arguments \[pod-network-cidr service-cidr\]/,
  });
  const mixed = await init(`${INIT}nodeRegistration: {ignorePreflightErrors: [Swap]}\n`, {
    'node-name': 'x',
    'ignore-preflight-errors': ['NumCPU'],
  });
  t.same(mixed.config.nodeRegistration.ignorePreflightErrors, ['Swap', 'NumCPU']);
  await t.rejects(init(undefined, { 'apiserver-bind-port': 'x' }), { code: 'CONFIG_INVALID' });
});

const REFUSED: readonly { name: string; text: string; kind?: ConfigKind; message: RegExp }[] = [
  {
    name: 'pod CIDR',
    text: `${CLUSTER}networking: {podSubnet: "10.0"}\n`,
    message: /networking\.podSubnet: Invalid value: "10\.0": it is no CIDR; write it like "10\.244/,
  },
  {
    name: 'overlap',
    text: `${CLUSTER}networking: {podSubnet: 10.100.0.0/16}\n`,
    message:
      /networking\.podSubnet: Invalid value: "10\.100\.0\.0\/16": it overlaps networking\.serviceSubnet/,
  },
  {
    name: 'family',
    text: `${CLUSTER}networking: {serviceSubnet: "fd00::/112", podSubnet: 10.244.0.0/16}\n`,
    message: /it has no IPv6 range/,
  },
  {
    name: 'large service range',
    text: `${CLUSTER}networking: {serviceSubnet: 10.0.0.0/8, podSubnet: 192.168.0.0/16}\n`,
    message: /its prefix must be \/12 or longer/,
  },
  {
    name: 'small service range',
    text: `${CLUSTER}networking: {serviceSubnet: 10.0.0.0/29}\n`,
    message: /at least 10 addresses/,
  },
  {
    name: 'small pod range',
    text: `${CLUSTER}networking: {podSubnet: 10.244.0.0/25}\n`,
    message: /smaller than one node's range, a \/24/,
  },
  {
    name: 'large pod range',
    text: `${CLUSTER}networking: {podSubnet: 32.0.0.0/7}\n`,
    message: /more than 16 bits longer/,
  },
  {
    name: 'three ranges',
    text: `${CLUSTER}networking: {serviceSubnet: "10.1.0.0/16,10.2.0.0/16,10.3.0.0/16"}\n`,
    message: /at most one range of each IP family/,
  },
  {
    name: 'unknown field',
    text: `${CLUSTER}networking: {podSubent: 10.244.0.0/16}\n`,
    message: /networking\.podSubent: Unknown field: .*is "podSubnet" meant/,
  },
  {
    name: 'wrong case',
    text: `${CLUSTER}clustername: x\n`,
    message: /clustername: Unknown field: .*write "clusterName"/,
  },
  {
    name: 'duplicate field',
    text: `${CLUSTER}clusterName: a\nclusterName: b\n`,
    message: /clusterName: Duplicate field: it is set in line 3 already; the last one counts \(line 4\)/,
  },
  {
    name: 'wrong type',
    text: `${CLUSTER}apiServer: {extraArgs: [{name: v, value: 4}]}\n`,
    message: /apiServer\.extraArgs\[0\]\.value: Invalid value: 4: it must be a string; write "4" in quotes/,
  },
  {
    name: 'unknown kubelet field',
    text: 'apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\nmaxPod: 3\n',
    message: /is "maxPods" meant/,
  },
  {
    name: 'duration',
    text: `${CLUSTER}certificateValidityPeriod: 1y\n`,
    message: /certificateValidityPeriod: Invalid value: "1y": write a duration/,
  },
  {
    name: 'kind twice',
    text: `${CLUSTER}---\n${CLUSTER}`,
    message: /kind "ClusterConfiguration" occurs twice/,
  },
  { name: 'no kind', text: 'apiVersion: kubeadm.k8s.io/v1beta4\n', message: /document 1 has no "kind"/ },
  { name: 'unknown kind', text: 'apiVersion: v1\nkind: Pod\n', message: /no document is of "v1" "Pod"/ },
  {
    name: 'old version',
    text: 'apiVersion: kubeadm.k8s.io/v1beta2\nkind: InitConfiguration\n',
    message: /"kubeadm\.k8s\.io\/v1beta2" is no longer read/,
  },
  {
    name: 'future version',
    text: 'apiVersion: kubeadm.k8s.io/v1beta9\nkind: InitConfiguration\n',
    message: /version "v1beta9" of InitConfiguration is not known/,
  },
  { name: 'broken YAML', text: 'a: [\n', message: /line/ },
  { name: 'list', text: '- a\n', message: /document 1 is no mapping/ },
  {
    name: 'node name',
    text: `${INIT}nodeRegistration: {name: under_score}\n`,
    message: /nodeRegistration\.name: Invalid value: "under_score": .*DNS-1123/,
  },
  { name: 'address', text: `${INIT}localAPIEndpoint: {advertiseAddress: 0.0.0.0}\n`, message: /unspecified/ },
  {
    name: 'port',
    text: `${INIT}localAPIEndpoint: {bindPort: 70000}\n`,
    message: /localAPIEndpoint\.bindPort: Invalid value: 70000/,
  },
  {
    name: 'taint',
    text: `${INIT}nodeRegistration: {taints: [{key: "a b", effect: Never}]}\n`,
    message: /taints\[0\]\.key.*\n.*taints\[0\]\.effect: Unsupported value: "Never"/,
  },
  {
    name: 'token',
    text: `${INIT}bootstrapTokens: [{token: secretsecret}]\n`,
    message: /bootstrapTokens\[0\]\.token: Invalid value: it has not the form/,
  },
  {
    name: 'ttl and expires',
    text: `${INIT}bootstrapTokens: [{ttl: 1h, expires: "2030-01-01T00:00:00Z"}]\n`,
    message: /exclude each other/,
  },
  {
    name: 'token usages',
    text: `${INIT}bootstrapTokens: [{usages: [signing], groups: ["system:bootstrappers:a"]}]\n`,
    message: /groups need the usage "authentication"/,
  },
  {
    name: 'certificate key',
    text: `${INIT}certificateKey: abc\n`,
    message: /certificateKey: Invalid value: it must be 32 bytes/,
  },
  {
    name: 'endpoint URL',
    text: `${CLUSTER}controlPlaneEndpoint: https://a:6443\n`,
    message: /controlPlaneEndpoint: Invalid value: .*it is a URL/,
  },
  {
    name: 'endpoint port',
    text: `${CLUSTER}controlPlaneEndpoint: "a:0"\n`,
    message: /its port is not from 1 to 65535/,
  },
  { name: 'SAN', text: `${CLUSTER}apiServer: {certSANs: ["a_b"]}\n`, message: /apiServer\.certSANs\[0\]/ },
  {
    name: 'argument name',
    text: `${CLUSTER}scheduler: {extraArgs: [{name: --v, value: "4"}]}\n`,
    message: /leave the dashes out: "v"/,
  },
  {
    name: 'algorithm',
    text: `${CLUSTER}encryptionAlgorithm: RSA-1024\n`,
    message: /encryptionAlgorithm: Unsupported value: "RSA-1024": supported values are "RSA-2048"/,
  },
  {
    name: 'version label',
    text: `${CLUSTER}kubernetesVersion: stable-1.30\n`,
    message: /labels are not looked up/,
  },
  {
    name: 'other version',
    text: `${CLUSTER}kubernetesVersion: v1.35.1\n`,
    message: /embedded engine serves v1\.36\.2/,
  },
  {
    name: 'feature gate',
    text: `${CLUSTER}featureGates: {RootlessControlPlane: true}\n`,
    message: /featureGates\.RootlessControlPlane.*not supported/,
  },
  {
    name: 'external etcd',
    text: `${CLUSTER}etcd: {external: {endpoints: ["http://a:2379"], certFile: /a}}\n---\napiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: upstream\n`,
    message: /must be an https URL[\s\S]*come together/,
  },
  {
    name: 'engine',
    text: 'apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: other\n',
    message: /engine: Unsupported value: "other": supported values are "embedded", "upstream"/,
  },
  {
    name: 'engine and store',
    text: 'apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: upstream\nstore: embedded\n',
    message: /store: Invalid value: "embedded"/,
  },
  {
    name: 'embedded store with an etcd',
    text: `${CLUSTER}etcd: {external: {endpoints: ["https://a:2379"]}}\n---\napiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nstore: embedded\n`,
    message: /etcd\.external: Forbidden: the embedded store is in use; "store: etcd" uses it/,
  },
  { name: 'no discovery', kind: 'JoinConfiguration', text: JOIN, message: /discovery: Required value/ },
  {
    name: 'two discoveries',
    kind: 'JoinConfiguration',
    text: `${JOIN}${DISCOVERY.replace('}}', '}, file: {kubeConfigPath: /a}}')}`,
    message: /exclude each other/,
  },
  {
    name: 'pin',
    kind: 'JoinConfiguration',
    text: `${JOIN}${DISCOVERY.replace('sha256:a', 'sha256:')}`,
    message: /caCertHashes\[0\]: Invalid value: .*63 hexadecimal digits instead of 64/,
  },
  {
    name: 'no pin',
    kind: 'JoinConfiguration',
    text: `${JOIN}${DISCOVERY.replace(/, caCertHashes: \[[^\]]*\]/, '')}`,
    message: /caCertHashes: Required value/,
  },
  {
    name: 'endpoint without port',
    kind: 'JoinConfiguration',
    text: `${JOIN}${DISCOVERY.replace(':6443', '')}`,
    message: /the port is missing/,
  },
  {
    name: 'unmount flag',
    kind: 'ResetConfiguration',
    text: 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\nunmountFlags: [X]\n',
    message: /unmountFlags\[0\]: Unsupported value: "X"/,
  },
];

for (const { name, text, kind = 'InitConfiguration', message } of REFUSED) {
  t.test(`loadConfiguration() refuses: ${name}`, async (t) => {
    await t.rejects(loadConfiguration({ kind, text, defaultsFrom: MACHINE }), {
      code: 'CONFIG_INVALID',
      message,
    });
  });
}

t.test('loadConfiguration() that is not strict warns of fields', async (t) => {
  const text = `${CLUSTER}clusterName: a\nclusterName: b\nnetworking: {podsubnet: x}\n`;
  const { config, warnings } = await init(text, {}, false);
  t.equal(config.cluster.clusterName, 'b');
  t.equal(config.cluster.networking.podSubnet, '10.244.0.0/16');
  t.match(warnings, [
    /clusterName: Duplicate field.*the last one counts/,
    /networking\.podsubnet: .*it is ignored/,
  ]);
});

t.test('loadConfiguration() never shows secrets', async (t) => {
  const text = `${INIT}bootstrapTokens: [{token: "abcdef.TOPSECRET"}]\ncertificateKey: TOPSECRET\n`;
  try {
    await init(text);
    t.fail('accepted');
  } catch (error) {
    t.notMatch(JSON.stringify(error) + (error as Error).message, /TOPSECRET/);
  }
});

t.test('loadConfiguration() reads v1beta3 with a warning', async (t) => {
  const text = `apiVersion: kubeadm.k8s.io/v1beta3
kind: ClusterConfiguration
apiServer:
  timeoutForControlPlane: 90s
  extraArgs: {v: "4", event-ttl: 5m}
---
apiVersion: kubeadm.k8s.io/v1beta3
kind: InitConfiguration
nodeRegistration: {kubeletExtraArgs: {node-ip: 10.0.0.5}}
`;
  const { config, warnings } = await init(text);
  t.same(config.cluster.apiServer.extraArgs, [
    { name: 'event-ttl', value: '5m' },
    { name: 'v', value: '4' },
  ]);
  t.equal(config.timeouts.controlPlaneComponentHealthCheckMs, 90_000);
  t.same(config.nodeRegistration.kubeletExtraArgs, [{ name: 'node-ip', value: '10.0.0.5' }]);
  t.match(warnings, [/v1beta3.*deprecated/, /v1beta3.*deprecated/]);
  const migrated = migrateConfiguration(text).yaml;
  t.notMatch(migrated, /v1beta3|timeoutForControlPlane/);
  const again = await init(migrated);
  t.same(again.warnings, []);
  t.same({ ...again.config, bootstrapTokens: [] }, { ...config, bootstrapTokens: [] });
});

t.test('loadConfiguration() of a join', async (t) => {
  const { config } = await loadConfiguration({
    kind: 'JoinConfiguration',
    defaultsFrom: MACHINE,
    overrides: {
      'api-server-endpoint': '10.0.0.1:6443',
      token: 'abcdef.0123456789abcdef',
      'discovery-token-ca-cert-hash': [PIN],
    },
  });
  t.same(config.discovery, {
    bootstrapToken: {
      token: 'abcdef.0123456789abcdef',
      apiServerEndpoint: '10.0.0.1:6443',
      caCertHashes: [PIN],
      unsafeSkipCAVerification: false,
    },
    tlsBootstrapToken: 'abcdef.0123456789abcdef',
  });
  t.same(config.nodeRegistration.taints, []);
  t.equal(config.controlPlane, undefined);
  await t.rejects(
    loadConfiguration({
      kind: 'JoinConfiguration',
      defaultsFrom: MACHINE,
      overrides: { 'certificate-key': 'a' },
    }),
    { message: /without --control-plane/ },
  );
});

for (const kind of [
  'InitConfiguration',
  'JoinConfiguration',
  'ResetConfiguration',
  'UpgradeConfiguration',
] as const) {
  t.test(`printDefaults(${kind}) is valid and changes nothing`, async (t) => {
    const load = (text?: string) => loadConfiguration({ kind, text, defaultsFrom: MACHINE });
    const { config, warnings } = await load(printDefaults(kind));
    t.same(warnings, []);
    if (kind === 'JoinConfiguration') return;
    const plain = await load();
    const { nodeRegistration, localAPIEndpoint, bootstrapTokens, certificatesDir, ...rest } =
      config as never as Record<string, unknown>;
    const {
      nodeRegistration: a,
      localAPIEndpoint: b,
      bootstrapTokens: c,
      ...expected
    } = plain.config as never as Record<string, unknown>;
    t.same({ ...rest, userSupplied: undefined }, { ...expected, userSupplied: undefined });
  });
}

t.test('parseClusterConfiguration() reads what a cluster keeps', async (t) => {
  const tkadm = { engine: 'upstream', store: 'etcd', imageRepository: 'tkadm.local' } as const;
  const { config } = await parseClusterConfiguration(
    `${CLUSTER}kubernetesVersion: v1.36.2\nfuture: 1\n`,
    tkadm,
  );
  t.equal(config.kubernetesVersion, 'v1.36.2');
  await t.rejects(parseClusterConfiguration(INIT, tkadm), { code: 'CONFIG_INVALID' });
});
