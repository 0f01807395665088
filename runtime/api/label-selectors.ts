import { badRequest } from './request-error.ts';

export type SelectorOperator = 'In' | 'NotIn' | 'Exists' | 'DoesNotExist' | 'Gt' | 'Lt';

/** One condition of a label selector; all must hold. "a=b" is In with one value, "a!=b" NotIn. */
export interface Requirement {
  readonly key: string;
  readonly operator: SelectorOperator;
  readonly values: readonly string[];
}

export type Labels = Readonly<Record<string, string>>;

/** One condition on labels; `values` may be left out where the operator takes none. */
export interface LabelCondition {
  readonly key: string;
  readonly operator: string;
  readonly values?: readonly string[];
}

/** `metav1.LabelSelector`. */
export interface LabelSelector {
  readonly matchLabels?: Labels;
  readonly matchExpressions?: readonly LabelCondition[];
}

const KEY = '(?:[A-Za-z0-9.-]+/)?[A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?';
const EXISTS = new RegExp(`^(!?)\\s*(${KEY})$`);
const SET = new RegExp(`^(${KEY})\\s+(in|notin)\\s*\\(([^()]*)\\)$`);
const EQUALITY = new RegExp(`^(${KEY})\\s*(==|=|!=)\\s*([A-Za-z0-9](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?)?$`);
const COMPARISON = new RegExp(`^(${KEY})\\s*([<>])\\s*(-?\\d+)$`);
const LABEL_VALUE = /^([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?$/;

/** Splits at commas outside of parentheses. */
function splitTerms(text: string): string[] {
  return text.split(/,(?![^(]*\))/).map((term) => term.trim());
}

function parseTerm(term: string): Requirement | undefined {
  const exists = EXISTS.exec(term);
  if (exists) return { key: exists[2]!, operator: exists[1] ? 'DoesNotExist' : 'Exists', values: [] };
  const equality = EQUALITY.exec(term);
  if (equality)
    return {
      key: equality[1]!,
      operator: equality[2] === '!=' ? 'NotIn' : 'In',
      values: [equality[3] ?? ''],
    };
  const set = SET.exec(term);
  if (set) {
    const values = set[3]!.split(',').map((value) => value.trim());
    if (!values.every((value) => LABEL_VALUE.test(value))) return undefined;
    return { key: set[1]!, operator: set[2] === 'in' ? 'In' : 'NotIn', values };
  }
  const comparison = COMPARISON.exec(term);
  return (
    (comparison && {
      key: comparison[1]!,
      operator: comparison[2] === '>' ? 'Gt' : 'Lt',
      values: [comparison[3]!],
    }) ??
    undefined
  );
}

/**
 * Conditions of a `labelSelector` parameter: "app=web,tier in (a,b),!old"; [] for "", which matches all.
 * @throws RequestError 400 for text that is no selector.
 */
export function parseLabelSelector(text: string): readonly Requirement[] {
  if (text.trim() === '') return [];
  return splitTerms(text).map((term) => {
    const requirement = parseTerm(term);
    if (!requirement)
      throw badRequest(
        `unable to parse requirement: found '${term}', expected: a label selector such as key=value, key in (a,b) or !key`,
      );
    return requirement;
  });
}

const OBJECT_OPERATORS: ReadonlySet<string> = new Set<SelectorOperator>([
  'In',
  'NotIn',
  'Exists',
  'DoesNotExist',
  'Gt',
  'Lt',
]);

function isOperator(text: string): text is SelectorOperator {
  return OBJECT_OPERATORS.has(text);
}

/** Conditions of a LabelSelector, [] for an empty one, which matches all. @throws RequestError 400 */
function requirementsOfSelector(selector: LabelSelector): readonly Requirement[] {
  const equalities = Object.entries(selector.matchLabels ?? {}).map(
    ([key, value]): Requirement => ({ key, operator: 'In', values: [value] }),
  );
  const expressions = (selector.matchExpressions ?? []).map(({ key, operator, values = [] }): Requirement => {
    if (!isOperator(operator)) throw badRequest(`"${operator}" is not a valid label selector operator`);
    return { key, operator, values };
  });
  return [...equalities, ...expressions];
}

/** One requirement of a label or node selector; an unknown operator holds for nothing. */
export function matchesRequirement(
  { key, operator, values = [] }: LabelCondition,
  labels: Labels | undefined,
): boolean {
  const value = labels && Object.hasOwn(labels, key) ? labels[key] : undefined;
  switch (operator) {
    case 'In':
      return value !== undefined && values.includes(value);
    case 'NotIn':
      return value === undefined || !values.includes(value);
    case 'Exists':
      return value !== undefined;
    case 'DoesNotExist':
      return value === undefined;
    case 'Gt':
      return isInteger(value) && isInteger(values[0]) && BigInt(value) > BigInt(values[0]);
    case 'Lt':
      return isInteger(value) && isInteger(values[0]) && BigInt(value) < BigInt(values[0]);
    default:
      return false;
  }
}

function isInteger(text: string | undefined): text is string {
  return text !== undefined && /^-?\d+$/.test(text);
}

/** True when the labels meet every condition. */
export function matchesRequirements(
  requirements: readonly LabelCondition[],
  labels: Labels | undefined,
): boolean {
  return requirements.every((requirement) => matchesRequirement(requirement, labels));
}

/** True when all of `wanted` are among `labels`. */
export function matchesLabels(wanted: Labels | undefined, labels: Labels | undefined): boolean {
  for (const [key, value] of Object.entries(wanted ?? {})) if (labels?.[key] !== value) return false;
  return true;
}

/** True when a LabelSelector selects these labels; undefined selects nothing, an empty one everything. */
export function matchesLabelSelector(
  selector: LabelSelector | undefined,
  labels: Labels | undefined,
): boolean {
  if (!selector) return false;
  return (
    matchesLabels(selector.matchLabels, labels) &&
    matchesRequirements(selector.matchExpressions ?? [], labels)
  );
}

/** True when the selector has no requirement at all. */
export function isEmptySelector(selector: LabelSelector | undefined): boolean {
  return (
    Object.keys(selector?.matchLabels ?? {}).length === 0 && (selector?.matchExpressions ?? []).length === 0
  );
}

function formatRequirement({ key, operator, values }: Requirement): string {
  switch (operator) {
    case 'In':
      return values.length === 1 ? `${key}=${values[0]}` : `${key} in (${[...values].sort().join(',')})`;
    case 'NotIn':
      return values.length === 1 ? `${key}!=${values[0]}` : `${key} notin (${[...values].sort().join(',')})`;
    case 'Exists':
      return key;
    case 'DoesNotExist':
      return `!${key}`;
    case 'Gt':
      return `${key}>${values[0]}`;
    case 'Lt':
      return `${key}<${values[0]}`;
  }
}

/** Text form of a LabelSelector as `labelSelector` takes it: "app=web,tier in (a,b)"; keys sorted. */
export function formatLabelSelector(selector: LabelSelector): string {
  return [...requirementsOfSelector(selector)]
    .sort((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
    .map(formatRequirement)
    .join(',');
}
