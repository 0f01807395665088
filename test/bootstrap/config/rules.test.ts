import t from 'tap';
import { FLAG_FIELDS, type Overrides } from '../../../bootstrap/config/flags.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import type { ConfigKind } from '../../../bootstrap/config/types.ts';
import { isTkadmError } from '../../../runtime/base/errors.ts';

const MACHINE = { hostname: 'node-1', advertiseAddress: '10.0.0.5' };
const document = (kind: string, fields: string) =>
  `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ${kind}\n${fields}\n`;
const INIT = (fields: string) => document('InitConfiguration', fields);
const CLUSTER = (fields: string) => document('ClusterConfiguration', fields);
const JOIN = (fields: string) => document('JoinConfiguration', fields);
const RESET = (fields: string) => document('ResetConfiguration', fields);
const UPGRADE = (fields: string) => document('UpgradeConfiguration', fields);
const UPSTREAM = '---\napiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: upstream\n';

function load<K extends ConfigKind>(kind: K, text?: string, overrides: Overrides = {}) {
  return loadConfiguration({ kind, text, overrides, defaultsFrom: MACHINE });
}

interface Refusal {
  readonly name: string;
  readonly kind?: ConfigKind;
  readonly text?: string;
  readonly overrides?: Overrides;
  readonly message: RegExp;
  readonly hint?: RegExp;
}

const REFUSED: readonly Refusal[] = [
  {
    name: 'a node name, as it was typed',
    overrides: { 'node-name': 'Node_1' },
    message: /nodeRegistration\.name: Invalid value: "Node_1": it is no DNS-1123 label.*\(--node-name\)/,
  },
  {
    name: 'a node name in the file, as it was typed',
    text: INIT('nodeRegistration:\n  name: Node_1'),
    message: /"Node_1": .*\(line 4\)/,
  },
  {
    name: 'a malformed token of a join',
    kind: 'JoinConfiguration',
    overrides: {
      token: 'x',
      'api-server-endpoint': '10.0.0.1:6443',
      'discovery-token-unsafe-skip-ca-verification': true,
    },
    message: /discovery\.bootstrapToken\.token: Invalid value: it has not the form.*\(--token\)/,
    hint: /tkadm token create --print-join-command/,
  },
  {
    name: 'a malformed pin',
    kind: 'JoinConfiguration',
    overrides: {
      token: 'abcdef.0123456789abcdef',
      'api-server-endpoint': '10.0.0.1:6443',
      'discovery-token-ca-cert-hash': ['sha256:zz'],
    },
    message: /caCertHashes\[0\]: Invalid value: "sha256:zz": it is not hexadecimal/,
    hint: /tkadm token create --print-join-command/,
  },
  {
    name: 'a token of init',
    overrides: { token: 'x' },
    message: /bootstrapTokens\[0\]\.token: Invalid value: it has not the form/,
    hint: /tkadm token generate/,
  },
  {
    name: 'a token life',
    overrides: { 'token-ttl': '1y' },
    message: /ttl: Invalid value: .*\(--token-ttl\)/,
  },
  {
    name: 'two tokens with one id',
    text: INIT('bootstrapTokens: [{token: abcdef.0123456789abcdef}, {token: abcdef.0123456789abcdee}]'),
    message: /bootstrapTokens\[1\]\.token: Invalid value: another token has the same first part/,
  },
  {
    name: 'a time',
    text: INIT('bootstrapTokens: [{expires: tomorrow}]'),
    message: /bootstrapTokens\[0\]\.expires: Invalid value/,
  },
  {
    name: 'a taint twice',
    text: INIT('nodeRegistration: {taints: [{key: a, effect: NoSchedule}, {key: a, effect: NoSchedule}]}'),
    message: /taints\[1\]: Invalid value: .*it occurs twice/,
  },
  {
    name: 'an address among the pods',
    overrides: { 'apiserver-advertise-address': '10.244.3.1' },
    message:
      /localAPIEndpoint\.advertiseAddress: Invalid value: .*lies in networking\.podSubnet 10\.244\.0\.0\/16/,
  },
  {
    name: 'an address of another family than the Services',
    text: `${CLUSTER('networking: {serviceSubnet: "fd00::/112"}')}${UPSTREAM}`,
    message: /advertiseAddress: Invalid value: "10\.0\.0\.5": it is no IPv6 address/,
  },
  {
    name: 'a node mask that is none',
    text: CLUSTER('controllerManager: {extraArgs: [{name: node-cidr-mask-size, value: "33"}]}'),
    message: /controllerManager\.extraArgs: Invalid value: 33/,
  },
  {
    name: 'a negative timeout',
    text: INIT('timeouts: {discovery: -5m}'),
    message: /timeouts\.discovery: Inv/,
  },
  {
    name: 'a label of another minor version',
    text: `${CLUSTER('kubernetesVersion: stable-1.30')}${UPSTREAM}`,
    message: /kubernetesVersion: Invalid value: "stable-1\.30": labels are not looked up/,
  },
  {
    name: 'a version that is too old',
    text: `${CLUSTER('kubernetesVersion: v1.34.0')}${UPSTREAM}`,
    message: /deploys 1\.35 to 1\.36 \(line 3\)/,
  },
  {
    name: 'a gate of an earlier kubeadm',
    text: CLUSTER('featureGates: {EtcdLearnerMode: true}'),
    message: /featureGates\.EtcdLearnerMode: .*always on now/,
  },
  {
    name: 'a gate that none had',
    text: CLUSTER('featureGates: {X: true}'),
    message: /no such gate; known are/,
  },
  {
    name: 'a locked gate',
    overrides: { 'feature-gates': ['NodeLocalCRISocket=false'] },
    message: /locked to true \(--feature-gates\)/,
  },
  {
    name: 'a gate against the algorithm',
    text: CLUSTER('featureGates: {PublicKeysECDSA: true}\nencryptionAlgorithm: RSA-2048'),
    message: /featureGates\.PublicKeysECDSA: .*it contradicts encryptionAlgorithm "RSA-2048"/,
  },
  { name: 'an image tag', text: CLUSTER('dns: {imageTag: "a/b"}'), message: /dns\.imageTag: Invalid value/ },
  {
    name: 'both kinds of etcd',
    text: `${CLUSTER('etcd: {local: {}, external: {endpoints: []}}')}${UPSTREAM}`,
    message: /etcd: Invalid value: "local" and "external" exclude each other[\s\S]*endpoints: Required value/,
  },
  {
    name: 'a discovery file by a relative name',
    kind: 'JoinConfiguration',
    text: JOIN('discovery: {file: {kubeConfigPath: a/b}}'),
    message: /discovery\.file\.kubeConfigPath: Invalid value: "a\/b": write an absolute path/,
  },
  {
    name: 'an endpoint with a bad port',
    kind: 'JoinConfiguration',
    text: JOIN('discovery: {bootstrapToken: {token: abcdef.0123456789abcdef, apiServerEndpoint: "a:99999"}}'),
    message: /apiServerEndpoint: Invalid value: "a:99999": its port/,
  },
  {
    name: 'a file without the document',
    kind: 'JoinConfiguration',
    text: INIT(''),
    message: /kind: Required value: JoinConfiguration is not in the file, which has InitConfiguration/,
  },
  { name: 'an empty file', text: '', message: /there is no document in it/ },
  {
    name: 'a reset socket',
    kind: 'ResetConfiguration',
    text: RESET('criSocket: tcp://x'),
    message: /criSocket: Invalid value/,
  },
  {
    name: 'unmount flags that exclude each other',
    kind: 'ResetConfiguration',
    text: RESET('unmountFlags: [MNT_EXPIRE, MNT_FORCE]'),
    message: /MNT_EXPIRE excludes/,
  },
  {
    name: '"all" beside others',
    kind: 'ResetConfiguration',
    text: RESET('ignorePreflightErrors: [all]'),
    overrides: { 'ignore-preflight-errors': ['Swap'] },
    message: /ignorePreflightErrors: Invalid value: \["all","Swap"\]: "all" must stand alone/,
  },
  {
    name: 'an upgrade of a node to a version',
    kind: 'UpgradeConfiguration',
    text: UPGRADE('node: {kubernetesVersion: v1.36.2}'),
    message: /node\.kubernetesVersion: Unknown field/,
  },
  {
    name: 'values of upgrade',
    kind: 'UpgradeConfiguration',
    text: UPGRADE('apply: {imagePullPolicy: x}\nplan: {kubernetesVersion: x}\ndiff: {contextLines: -1}'),
    message: /apply\.imagePullPolicy: Unsup[\s\S]*plan\.kubernetesVersion: Inv[\s\S]*diff\.contextLines: Inv/,
  },
  {
    name: 'a kind of another group',
    text: 'apiVersion: apps/v1\nkind: clusterconfiguration\n',
    message:
      /no document is of "apps\/v1" "clusterconfiguration"; write "kubeadm\.k8s\.io\/v1beta4" "ClusterC/,
  },
  {
    name: 'a proxy that the embedded engine has not',
    text: 'apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nmode: ipvs\nfeatureGates: {A: true}\n',
    message: /mode: Invalid value: "ipvs": .*"nftables" alone.*\(line 3\)[\s\S]*featureGates: Forbidden/,
  },
  {
    name: 'arguments that the embedded programs have not',
    text: `${CLUSTER('apiServer: {extraArgs: [{name: audit-log-path, value: /a}, {name: secure-prot, value: "1"}, {name: secure-port, value: x}, {name: enable-admission-plugins, value: "NodeRestriction,ImagePolicyWebhook"}]}')}---
${INIT('nodeRegistration: {kubeletExtraArgs: [{name: max-pods, value: "5"}]}')}`,
    message:
      /kubeletExtraArgs\[0\]\.name: .*tkadm-agent of the embedded engine has no such flag[\s\S]*extraArgs\[0\]\.name: Invalid value: "audit-log-path": kube-apiserver[\s\S]*\[1\]\.name: .*is "secure-port" meant[\s\S]*\[2\]\.value: Invalid value: "x": it must be of the kind "number"[\s\S]*\[3\]\.value: .*has no plugin ImagePolicyWebhook; it has NamespaceLifecycle/,
  },
  {
    name: 'several documents with every problem',
    text: `${INIT('x: 1')}---\n${CLUSTER('y: 2\ny: 3')}`,
    message: /y: Duplicate field.*already.*\(line 8\)\n.*x: Unknown field.*\n.*y: Unknown field/,
  },
];

for (const { name, kind = 'InitConfiguration', text, overrides, message, hint } of REFUSED) {
  t.test(`loadConfiguration() refuses ${name}`, async (t) => {
    await t.rejects(load(kind, text, overrides), {
      code: 'CONFIG_INVALID',
      message,
      ...(hint ? { hint } : {}),
    });
  });
}

t.test('loadConfiguration() looks for the discovery file when it can', async (t) => {
  const text = JOIN('discovery: {file: {kubeConfigPath: /no/such/file}}');
  const options = { kind: 'JoinConfiguration', text, defaultsFrom: MACHINE } as const;
  await t.resolves(loadConfiguration(options));
  await t.resolves(loadConfiguration({ ...options, fileExists: async () => true }));
  await t.rejects(loadConfiguration({ ...options, fileExists: async () => false }), {
    message: /kubeConfigPath: Invalid value: "\/no\/such\/file": there is no such file \(line 3\)/,
  });
});

t.test('loadConfiguration() chooses the container runtime by what is on the machine', async (t) => {
  const containerd = '/var/run/containerd/containerd.sock';
  const crio = '/var/run/crio/crio.sock';
  const socketOf = async (criSockets: readonly string[], text: string) => {
    const defaultsFrom = { ...MACHINE, criSockets };
    const { config } = await loadConfiguration({ kind: 'InitConfiguration', text, defaultsFrom });
    return config.nodeRegistration.criSocket;
  };
  const upstream = CLUSTER('') + UPSTREAM;
  t.equal(await socketOf([crio], CLUSTER('')), 'unix:///run/tkadm/runtime.sock', 'embedded: its own');
  t.equal(await socketOf([], upstream), `unix://${containerd}`);
  t.equal(await socketOf([crio], upstream), `unix://${crio}`);
  await t.rejects(socketOf([containerd, crio], upstream), {
    code: 'CONFIG_INVALID',
    message: `nodeRegistration.criSocket: Required value: several container runtimes are here: "unix://${containerd}", "unix://${crio}"`,
    hint: `--cri-socket unix://${containerd}`,
  });
  const chosen = `${INIT(`nodeRegistration: {criSocket: "unix://${crio}"}`)}${UPSTREAM}`;
  t.equal(await socketOf([containerd, crio], chosen), `unix://${crio}`);
});

/** Valid, with what is said of each. */
const NOTED: readonly (readonly [name: string, text: string, warning: RegExp])[] = [
  ['a label', CLUSTER('kubernetesVersion: ci/latest'), /kubernetesVersion: "ci\/latest" is not looked up/],
  [
    'a timeout of nothing, which kubeadm writes',
    INIT('timeouts: {controlPlaneComponentHealthCheck: 0s}'),
    /timeouts\.controlPlaneComponentHealthCheck: "0s" would leave no time: the default is used/,
  ],
  [
    'a timeout that nothing has',
    INIT('timeouts: {kubernetesAPICall: 2m}'),
    /timeouts\.kubernetesAPICall: it has no effect: a call of the API server has 30 s/,
  ],
  [
    'a socket without scheme',
    INIT('nodeRegistration: {criSocket: /run/a.sock}'),
    /"unix:\/\/\/run\/a\.sock" is used/,
  ],
  [
    'a range that names an address',
    CLUSTER('networking: {podSubnet: 10.244.1.0/16}'),
    /podSubnet: "10\.244\.1\.0\/16" names an address within its range: 10\.244\.0\.0\/16 is used/,
  ],
  ['a long life', CLUSTER('certificateValidityPeriod: 9000h'), /9000h is longer than 365 days/],
  [
    'a life that is longer than the CA',
    CLUSTER('certificateValidityPeriod: 8000h\ncaCertificateValidityPeriod: 100h'),
    /8000h is longer than the 100h of the CA/,
  ],
  [
    'the gate of ECDSA',
    CLUSTER('featureGates: {PublicKeysECDSA: true}'),
    /PublicKeysECDSA: it is deprecated/,
  ],
  [
    'a server without anonymous requests',
    CLUSTER('apiServer: {extraArgs: [{name: anonymous-auth, value: "false"}]}'),
    /nodes cannot find the cluster by a token/,
  ],
  ['images that are not pulled', CLUSTER('imageRepository: r.example'), /imageRepository: it has no effect/],
  [
    'etcd beside the store',
    CLUSTER('etcd: {local: {dataDir: /x}}'),
    /etcd\.local\.dataDir: it has no effect/,
  ],
  ...(
    [
      ['KubeletConfiguration', 'rotateCertificates: false', /false is not used: it is always true/],
      [
        'KubeletConfiguration',
        'clusterDNS: [10.0.0.9]',
        /clusterDNS: \["10\.0\.0\.9"\] is kept, although .*10\.96\.0\.10/,
      ],
      [
        'KubeletConfiguration',
        'authentication: {anonymous: {enabled: true}}',
        /anonymous\.enabled: true is kept/,
      ],
      ['KubeletConfiguration', 'healthzPort: 1', /healthzPort: 1 is kept/],
      ['KubeProxyConfiguration', 'clusterCIDR: 10.9.0.0/16', /clusterCIDR: "10\.9\.0\.0\/16" is kept/],
      ['KubeProxyConfiguration', 'bindAddress: 10.0.0.1', /bindAddress: "10\.0\.0\.1" is kept/],
    ] as const
  ).map(([kind, fields, warning]): readonly [string, string, RegExp] => {
    const group =
      kind === 'KubeletConfiguration' ? 'kubelet.config.k8s.io/v1beta1' : 'kubeproxy.config.k8s.io/v1alpha1';
    return [`${kind} ${fields}`, `apiVersion: ${group}\nkind: ${kind}\n${fields}\n`, warning];
  }),
];

for (const [name, text, warning] of NOTED) {
  t.test(`loadConfiguration() warns of ${name}`, async (t) => {
    const { warnings } = await load('InitConfiguration', text);
    const others = warnings.filter((line) => !line.includes('it has no effect'));
    t.ok(warnings.length === 1 || others.length === 1, warnings.join('\n'));
    t.match(others[0] ?? warnings[0], warning);
  });
}

t.test('loadConfiguration() takes what is empty as not set', async (t) => {
  const plain = await load('InitConfiguration');
  const empty = await load(
    'InitConfiguration',
    `${INIT('nodeRegistration: {name: "", criSocket: "", imagePullPolicy: ""}\nlocalAPIEndpoint: {advertiseAddress: "", bindPort: 0}\nbootstrapTokens: []\ncertificateKey: ""')}---
${CLUSTER('kubernetesVersion: ""\nclusterName: ""\ncontrolPlaneEndpoint: ""\ncertificatesDir: ""\nimageRepository: ""\nnetworking: {podSubnet: "", serviceSubnet: "", dnsDomain: ""}\nencryptionAlgorithm: ""\netcd: {local: {dataDir: "", imageTag: ""}}\nfeatureGates: null')}`,
  );
  t.same(empty.warnings, []);
  const { bootstrapTokens, ...rest } = empty.config;
  const { bootstrapTokens: _, ...expected } = plain.config;
  t.equal(bootstrapTokens.length, 1);
  t.same(
    { ...rest, cluster: { ...rest.cluster, etcd: null } },
    { ...expected, cluster: { ...expected.cluster, etcd: null } },
  );
  t.equal(rest.cluster.etcd.local?.dataDir, '/var/lib/etcd');
});

t.test('loadConfiguration() fills in what depends on other fields', async (t) => {
  const ecdsa = await load('InitConfiguration', CLUSTER('featureGates: {PublicKeysECDSA: true}'));
  t.equal(ecdsa.config.cluster.encryptionAlgorithm, 'ECDSA-P256');
  const signing = await load('InitConfiguration', INIT('bootstrapTokens: [{usages: [signing]}]'));
  t.match(signing.config.bootstrapTokens, [{ usages: ['signing'], groups: [] }]);
  const zero = await load('InitConfiguration', INIT('timeouts: {discovery: 0s, etcdAPICall: 9s}'));
  t.match(zero.config.timeouts, { discoveryMs: 300_000, etcdAPICallMs: 9000 });
});

t.test('no message of the loader shows a secret', async (t) => {
  const secrets = ['abcdef.0123456789abcdef', 'f'.repeat(64), 'topsecret'];
  const [token, key, word] = secrets as [string, string, string];
  const texts: readonly (readonly [ConfigKind, string])[] = [
    ['InitConfiguration', INIT(`bootstrapTokens: ${token}`)],
    ['InitConfiguration', INIT(`bootstrapTokens: [{token: [${token}]}]`)],
    ['InitConfiguration', INIT(`bootstrapTokens: [{token: ${token}, usages: [${token}]}]`)],
    ['InitConfiguration', INIT(`certificateKey: {a: ${key}}`)],
    ['InitConfiguration', INIT(`nodeRegistration: {name: "${token}!"}`)],
    ['InitConfiguration', INIT(`nodeRegistration: {criSocket: ${key}}`)],
    ['InitConfiguration', INIT(`timeouts: {discovery: ${token}}`)],
    ['InitConfiguration', INIT(`certificateKey: *${token}`)],
    ['InitConfiguration', INIT(`certificateKey: "${key}\n  ${token}`)],
    ['InitConfiguration', CLUSTER(`apiServer: {extraEnvs: [{name: "a=", value: [${word}]}]}`)],
    ['InitConfiguration', CLUSTER(`apiServer: {extraEnvs: {password: ${word}}}`)],
    ['JoinConfiguration', JOIN(`discovery: {bootstrapToken: {token: ${word}}, tlsBootstrapToken: ${word}}`)],
    ['JoinConfiguration', JOIN(`discovery: ${token}`)],
    ['JoinConfiguration', JOIN(`discovery: {bootstrapToken: ${word}}`)],
    ['JoinConfiguration', JOIN(`controlPlane: {certificateKey: ${word}}`)],
  ];
  for (const [kind, text] of texts) {
    const error = await load(kind, text).catch((error: unknown) => error);
    if (!isTkadmError(error)) {
      t.fail(`accepted: ${text}`);
      continue;
    }
    const shown = JSON.stringify([error.message, error.hint, error.details, error.cause]);
    t.notOk(
      secrets.some((secret) => shown.includes(secret)),
      shown,
    );
  }
});

/** Flags that kubeadm allows beside --config, of those that set fields; force, engine and store are tkadm's. */
const MIXABLE = [
  'node-name',
  'version',
  'dry-run',
  'ignore-preflight-errors',
  'skip-phases',
  'force',
  'engine',
  'store',
];

t.test('flags beside --config: those of kubeadm and no others', async (t) => {
  for (const [kind, rows] of Object.entries(FLAG_FIELDS)) {
    for (const row of rows)
      t.equal(
        row.isMixable ?? false,
        MIXABLE.includes(row.flag.split('/').at(-1)!) && row.flag !== 'apply/force',
        `${kind} --${row.flag}`,
      );
  }
  await t.rejects(
    load('JoinConfiguration', JOIN(''), { token: 'x', 'api-server-endpoint': 'a:1', 'node-name': 'n' }),
    { code: 'CONFIG_FLAGS_MIXED', message: /'--config' with arguments \[the API server's address token\]/ },
  );
  const { config } = await load('InitConfiguration', INIT(''), {
    engine: 'upstream',
    'skip-phases': ['addon'],
  });
  t.match(config, { tkadm: { engine: 'upstream', store: 'etcd' }, skipPhases: ['addon'] });
});
