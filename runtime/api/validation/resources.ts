import { compareQuantity, isQuantity, parseQuantity } from '../quantity.ts';
import { getObject } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Findings, invalid, notSupported } from './field-error.ts';
import { checkQualifiedName } from './names.ts';

const STANDARD_RESOURCES: ReadonlySet<string> = new Set([
  'cpu',
  'memory',
  'ephemeral-storage',
  'storage',
  'pods',
]);
const NON_NEGATIVE = 'must be greater than or equal to 0';

function isStandard(name: string): boolean {
  return STANDARD_RESOURCES.has(name) || name.startsWith('hugepages-');
}

function toQuantity(value: unknown): string {
  return String(value ?? '0');
}

/** True for quantities of the kind that only whole numbers fit, such as GPUs. */
function isExtended(name: string): boolean {
  return name.includes('/') && !name.startsWith('requests.');
}

/** Findings about a map of resource names to quantities. */
export function* validateResourceList(list: JsonObject | undefined, field: string): Findings {
  for (const [name, value] of Object.entries(list ?? {})) {
    const own = `${field}[${name}]`;
    const text = toQuantity(value);
    if (!isQuantity(text)) {
      yield invalid(
        own,
        value,
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
      );
      continue;
    }
    const problem = checkQualifiedName(name);
    if (problem) yield invalid(own, name, problem);
    if (parseQuantity(text) < 0n) yield invalid(own, text, NON_NEGATIVE);
    if (isExtended(name) && parseQuantity(text) % 1_000_000_000n !== 0n)
      yield invalid(own, text, 'must be an integer');
  }
}

/** Findings about a container's or pod's requests and limits. */
export function* validateResources(resources: JsonObject | undefined, field: string): Findings {
  if (!resources) return;
  const limits = getObject(resources, 'limits') ?? {};
  const requests = getObject(resources, 'requests') ?? {};
  for (const [list, own] of [
    [limits, `${field}.limits`],
    [requests, `${field}.requests`],
  ] as const) {
    for (const name of Object.keys(list))
      if (!isStandard(name) && !name.includes('/'))
        yield invalid(`${own}[${name}]`, name, 'must be a standard resource type or fully qualified');
    yield* validateResourceList(list, own);
  }
  for (const [name, request] of Object.entries(requests)) {
    const limit = limits[name];
    const needsLimit = isExtended(name) || name.startsWith('hugepages-');
    if (limit === undefined && needsLimit)
      yield invalid(`${field}.limits[${name}]`, '', 'Limit must be set for non overcommitable resources');
    if (limit === undefined || !isQuantity(toQuantity(request)) || !isQuantity(toQuantity(limit))) continue;
    const order = compareQuantity(toQuantity(request), toQuantity(limit));
    if (needsLimit && order !== 0)
      yield invalid(
        `${field}.requests`,
        toQuantity(request),
        `must be equal to ${name} limit of ${toQuantity(limit)}`,
      );
    else if (order > 0)
      yield invalid(
        `${field}.requests`,
        toQuantity(request),
        `must be less than or equal to ${name} limit of ${toQuantity(limit)}`,
      );
  }
}

/** A field whose text must be one of a list; an empty text passes when `optional`. */
export function* validateChoice(value: unknown, field: string, choices: readonly string[]): Findings {
  if (value === undefined || value === null) return;
  if (typeof value !== 'string' || !choices.includes(value)) yield notSupported(field, value, choices);
}

/** A number that must lie between two, both included. */
export function* validateRange(
  value: unknown,
  field: string,
  [low, high]: readonly [number, number],
): Findings {
  if (value === undefined || value === null) return;
  if (typeof value === 'number' && value >= low && value <= high) return;
  yield invalid(field, value, `must be between ${low} and ${high}, inclusive`);
}

/** A number that may not be negative. */
export function* validateNonNegative(value: unknown, field: string): Findings {
  if (typeof value === 'number' && value < 0) yield invalid(field, value, NON_NEGATIVE);
}

/** "25%" or a count; neither negative. */
export function* validateIntOrPercent(value: unknown, field: string): Findings {
  if (value === undefined) return;
  if (typeof value === 'number') yield* validateNonNegative(value, field);
  else if (!/^\d+%$/.test(String(value)))
    yield invalid(
      field,
      value,
      "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
    );
}
