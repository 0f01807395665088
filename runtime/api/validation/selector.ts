import { getObject, getObjects, getString, getStringMap, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type Findings, forbidden, invalid, required } from './field-error.ts';
import { validateLabels } from './metadata.ts';
import { checkLabelValue, checkQualifiedName } from './names.ts';

const NEEDS_VALUES: ReadonlySet<string> = new Set(['In', 'NotIn']);
const TAKES_NONE: ReadonlySet<string> = new Set(['Exists', 'DoesNotExist']);

function* validateExpression(expression: JsonObject, field: string): Findings {
  const operator = getString(expression, 'operator');
  const values = getStrings(expression, 'values');
  if (NEEDS_VALUES.has(operator)) {
    if (values.length === 0)
      yield required(`${field}.values`, "must be specified when `operator` is 'In' or 'NotIn'");
  } else if (TAKES_NONE.has(operator)) {
    if (values.length > 0)
      yield forbidden(
        `${field}.values`,
        "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
      );
  } else yield invalid(`${field}.operator`, operator, 'not a valid selector operator');
  const problem = checkQualifiedName(getString(expression, 'key'));
  if (problem) yield invalid(`${field}.key`, getString(expression, 'key'), problem);
  for (const [index, value] of values.entries()) {
    const wrong = checkLabelValue(value);
    if (wrong) yield invalid(`${field}.values[${index}]`, value, wrong);
  }
}

/** Findings about a LabelSelector. */
export function* validateLabelSelector(selector: JsonObject | undefined, field: string): Findings {
  if (!selector) return;
  yield* validateLabels(getStringMap(selector, 'matchLabels'), `${field}.matchLabels`);
  for (const [index, expression] of getObjects(selector, 'matchExpressions').entries())
    yield* validateExpression(expression, `${field}.matchExpressions[${index}]`);
}

/** True when a LabelSelector has no condition. */
export function isEmptySelector(selector: JsonObject | undefined): boolean {
  return (
    Object.keys(getObject(selector, 'matchLabels') ?? {}).length === 0 &&
    getObjects(selector, 'matchExpressions').length === 0
  );
}
