import { dump } from 'js-yaml';
import t from 'tap';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import { formatFieldPath } from '../../../bootstrap/config/places.ts';
import type { FieldProblem } from '../../../bootstrap/config/problems.ts';
import type { Schema } from '../../../bootstrap/config/schema-parts.ts';
import type { ConfigKind } from '../../../bootstrap/config/types.ts';
import { isTkadmError } from '../../../runtime/base/errors.ts';
import { createRandom, type Random } from '../../random.ts';
import { type GeneratedDocument, generateDocuments, SETS, schemaOf } from './generate.ts';

const SEED = 20261122;
const RUNS = 40;
const MACHINE = { hostname: 'node-1', advertiseAddress: '192.0.2.5' };

type Mutable = Record<string, unknown>;

/** A place in a document with the schema that it has to fit. */
interface Place {
  readonly pointer: string;
  readonly parent: Mutable;
  readonly key: string;
  readonly schema: Schema;
}

/** Every field of a document that a schema describes. */
function listPlaces(value: unknown, schema: Schema, pointer = ''): readonly Place[] {
  if (Array.isArray(value)) {
    return value.flatMap((item, i) => listPlaces(item, schema['items'] as Schema, `${pointer}/${i}`));
  }
  const properties = schema['properties'] as Readonly<Record<string, Schema>> | undefined;
  if (typeof value !== 'object' || value === null || !properties) return [];
  return Object.entries(value)
    .filter(([key]) => Object.hasOwn(properties, key))
    .flatMap(([key, item]) => [
      { pointer: `${pointer}/${key}`, parent: value as Mutable, key, schema: properties[key]! },
      ...listPlaces(item, properties[key]!, `${pointer}/${key}`),
    ]);
}

/** Mappings that have no other fields than the schema's. */
function listMappings(
  value: unknown,
  schema: Schema,
  pointer = '',
): readonly { pointer: string; value: Mutable }[] {
  if (Array.isArray(value)) {
    return value.flatMap((item, i) => listMappings(item, schema['items'] as Schema, `${pointer}/${i}`));
  }
  const properties = schema['properties'] as Readonly<Record<string, Schema>> | undefined;
  if (typeof value !== 'object' || value === null || !properties) return [];
  return [
    { pointer, value: value as Mutable },
    ...Object.entries(value).flatMap(([key, item]) =>
      properties[key] ? listMappings(item, properties[key], `${pointer}/${key}`) : [],
    ),
  ];
}

/** What is to be said of a damaged document. */
interface Damage {
  readonly path: string;
  readonly rule: FieldProblem['rule'];
  readonly says?: string;
  /** The key in the line that is named. */
  readonly key: string;
  /** Replaces the document's text. */
  readonly text?: string;
}

type Harm = (random: Random, document: GeneratedDocument, schema: Schema) => Damage | undefined;

const HARMS: Readonly<Record<string, Harm>> = {
  'an unknown field': (random, document, schema) => {
    const { pointer, value } = random.pick(listMappings(document, schema));
    const key = `zz${random.int(1000)}`;
    value[key] = 'x';
    return { path: formatFieldPath(`${pointer}/${key}`), rule: 'Unknown field', key };
  },
  'a field in the wrong case': (random, document, schema) => {
    const places = listPlaces(document, schema);
    if (places.length === 0) return undefined;
    const { pointer, parent, key } = random.pick(places);
    const wrong = random.pick([key.toUpperCase(), key[0]!.toUpperCase() + key.slice(1)]);
    parent[wrong] = parent[key];
    delete parent[key];
    const path = formatFieldPath(`${pointer.slice(0, pointer.lastIndexOf('/'))}/${wrong}`);
    return { path, rule: 'Unknown field', key: wrong, says: `write "${key}"` };
  },
  'a value of the wrong type': (random, document, schema) => {
    const places = listPlaces(document, schema).filter((place) => place.schema['type'] !== undefined);
    if (places.length === 0) return undefined;
    const place = random.pick(places);
    const wrong: Readonly<Record<string, readonly unknown[]>> = {
      string: [7, true, ['x'], { a: 1 }],
      boolean: ['yes', 1, []],
      integer: ['7', 1.5, false],
      number: ['7', false],
      array: ['x', { a: 1 }, 3],
      object: ['x', ['x'], 5],
    };
    place.parent[place.key] = random.pick(wrong[String(place.schema['type'])]!);
    return { path: formatFieldPath(place.pointer), rule: 'Invalid value', key: place.key };
  },
  'a field twice': (random, document) => {
    const lines = dump(document, { noRefs: true, lineWidth: -1 }).split('\n');
    // Keys of the document itself, whose values stand in one line.
    const candidates = lines.flatMap((line, i) => (/^[A-Za-z]+: [^|>]/.test(line) ? [i] : []));
    const at = random.pick(candidates);
    const key = lines[at]!.split(':')[0]!;
    const text = [...lines.slice(0, -1), lines[at], ''].join('\n');
    return { path: key, rule: 'Duplicate field', key, text };
  },
};

/** Values that their rules do not allow. */
const OUT_OF_RANGE: Readonly<Record<string, readonly (readonly [path: string, value: unknown])[]>> = {
  InitConfiguration: [
    ['localAPIEndpoint.bindPort', 65_536],
    ['localAPIEndpoint.bindPort', -1],
    ['localAPIEndpoint.advertiseAddress', '300.0.0.1'],
    ['localAPIEndpoint.advertiseAddress', '224.0.0.1'],
    ['nodeRegistration.name', 'under_score'],
    ['nodeRegistration.criSocket', 'http://x'],
    ['nodeRegistration.imagePullPolicy', 'Sometimes'],
    ['nodeRegistration.ignorePreflightErrors', ['all', 'Swap']],
    ['certificateKey', 'abc'],
    ['patches.directory', 'relative'],
    ['timeouts.discovery', '-5s'],
  ],
  ClusterConfiguration: [
    ['kubernetesVersion', 'v1.99.0'],
    ['kubernetesVersion', 'one'],
    ['clusterName', 'Upper'],
    ['controlPlaneEndpoint', 'https://a:6443'],
    ['certificatesDir', 'pki'],
    ['imageRepository', 'UPPER/x:tag'],
    ['networking.serviceSubnet', '10.96.0.0/30'],
    ['networking.serviceSubnet', '10.0.0.0/8'],
    ['networking.podSubnet', '10.244.0.0/28'],
    ['networking.podSubnet', '10.100.0.0/16'],
    ['networking.dnsDomain', 'a_b'],
    ['encryptionAlgorithm', 'RSA-512'],
    ['certificateValidityPeriod', '0s'],
    ['caCertificateValidityPeriod', '-1h'],
    ['featureGates.IPv6DualStack', true],
    ['dns.imageTag', 'a b'],
  ],
  JoinConfiguration: [
    ['caCertPath', '/etc/ca.pem'],
    ['nodeRegistration.name', 'a..b'],
    ['discovery.tlsBootstrapToken', 'x'],
    ['timeouts.tlsBootstrap', '-1s'],
    ['controlPlane.certificateKey', 'zz'],
  ],
  ResetConfiguration: [
    ['certificatesDir', 'pki'],
    ['criSocket', 'tcp://x'],
    ['unmountFlags[0]', 'MNT_X'],
  ],
  UpgradeConfiguration: [
    ['diff.contextLines', -1],
    ['apply.kubernetesVersion', 'x'],
    ['node.imagePullPolicy', 'x'],
    ['plan.ignorePreflightErrors', ['ALL', 'b']],
    ['apply.patches.directory', 'x'],
  ],
};

async function problemsOf(kind: ConfigKind, text: string): Promise<readonly FieldProblem[]> {
  try {
    await loadConfiguration({ kind, text, defaultsFrom: MACHINE });
    return [];
  } catch (error) {
    if (!isTkadmError(error, 'CONFIG_INVALID')) throw error;
    const shown = JSON.stringify([error.message, error.hint, error.details]);
    const secret = secretsOf(text).find((value) => shown.includes(value));
    if (secret) throw new Error(`a secret of the file is shown: ${shown}`);
    return (error.details?.['problems'] ?? []) as readonly FieldProblem[];
  }
}

/** Bootstrap tokens and certificate keys of a text; pins of CAs are public. */
function secretsOf(text: string): readonly string[] {
  return [...text.matchAll(/\b[a-z0-9]{6}\.[a-z0-9]{16}\b|(?<=ertificateKey: ['"]?)[0-9a-f]{64}\b/g)].map(
    (match) => match[0],
  );
}

/** The problem that the damage is, in a line that has the key. */
function isNamed(problems: readonly FieldProblem[], damage: Damage, text: string): boolean {
  return problems.some(({ path, rule, message, source }) => {
    const line = text.split('\n')[Number(/^line (\d+)$/.exec(source ?? '')?.[1]) - 1] ?? '';
    const isThere = path === damage.path && rule === damage.rule && message.includes(damage.says ?? '');
    return isThere && line.includes(damage.key);
  });
}

for (const [title, harm] of Object.entries(HARMS)) {
  for (const kinds of SETS) {
    t.test(`${title} in ${kinds[0]} and others is refused with its path and line`, async (t) => {
      for (let seed = SEED; seed < SEED + RUNS; seed += 1) {
        const random = createRandom(seed);
        const documents = structuredClone(generateDocuments(random, kinds)) as GeneratedDocument[];
        const target = random.int(documents.length);
        const damage = harm(random, documents[target]!, schemaOf(documents[target]!.kind, ''));
        if (!damage) continue;
        const text = documents
          .map((row, i) => (i === target && damage.text) || dump(row, { noRefs: true, lineWidth: -1 }))
          .join('---\n');
        const problems = await problemsOf(kinds[0], text);
        t.ok(isNamed(problems, damage, text), `seed ${seed}: ${damage.path}`, { problems, damage, text });
      }
    });
  }
}

t.test('values out of range are refused with their path', async (t) => {
  for (const kinds of SETS) {
    for (const kind of kinds) {
      for (const [i, [path, value]] of (OUT_OF_RANGE[kind] ?? []).entries()) {
        const random = createRandom(SEED + i);
        const documents = structuredClone(generateDocuments(random, [kinds[0], kind])) as GeneratedDocument[];
        const others = documents.filter((row) => row.kind !== kind);
        const own = documents.find((row) => row.kind === kind) ?? {
          apiVersion: 'kubeadm.k8s.io/v1beta4',
          kind,
        };
        setAt(own as Mutable, path, value);
        const text = [...others, own].map((row) => dump(row, { noRefs: true, lineWidth: -1 })).join('---\n');
        const problems = await problemsOf(kinds[0], text);
        const found = problems.find((problem) => problem.path === path);
        t.ok(found, `${kind} ${path} = ${JSON.stringify(value)}`, { problems, text });
        t.match(found?.source, /^line \d+$/);
      }
    }
  }
});

t.test('what init only warns of is accepted without it', async (t) => {
  for (let seed = SEED; seed < SEED + RUNS; seed += 1) {
    const random = createRandom(seed);
    const documents = structuredClone(generateDocuments(random, SETS[0])) as GeneratedDocument[];
    const text = (rows: readonly GeneratedDocument[]) => rows.map((row) => dump(row)).join('---\n');
    const load = (yaml: string) =>
      loadConfiguration({ kind: 'InitConfiguration', text: yaml, defaultsFrom: MACHINE, isStrict: false });
    const clean = await load(text(documents));
    const target = random.pick(documents);
    const damage = HARMS['an unknown field']!(random, target, schemaOf(target.kind, ''))!;
    const { config, warnings } = await load(text(documents));
    t.ok(
      warnings.some((warning) => warning.startsWith(`${damage.path}: Unknown field`)),
      damage.path,
    );
    t.same({ ...config, bootstrapTokens: [] }, { ...clean.config, bootstrapTokens: [] });
  }
});

function setAt(target: Mutable, path: string, value: unknown): void {
  const keys = path.replaceAll(/\[(\d+)\]/g, '.$1').split('.');
  let at = target;
  for (const [i, key] of keys.slice(0, -1).entries()) {
    at[key] ??= /^\d+$/.test(keys[i + 1]!) ? [] : {};
    at = at[key] as Mutable;
  }
  at[keys.at(-1)!] = value;
}
