/** A JSON Schema as ajv takes it. */
export type Schema = Readonly<Record<string, unknown>>;

/** Types of fields. */
export const text: Schema = { type: 'string' };
export const flag: Schema = { type: 'boolean' };
export const integer: Schema = { type: 'integer' };
export const number: Schema = { type: 'number' };
export const anything: Schema = {};
/** metav1.Duration */
export const duration: Schema = {
  type: 'string',
  pattern: '^(0|[-+]?((\\d+(\\.\\d+)?|\\.\\d+)(ns|us|µs|ms|s|m|h))+)$',
};
/** A list of one type. */
export const list = (items: Schema): Schema => ({ type: 'array', items });
/** A mapping with any keys. */
export const map = (values: Schema): Schema => ({ type: 'object', additionalProperties: values });
/** A mapping with these fields and no others. */
export const object = (properties: Readonly<Record<string, Schema>>): Schema => ({
  type: 'object',
  properties,
  additionalProperties: false,
});
/** Many fields of one type. */
export const fields = (schema: Schema, names: string): Readonly<Record<string, Schema>> =>
  Object.fromEntries(
    names
      .trim()
      .split(/\s+/)
      .map((name) => [name, schema]),
  );
/** core/v1 Taints. */
export const taints = list({
  ...object({ key: text, value: text, effect: text, timeAdded: text }),
  required: ['key', 'effect'],
});
