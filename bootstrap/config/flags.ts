import { TkadmError } from '../../runtime/base/errors.ts';
import type { RawDocument, RawObject } from './documents.ts';
import type { DocumentKindName } from './kinds.ts';
import type { ConfigKind } from './types.ts';

export type OverrideValue = string | number | boolean | readonly string[] | undefined;

/** Values of command-line flags by flag name, without "--"; undefined ones were not given. */
export type Overrides = Readonly<Record<string, OverrideValue>>;

interface FlagField {
  readonly flag: string;
  readonly document: DocumentKindName;
  /** Dotted path of the field; a number is a place in a list. */
  readonly path: string;
  readonly type: 'string' | 'number' | 'boolean' | 'switch' | 'list' | 'gates' | 'arguments';
  /** May be given beside a configuration file. */
  readonly isMixable?: boolean;
  /** Added to the list of the file, instead of in its place. */
  readonly isUnion?: boolean;
  /** How the command line calls it, where that is no "--flag". */
  readonly argument?: string;
}

const TKADM_FLAGS = [
  { flag: 'engine', document: 'TkadmConfiguration', path: 'engine', type: 'string', isMixable: true },
  { flag: 'store', document: 'TkadmConfiguration', path: 'store', type: 'string', isMixable: true },
] as const satisfies readonly FlagField[];

function nodeFlags(document: 'InitConfiguration' | 'JoinConfiguration'): readonly FlagField[] {
  return [
    { flag: 'node-name', document, path: 'nodeRegistration.name', type: 'string', isMixable: true },
    { flag: 'cri-socket', document, path: 'nodeRegistration.criSocket', type: 'string' },
    { flag: 'dry-run', document, path: 'dryRun', type: 'boolean', isMixable: true },
    {
      flag: 'ignore-preflight-errors',
      document,
      path: 'nodeRegistration.ignorePreflightErrors',
      type: 'list',
      isMixable: true,
      isUnion: true,
    },
    { flag: 'patches', document, path: 'patches.directory', type: 'string' },
    { flag: 'skip-phases', document, path: 'skipPhases', type: 'list', isMixable: true },
  ];
}

function cluster(flag: string, path: string, type: FlagField['type'] = 'string'): FlagField {
  return { flag, document: 'ClusterConfiguration', path, type };
}

function join(flag: string, path: string, type: FlagField['type'] = 'string'): FlagField {
  return { flag, document: 'JoinConfiguration', path, type };
}

/** What a flag of `upgrade STEP` is called here: each step has its own part of the document. */
export function upgradeFlag(step: UpgradeStepName, flag: string): string {
  return `${step}/${flag}`;
}

export type UpgradeStepName = 'apply' | 'node' | 'plan' | 'diff';

type UpgradeFlagRow = Pick<FlagField, 'type' | 'isMixable' | 'isUnion'> & {
  readonly flag: string;
  readonly field: string;
  readonly steps: readonly UpgradeStepName[];
};

const UPGRADE_FLAGS: readonly UpgradeFlagRow[] = [
  // The operand of the command.
  {
    flag: 'version',
    field: 'kubernetesVersion',
    type: 'string',
    steps: ['apply', 'plan', 'diff'],
    isMixable: true,
  },
  {
    flag: 'allow-experimental-upgrades',
    field: 'allowExperimentalUpgrades',
    type: 'boolean',
    steps: ['apply', 'plan'],
  },
  {
    flag: 'allow-release-candidate-upgrades',
    field: 'allowRCUpgrades',
    type: 'boolean',
    steps: ['apply', 'plan'],
  },
  { flag: 'certificate-renewal', field: 'certificateRenewal', type: 'switch', steps: ['apply', 'node'] },
  { flag: 'dry-run', field: 'dryRun', type: 'boolean', steps: ['apply', 'node'], isMixable: true },
  { flag: 'etcd-upgrade', field: 'etcdUpgrade', type: 'switch', steps: ['apply', 'node', 'plan'] },
  { flag: 'force', field: 'forceUpgrade', type: 'boolean', steps: ['apply'] },
  {
    flag: 'ignore-preflight-errors',
    field: 'ignorePreflightErrors',
    type: 'list',
    steps: ['apply', 'node', 'plan'],
    isMixable: true,
    isUnion: true,
  },
  { flag: 'patches', field: 'patches.directory', type: 'string', steps: ['apply', 'node'] },
  { flag: 'print-config', field: 'printConfig', type: 'boolean', steps: ['apply', 'plan'] },
  { flag: 'skip-phases', field: 'skipPhases', type: 'list', steps: ['apply', 'node'], isMixable: true },
  { flag: 'context-lines', field: 'contextLines', type: 'number', steps: ['diff'] },
];

function upgradeFlags(step: UpgradeStepName): readonly FlagField[] {
  return UPGRADE_FLAGS.filter((row) => row.steps.includes(step)).map(({ flag, field, steps: _, ...row }) => ({
    ...row,
    flag: upgradeFlag(step, flag),
    argument: flag,
    document: 'UpgradeConfiguration',
    path: `${step}.${field}`,
  }));
}

/** The field that each flag of a command sets. `api-server-endpoint` is join's positional argument. */
export const FLAG_FIELDS: Readonly<Record<ConfigKind, readonly FlagField[]>> = {
  InitConfiguration: [
    ...nodeFlags('InitConfiguration'),
    ...TKADM_FLAGS,
    {
      flag: 'apiserver-advertise-address',
      document: 'InitConfiguration',
      path: 'localAPIEndpoint.advertiseAddress',
      type: 'string',
    },
    {
      flag: 'apiserver-bind-port',
      document: 'InitConfiguration',
      path: 'localAPIEndpoint.bindPort',
      type: 'number',
    },
    { flag: 'certificate-key', document: 'InitConfiguration', path: 'certificateKey', type: 'string' },
    { flag: 'token', document: 'InitConfiguration', path: 'bootstrapTokens.0.token', type: 'string' },
    { flag: 'token-ttl', document: 'InitConfiguration', path: 'bootstrapTokens.0.ttl', type: 'string' },
    cluster('apiserver-cert-extra-sans', 'apiServer.certSANs', 'list'),
    cluster('apiserver-extra-args', 'apiServer.extraArgs', 'arguments'),
    cluster('controller-manager-extra-args', 'controllerManager.extraArgs', 'arguments'),
    cluster('scheduler-extra-args', 'scheduler.extraArgs', 'arguments'),
    cluster('cert-dir', 'certificatesDir'),
    cluster('control-plane-endpoint', 'controlPlaneEndpoint'),
    cluster('feature-gates', 'featureGates', 'gates'),
    cluster('image-repository', 'imageRepository'),
    cluster('kubernetes-version', 'kubernetesVersion'),
    cluster('pod-network-cidr', 'networking.podSubnet'),
    cluster('service-cidr', 'networking.serviceSubnet'),
    cluster('service-dns-domain', 'networking.dnsDomain'),
  ],
  JoinConfiguration: [
    ...nodeFlags('JoinConfiguration'),
    {
      ...join('api-server-endpoint', 'discovery.bootstrapToken.apiServerEndpoint'),
      argument: "the API server's address",
    },
    join('token', 'discovery.bootstrapToken.token'),
    join('discovery-token', 'discovery.bootstrapToken.token'),
    join('tls-bootstrap-token', 'discovery.tlsBootstrapToken'),
    join('discovery-token-ca-cert-hash', 'discovery.bootstrapToken.caCertHashes', 'list'),
    join(
      'discovery-token-unsafe-skip-ca-verification',
      'discovery.bootstrapToken.unsafeSkipCAVerification',
      'boolean',
    ),
    join('discovery-file', 'discovery.file.kubeConfigPath'),
    join('control-plane', 'controlPlane', 'boolean'),
    join('apiserver-advertise-address', 'controlPlane.localAPIEndpoint.advertiseAddress'),
    join('apiserver-bind-port', 'controlPlane.localAPIEndpoint.bindPort', 'number'),
    join('certificate-key', 'controlPlane.certificateKey'),
  ],
  ResetConfiguration: [
    { flag: 'cert-dir', document: 'ResetConfiguration', path: 'certificatesDir', type: 'string' },
    { flag: 'cri-socket', document: 'ResetConfiguration', path: 'criSocket', type: 'string' },
    { flag: 'cleanup-tmp-dir', document: 'ResetConfiguration', path: 'cleanupTmpDir', type: 'boolean' },
    { flag: 'dry-run', document: 'ResetConfiguration', path: 'dryRun', type: 'boolean', isMixable: true },
    { flag: 'force', document: 'ResetConfiguration', path: 'force', type: 'boolean', isMixable: true },
    {
      flag: 'ignore-preflight-errors',
      document: 'ResetConfiguration',
      path: 'ignorePreflightErrors',
      type: 'list',
      isMixable: true,
      isUnion: true,
    },
    {
      flag: 'skip-phases',
      document: 'ResetConfiguration',
      path: 'skipPhases',
      type: 'list',
      isMixable: true,
    },
  ],
  UpgradeConfiguration: [
    ...upgradeFlags('apply'),
    ...upgradeFlags('node'),
    ...upgradeFlags('plan'),
    ...upgradeFlags('diff'),
  ],
};

/**
 * Checks that flags given beside a configuration file do not say what the file says.
 * @throws CONFIG_FLAGS_MIXED naming the flags.
 */
export function checkMixedFlags(kind: ConfigKind, overrides: Overrides): void {
  const mixed = FLAG_FIELDS[kind]
    .filter((row) => !row.isMixable && isGiven(overrides[row.flag]))
    .map((row) => row.argument ?? row.flag);
  if (mixed.length === 0) return;
  throw new TkadmError(
    'CONFIG_FLAGS_MIXED',
    `Cannot mix '--config' with arguments [${mixed.join(' ')}]: the file holds these settings`,
    { hint: 'Write the settings into the configuration file, or leave --config out' },
  );
}

/**
 * Puts the values of flags into the documents' fields.
 * @throws CONFIG_INVALID for a value that does not fit its flag.
 */
export function applyOverrides(
  documents: readonly RawDocument[],
  kind: ConfigKind,
  overrides: Overrides,
): readonly RawDocument[] {
  const rows = FLAG_FIELDS[kind].filter((row) => isGiven(overrides[row.flag]));
  checkKnown(kind, overrides);
  if (kind === 'JoinConfiguration') checkControlPlaneFlags(documents, overrides);
  const result = [...documents];
  for (const row of rows) {
    let index = result.findIndex((document) => document.kind === row.document);
    if (index < 0) {
      index = result.push({ kind: row.document, version: '', isDeprecated: false, fields: {} }) - 1;
    }
    const target = result[index]!;
    const value = convert(row, overrides[row.flag]);
    result[index] = { ...target, fields: setAt(target.fields, row.path.split('.'), value, row) as RawObject };
  }
  return result;
}

function checkKnown(kind: ConfigKind, overrides: Overrides): void {
  const unknown = Object.keys(overrides).find(
    (flag) => isGiven(overrides[flag]) && !FLAG_FIELDS[kind].some((row) => row.flag === flag),
  );
  if (unknown) throw new Error(`flag "${unknown}" has no row in FLAG_FIELDS of ${kind}`);
}

/** A worker has no API server: its flags make no sense without --control-plane. */
function checkControlPlaneFlags(documents: readonly RawDocument[], overrides: Overrides): void {
  const isControlPlane =
    isGiven(overrides['control-plane']) || documents.some((row) => row.fields['controlPlane'] !== undefined);
  const flag = ['apiserver-advertise-address', 'apiserver-bind-port', 'certificate-key'].find((name) =>
    isGiven(overrides[name]),
  );
  if (isControlPlane || flag === undefined) return;
  throw new TkadmError('CONFIG_INVALID', `Cannot use "--${flag}": the node joins without --control-plane`);
}

/** True for a flag that was given; an empty list and a false switch say nothing. */
export function isGiven(value: OverrideValue): boolean {
  return value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0);
}

function convert(row: FlagField, value: OverrideValue): unknown {
  const fail = (state: string) =>
    new TkadmError('CONFIG_INVALID', `Cannot use "--${row.argument ?? row.flag}=${String(value)}": ${state}`);
  switch (row.type) {
    case 'string':
      return String(value);
    case 'number': {
      const number = Number(value);
      if (value === '' || !Number.isInteger(number)) throw fail('it is no whole number');
      return number;
    }
    case 'boolean':
      return row.path === 'controlPlane' ? {} : true;
    case 'switch': {
      const text = String(value);
      if (text !== 'true' && text !== 'false') throw fail('it is neither true nor false');
      return text === 'true';
    }
    case 'list':
      return Array.isArray(value) ? value : String(value).split(',').filter(Boolean);
    case 'arguments': {
      const texts = (Array.isArray(value) ? value : [value]).map(String);
      const pairs = texts.flatMap(splitArguments).map((text) => /^([^=]+)=(.*)$/.exec(text));
      if (pairs.some((pair) => !pair)) throw fail('write it like "name=value,other=value"');
      return pairs.map((pair) => ({ name: pair![1], value: pair![2] }));
    }
    case 'gates': {
      const pairs = (Array.isArray(value) ? value : String(value).split(',')).map((pair) =>
        /^([^=]+)=(true|false)$/.exec(pair),
      );
      if (pairs.some((pair) => !pair)) throw fail('write it like "Name=true,Other=false"');
      return Object.fromEntries(pairs.map((pair) => [pair![1], pair![2] === 'true']));
    }
  }
}

/** "a=1,b=2" → ["a=1", "b=2"]; with one "=" the commas are the value's, as kubeadm has it. */
function splitArguments(text: string): readonly string[] {
  return text.split('=').length === 2 ? [text] : text.split(',');
}

function setAt(target: unknown, path: readonly string[], value: unknown, row: FlagField): unknown {
  const [head, ...rest] = path;
  if (head === undefined) {
    if (row.isUnion && Array.isArray(target)) return [...new Set([...target, ...(value as string[])])];
    const isObject = typeof value === 'object' && !Array.isArray(value);
    return isObject && typeof target === 'object' ? { ...target, ...value } : value;
  }
  if (/^\d+$/.test(head)) {
    const items = Array.isArray(target) ? [...target] : [];
    items[Number(head)] = setAt(items[Number(head)], rest, value, row);
    return items;
  }
  const object = (target ?? {}) as RawObject;
  return { ...object, [head]: setAt(object[head], rest, value, row) };
}
