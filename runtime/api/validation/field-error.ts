/** What is wrong with a field; decides the wording and the reason of the cause. */
export type FieldErrorType =
  | 'Required'
  | 'Invalid'
  | 'NotSupported'
  | 'Forbidden'
  | 'Duplicate'
  | 'TooLong'
  | 'TooMany'
  | 'NotFound';

/** One finding of validation: `field` is a path, "spec.containers[0].image". */
export interface FieldError {
  readonly type: FieldErrorType;
  readonly field: string;
  readonly value?: unknown;
  readonly detail?: string;
}

/** What validators yield. */
export type Findings = Iterable<FieldError>;

/** The field must have a value. */
export function required(field: string, detail = ''): FieldError {
  return { type: 'Required', field, detail };
}

/** The value is malformed or does not fit others. */
export function invalid(field: string, value: unknown, detail: string): FieldError {
  return { type: 'Invalid', field, value, detail };
}

/** The value is none of `supported`. */
export function notSupported(field: string, value: unknown, supported: Iterable<string>): FieldError {
  const list = [...supported].map((item) => JSON.stringify(item)).join(', ');
  return { type: 'NotSupported', field, value, detail: `supported values: ${list}` };
}

/** The field may not be set here. */
export function forbidden(field: string, detail: string): FieldError {
  return { type: 'Forbidden', field, detail };
}

/** The value stands twice in a list of different ones. */
export function duplicate(field: string, value: unknown): FieldError {
  return { type: 'Duplicate', field, value };
}

/** The value has more than `limit` bytes. */
export function tooLong(field: string, limit: number): FieldError {
  return { type: 'TooLong', field, detail: `may not be more than ${limit} bytes` };
}

const TITLES: Readonly<Record<FieldErrorType, string>> = {
  Required: 'Required value',
  Invalid: 'Invalid value',
  NotSupported: 'Unsupported value',
  Forbidden: 'Forbidden',
  Duplicate: 'Duplicate value',
  TooLong: 'Too long',
  TooMany: 'Too many',
  NotFound: 'Not found',
};

const WITH_VALUE: ReadonlySet<FieldErrorType> = new Set([
  'Invalid',
  'NotSupported',
  'Duplicate',
  'TooMany',
  'NotFound',
]);

function formatBody({ type, value, detail }: FieldError): string {
  const parts = [TITLES[type]];
  if (WITH_VALUE.has(type)) parts.push(JSON.stringify(value ?? null));
  if (detail) parts.push(detail);
  return parts.join(': ');
}

/** The finding with its path: `spec.selector: Required value`. */
export function formatFieldError(error: FieldError): string {
  return error.field === '' ? formatBody(error) : `${error.field}: ${formatBody(error)}`;
}

/** Message and details of a 422 Invalid Status. */
export interface InvalidStatus {
  readonly message: string;
  readonly details: {
    readonly name: string;
    readonly group?: string;
    readonly kind: string;
    readonly causes: readonly { readonly reason: string; readonly message: string; readonly field: string }[];
  };
}

/** What the server answers for findings: `Deployment.apps "x" is invalid: spec.selector: Required value`. */
export function formatInvalid(
  row: { readonly group: string; readonly kind: string },
  name: string,
  errors: readonly FieldError[],
): InvalidStatus {
  const texts = [...new Set(errors.map(formatFieldError))];
  const list = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`;
  const qualified = row.group === '' ? row.kind : `${row.kind}.${row.group}`;
  return {
    message: `${qualified} ${JSON.stringify(name)} is invalid: ${list}`,
    details: {
      name,
      ...(row.group === '' ? {} : { group: row.group }),
      kind: row.kind,
      causes: errors.map((error) => ({
        reason: `FieldValue${error.type}`,
        message: formatBody(error),
        field: error.field,
      })),
    },
  };
}
