import type { RawObject } from '../../../bootstrap/config/documents.ts';
import { apiVersionOf, type DocumentKindName } from '../../../bootstrap/config/kinds.ts';
import type { Schema } from '../../../bootstrap/config/schema-parts.ts';
import { OLD_SCHEMAS, SCHEMAS } from '../../../bootstrap/config/schemas.ts';
import { UNFOLLOWED_FIELDS } from '../../../runtime/agent/kubelet-config-fields.ts';
import type { Random } from '../../random.ts';

export type GeneratedDocument = Readonly<Record<string, unknown>> & { readonly kind: DocumentKindName };

/** What decides values that have to fit each other. */
interface Setting {
  readonly engine: 'embedded' | 'upstream';
  readonly family: 4 | 6 | 'both';
  readonly version: 'v1beta4' | 'v1beta3';
}

type Value = (random: Random, setting: Setting) => unknown;

/** Texts that YAML writers like to get wrong. */
const AWKWARD = [
  ...['yes', 'null', '~', '1e3', '0x1f', '0o17', '12:30', '2026-11-21', '- a', '#x', 'a: b', 'a #b', '*a'],
  ...['&a', '!t', '%', '@', '`', ' lead', 'trail ', 'two\nlines', 'tab\there', "it's", '"q"', '\\', 'é ☃'],
];
const HEX = '0123456789abcdef';
const NAMES = ['a', 'node-1', 'x.example.com', '10-0-0-1', 'abc123'];
const PATHS = ['/a', '/etc/kubernetes/pki', '/var/lib/x y', '/é'];
const VERSIONS = ['v1.35.0', 'v1.35.9-rc.1', '1.36.2', 'v1.36.2+build.5'];

const text: Value = (random) => (random.chance(0.3) ? random.pick(AWKWARD) : `text${random.int(1000)}`);
const path: Value = (random) => random.pick(PATHS);
const name: Value = (random) => random.pick(NAMES);
const duration: Value = (random) =>
  random.pick(['5s', '90s', '1m30s', '2h0m0s', '500ms', `${1 + random.int(500)}m`, '1.5h']);
const listOf =
  (value: Value): Value =>
  (random, setting) =>
    Array.from({ length: random.int(3) }, () => value(random, setting));
const one =
  (...values: readonly unknown[]): Value =>
  (random) =>
    random.pick(values);
const sans = listOf(one('a.example', '*.example.com', '10.0.0.9', 'fd00::9', 'Upper.Example'));
const repository = one('registry.example.com:5000/path', 'k8s.example/a__b', 'localhost:5000', 'docker.io/x');
const checks = listOf(one('Swap', 'NumCPU', 'Port-6443', 'Unknown'));

const token: Value = (random) => {
  const part = (length: number) =>
    Array.from({ length }, () => random.pick([...'abcdefghijklmnopqrstuvwxyz0123456789'])).join('');
  return `${part(6)}.${part(16)}`;
};

const bootstrapToken: Value = (random, setting) => ({
  token: token(random, setting),
  ...(random.chance(0.5) ? { description: text(random, setting) } : {}),
  ...random.pick([
    {},
    { ttl: duration(random, setting) },
    { ttl: '0s' },
    { expires: '2031-02-03T04:05:06Z' },
  ]),
  ...random.pick([
    {},
    { usages: ['signing'] },
    { usages: ['signing', 'authentication'], groups: ['system:bootstrappers:a:b'] },
  ]),
});

const networking: Value = (random, { family }) => {
  const rows = {
    4: { serviceSubnet: '10.96.0.0/12', podSubnet: '10.244.0.0/16' },
    6: { serviceSubnet: 'fd00:1::/112', podSubnet: 'fd00:2::/56' },
    both: { serviceSubnet: '10.96.0.0/16,fd00:1::/112', podSubnet: '10.32.0.0/13,fd00:2::/50' },
  } as const;
  const { serviceSubnet, podSubnet } = rows[family];
  return {
    // Without it Services are of IPv4, which is wrong for an address of IPv6.
    ...(family === 4 && random.chance(0.5) ? {} : { serviceSubnet }),
    ...(random.chance(0.5) ? { podSubnet } : {}),
    ...(random.chance(0.5) ? { dnsDomain: 'k8s.example' } : {}),
  };
};

const localAPIEndpoint: Value = (random, { family }) => ({
  advertiseAddress: family === 6 ? '2001:db8::5' : '192.0.2.5',
  ...(random.chance(0.5) ? { bindPort: 1 + random.int(65535) } : {}),
});

const discovery: Value = (random, setting) => {
  const pin = `sha256:${Array.from({ length: 64 }, () => random.pick([...HEX])).join('')}`;
  const bootstrap = {
    token: token(random, setting),
    apiServerEndpoint: random.pick(['10.0.0.1:6443', '[fd00::1]:6443', 'api.example:1']),
    ...random.pick([{ caCertHashes: [pin] }, { unsafeSkipCAVerification: true }]),
  };
  const file = { kubeConfigPath: random.pick(['/a/b', 'https://example.com/x']) };
  return {
    ...(random.chance(0.7) ? { bootstrapToken: bootstrap } : { file }),
    ...(random.chance(0.3) ? { tlsBootstrapToken: token(random, setting) } : {}),
    ...(setting.version === 'v1beta3' && random.chance(0.5) ? { timeout: duration(random, setting) } : {}),
  };
};

const etcd: Value = (random, setting) => {
  const external = {
    endpoints: ['https://10.0.0.1:2379', 'https://[fd00::1]:2379'],
    ...random.pick([{}, { caFile: '/ca', certFile: '/c', keyFile: '/k' }]),
  };
  const isExternal = setting.engine === 'upstream' && random.chance(0.5);
  if (isExternal) return { external };
  const schema = schemaAt(schemaOf('ClusterConfiguration', setting.version), ['etcd', 'local']);
  return { local: generate(schema, 'etcd.local', { random, setting }) };
};

/** Fields whose values follow rules, by the end of their path; the first that fits counts. */
const VALUES: readonly (readonly [RegExp, Value])[] = [
  [/^bootstrapTokens$/, listOf(bootstrapToken)],
  [
    /^certificateKey$|\.certificateKey$/,
    (random) => Array.from({ length: 64 }, () => random.pick([...HEX])).join(''),
  ],
  [/nodeRegistration\.name$/, name],
  [/criSocket$/i, one('unix:///run/a.sock', '/run/b.sock', 'unix:///x y')],
  [
    /nodeRegistration\.taints$/,
    one(
      [],
      [{ key: 'a', effect: 'NoSchedule' }],
      [{ key: 'example.com/b', value: 'v', effect: 'NoExecute' }],
    ),
  ],
  [/imagePullPolicy$/, one('Always', 'IfNotPresent', 'Never')],
  [/ignorePreflightErrors$/, checks],
  [/(localAPIEndpoint)$/, localAPIEndpoint],
  [/patches\.directory$|certificatesDir$|dataDir$/, path],
  [/caCertPath$/, one('/etc/kubernetes/pki/ca.crt', '/x.crt')],
  [/^discovery$/, discovery],
  [/^networking$/, networking],
  [/^etcd$/, etcd],
  [/^clusterName$/, name],
  [/^controlPlaneEndpoint$/, one('api.example', 'api.example:8443', '10.0.0.1', '[fd00::1]:6443')],
  [/imageRepository$/, repository],
  [/imageTag$/, one('v1.2.3', '3.6.8-0', 'latest')],
  [/^encryptionAlgorithm$/, one('RSA-2048', 'RSA-4096', 'ECDSA-P256', 'ECDSA-P384')],
  [/^featureGates$/, one({}, { NodeLocalCRISocket: true }, { RootlessControlPlane: false })],
  [/ertSANs$/, sans],
  [/extraEnvs$/, listOf((random, setting) => ({ name: `V${random.int(9)}`, value: text(random, setting) }))],
  [
    /extraVolumes$/,
    listOf((random) => ({
      name: `v${random.int(99)}`,
      hostPath: '/h',
      mountPath: '/m',
      readOnly: random.chance(0.5),
      pathType: random.pick(['', 'Directory', 'FileOrCreate']),
    })),
  ],
  [/ubernetesVersion$/, (random, { engine }) => (engine === 'embedded' ? 'v1.36.2' : random.pick(VERSIONS))],
  [/unmountFlags$/, one([], ['MNT_FORCE'], ['MNT_DETACH', 'UMOUNT_NOFOLLOW'], ['MNT_EXPIRE'])],
  [/contextLines$/, (random) => random.int(20)],
  [/^mode$/, (random, { engine }) => (engine === 'embedded' ? random.pick(['', 'nftables']) : 'ipvs')],
  [/^nodePortAddresses$/, (_, { engine }) => (engine === 'embedded' ? [] : ['10.0.0.0/8'])],
  [/^engine$/, (_, { engine }) => engine],
  [/^store$/, (_, { engine }) => (engine === 'embedded' ? 'embedded' : 'etcd')],
  [/[aA]rgs$/, (random, setting) => args(random, setting)],
];

const args: Value = (random, setting) => {
  // The embedded programs know few arguments, and those only with values of their kind.
  const isEmbedded = setting.engine === 'embedded';
  const names = random.some(
    isEmbedded ? ['v'] : ['v', 'audit-log-path', 'bind-address', 'feature-gates', 'zz'],
  );
  const value = () => (isEmbedded ? String(random.int(9)) : String(text(random, setting)));
  const pairs = names.map((key) => [key, value()] as const);
  if (setting.version === 'v1beta3') return Object.fromEntries(pairs);
  const repeated = random.chance(0.3) ? [...pairs, ...pairs] : pairs;
  return repeated.map(([key, value]) => ({ name: key, value }));
};

interface Context {
  readonly random: Random;
  readonly setting: Setting;
}

/** A value that a schema allows, and the rules too. */
function generate(schema: Schema, at: string, context: Context): unknown {
  const { random, setting } = context;
  const rule = VALUES.find(([pattern]) => pattern.test(at));
  if (rule) return rule[1](random, setting);
  const { type, properties, items, additionalProperties, pattern } = schema as {
    readonly type?: string;
    readonly properties?: Readonly<Record<string, Schema>>;
    readonly items?: Schema;
    readonly additionalProperties?: Schema | boolean;
    readonly pattern?: string;
    readonly required?: readonly string[];
  };
  if (pattern) return duration(random, setting);
  switch (type) {
    case 'string':
      return text(random, setting);
    case 'boolean':
      return random.chance(0.5);
    case 'integer':
      return random.int(60_000) - 1000;
    case 'number':
      return random.int(1000) / 8;
    case 'array':
      return Array.from({ length: random.int(3) }, (_, i) => generate(items!, `${at}[${i}]`, context));
  }
  if (properties) {
    const { required = [] } = schema as { readonly required?: readonly string[] };
    const names = Object.keys(properties).filter((key) => required.includes(key) || random.chance(0.4));
    return Object.fromEntries(
      names.map((key) => [key, generate(properties[key]!, at === '' ? key : `${at}.${key}`, context)]),
    );
  }
  const inner = typeof additionalProperties === 'object' ? additionalProperties : { type: 'string' };
  const keys = random.some(['a', 'b.c', 'with space', 'memory.available', '0']);
  return Object.fromEntries(keys.map((key) => [key, generate(inner, `${at}.${key}`, context)]));
}

/** The schema of a kind in a version. */
export function schemaOf(kind: DocumentKindName, version: string): Schema {
  return OLD_SCHEMAS[version]?.[kind] ?? SCHEMAS[kind];
}

function schemaAt(schema: Schema, keys: readonly string[]): Schema {
  return keys.reduce((inner, key) => (inner['properties'] as Readonly<Record<string, Schema>>)[key]!, schema);
}

/** A set of documents that a command accepts, for each kind of command. */
export const SETS = [
  ['InitConfiguration', 'ClusterConfiguration', 'KubeletConfiguration', 'KubeProxyConfiguration'],
  ['JoinConfiguration'],
  ['ResetConfiguration'],
  ['UpgradeConfiguration'],
] as const satisfies readonly (readonly DocumentKindName[])[];

/** Valid documents for the command of `kinds[0]`, which is among them. */
export function generateDocuments(
  random: Random,
  kinds: readonly DocumentKindName[],
  version: Setting['version'] = 'v1beta4',
): readonly GeneratedDocument[] {
  const engine = random.pick(['embedded', 'upstream'] as const);
  const setting = {
    engine,
    family: engine === 'embedded' ? 4 : random.pick([4, 6, 'both'] as const),
    version,
  };
  // Ranges and address are in two documents that have to fit: with IPv6 both are written.
  const needed: readonly DocumentKindName[] =
    setting.family === 4 ? kinds.slice(0, 1) : ['InitConfiguration', 'ClusterConfiguration', kinds[0]!];
  const chosen = kinds.filter((kind) => needed.includes(kind) || random.chance(0.6));
  const documents = chosen.map((kind) => {
    const isOld = version === 'v1beta3' && OLD_SCHEMAS[version]?.[kind] !== undefined;
    const schema = schemaOf(kind, isOld ? version : '');
    const fields = generate(schema, '', {
      random,
      setting: { ...setting, version: isOld ? version : 'v1beta4' },
    });
    const apiVersion = isOld ? `kubeadm.k8s.io/${version}` : apiVersionOf(kind);
    return { apiVersion, kind, ...addNeeded(kind, fields as RawObject, { random, setting }) };
  });
  const tkadm = {
    apiVersion: apiVersionOf('TkadmConfiguration'),
    kind: 'TkadmConfiguration',
    engine,
  } as const;
  return [...documents, tkadm];
}

const REFUSED_BY_AGENT = UNFOLLOWED_FIELDS.filter((field) => field.isRefused).map((field) => field.path);

/** Fields that have no default: how to find the cluster, and addresses of IPv6; none that an engine refuses. */
function addNeeded(kind: DocumentKindName, fields: RawObject, { random, setting }: Context): RawObject {
  if (kind === 'JoinConfiguration') return { ...fields, discovery: discovery(random, setting) };
  if (kind === 'KubeProxyConfiguration' && setting.engine === 'embedded')
    return { ...fields, featureGates: {} };
  if (kind === 'KubeletConfiguration' && setting.engine === 'embedded')
    return Object.fromEntries(Object.entries(fields).filter(([name]) => !REFUSED_BY_AGENT.includes(name)));
  if (setting.family === 4) return fields;
  if (kind === 'InitConfiguration') return { ...fields, localAPIEndpoint: localAPIEndpoint(random, setting) };
  if (kind === 'ClusterConfiguration') return { ...fields, networking: networking(random, setting) };
  return fields;
}
