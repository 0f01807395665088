import { FIELD_DESCRIPTIONS, TYPE_DESCRIPTIONS } from './texts.ts';

const COMMON_FIELDS: Readonly<Record<string, string>> = {
  apiVersion: 'Group and version of the schema of this object, for example "apps/v1".',
  kind: 'Kind of this object, in CamelCase.',
  metadata: 'Name, namespace, labels and other data that every object has.',
  spec: 'What is wanted.',
  status: 'What was observed last; the system writes it.',
  items: 'The objects of the list.',
  conditions: 'Latest observations of aspects of the state.',
  observedGeneration: 'metadata.generation that the status is about.',
};

function ownName(typeName: string): string {
  return typeName.slice(typeName.lastIndexOf('.') + 1);
}

/** Spells a CamelCase name as words: "PodDisruptionBudget" → "pod disruption budget". */
function spell(name: string): string {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1 $2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1 $2')
    .toLowerCase();
}

/** What a type is for, in a sentence. */
export function describeType(typeName: string): string {
  const name = ownName(typeName);
  const text = TYPE_DESCRIPTIONS[name];
  if (text) return text;
  if (name.endsWith('List') && TYPE_DESCRIPTIONS[name.slice(0, -4)])
    return `A list of ${name.slice(0, -4)} objects.`;
  const words = spell(name);
  return `${words[0]?.toUpperCase()}${words.slice(1)}.`;
}

/** What a field is for, or "" when its name has to do. */
export function describeField(typeName: string, field: string): string {
  return FIELD_DESCRIPTIONS[ownName(typeName)]?.[field] ?? COMMON_FIELDS[field] ?? '';
}
