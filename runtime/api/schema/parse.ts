import type { FieldSchema, FieldType, PatchStrategy, Scalar, TypeSchema, TypeVariant } from './types.ts';

/*
 * Grammar of the tables: types are blocks apart by an empty line.
 *
 *   Header   Name ["kind"] ["atomic"] [variant]
 *   Field    two spaces, name ["!" required | "?" a zero counts as set], numbers ("-" unknown, "2.1" in an inlined struct), type, attributes
 *   type     scalar | TypeOfThisTable | "group.v1.Type" | "[" type "]" | "{" type "}" (a map of strings to type)
 *   attribute  atomic | set | granular | map:KEY,KEY | patch=STRATEGY[:MERGE-KEY] | =JSON default
 */

const SCALARS: ReadonlySet<string> = new Set<Scalar>([
  'string',
  'int32',
  'int64',
  'double',
  'bool',
  'bytes',
  'time',
  'microTime',
  'quantity',
  'intOrString',
  'raw',
  'json',
  'fieldsV1',
]);

const VARIANTS: ReadonlySet<string> = new Set<TypeVariant>(['orBool', 'orArray', 'orStringArray']);

function isScalar(text: string): text is Scalar {
  return SCALARS.has(text);
}

function isVariant(text: string): text is TypeVariant {
  return VARIANTS.has(text);
}

function parseType(text: string, table: string): FieldType {
  if (text[0] === '[') return { kind: 'array', items: parseType(text.slice(1, -1), table) };
  if (text[0] === '{') return { kind: 'map', values: parseType(text.slice(1, -1), table) };
  if (isScalar(text)) return { kind: 'scalar', scalar: text };
  return { kind: 'ref', type: text.includes('.') ? text : `${table}.${text}` };
}

type Attributes = Partial<
  Pick<FieldSchema, 'listType' | 'listMapKeys' | 'mapType' | 'mergeKey' | 'defaultValue'>
> & {
  readonly patchStrategies?: readonly PatchStrategy[];
};

function parseAttribute(text: string, isList: boolean, before: readonly PatchStrategy[]): Attributes {
  if (text[0] === '=') return { defaultValue: JSON.parse(text.slice(1)) };
  if (text === 'atomic') return isList ? { listType: 'atomic' } : { mapType: 'atomic' };
  if (text === 'granular') return { mapType: 'granular' };
  if (text === 'set') return { listType: 'set' };
  if (text.startsWith('map:')) return { listType: 'map', listMapKeys: text.slice(4).split(',') };
  if (!text.startsWith('patch=')) throw new Error(`unknown attribute ${text}`);
  const [strategy, mergeKey] = text.slice(6).split(':');
  const patchStrategies = [...before, strategy as PatchStrategy];
  return mergeKey ? { patchStrategies, mergeKey } : { patchStrategies };
}

function parseField(line: string, table: string): FieldSchema {
  const words = line.trim().split(' ');
  const name = words[0]!;
  const numbers = words[1]!;
  const isList = words[2]![0] === '[' || words[2] === 'bytes';
  let attributes: Attributes = {};
  for (const word of words.slice(3))
    attributes = { ...attributes, ...parseAttribute(word, isList, attributes.patchStrategies ?? []) };
  return {
    patchStrategies: [],
    ...attributes,
    name: name.replace(/[!?]$/, ''),
    keepsZero: /[!?]$/.test(name),
    required: name.endsWith('!'),
    numbers: numbers === '-' ? [] : numbers.split('.').map(Number),
    type: parseType(words[2]!, table),
  };
}

const TYPE_META = ['  apiVersion - string', '  kind - string'];

/** The type of one block of `table`, which is the group and version in front of its name: "core.v1". */
export function parseTypeBlock(block: string, table: string): TypeSchema {
  const [header = '', ...lines] = block.split('\n');
  const [name, ...marks] = header.split(' ');
  const isKind = marks.includes('kind');
  const fields = new Map<string, FieldSchema>();
  for (const line of isKind ? [...TYPE_META, ...lines] : lines) {
    const field = parseField(line, table);
    fields.set(field.name, field);
  }
  const variant = marks.find(isVariant);
  return {
    name: `${table}.${name}`,
    isKind,
    isAtomic: marks.includes('atomic'),
    fields,
    ...(variant ? { variant } : {}),
  };
}

/** Blocks of a table by the name of their type. */
export function indexTypeBlocks(text: string): ReadonlyMap<string, string> {
  const blocks = new Map<string, string>();
  for (const block of text.trim().split('\n\n')) blocks.set(/^\S+/.exec(block)![0], block);
  return blocks;
}
