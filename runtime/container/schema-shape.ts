import { TkadmError } from '../base/errors.ts';
import { parseCpuList } from './cpu-list.ts';

/** A field of a document, for lists: its path and what it may be; why it is refused. */
export interface FieldRow {
  readonly path: string;
  readonly type: string;
  readonly refused?: string;
}

/** What a value of a document may be. */
export interface Shape {
  readonly type: string;
  readonly isRequired?: boolean;
  readonly refused?: string;
  /** Throws for a value that does not fit; calls `unknown` with the path of each property that nobody knows. */
  readonly check: (value: unknown, context: CheckContext) => void;
  /** The fields below. */
  readonly rows: (path: string) => readonly FieldRow[];
}

export interface CheckContext {
  readonly path: string;
  readonly document: string;
  readonly unknown: (path: string) => void;
}

const SHOWN_LENGTH = 40;

function fail({ path, document }: CheckContext, state: string): never {
  throw new TkadmError('OCI_CONFIG', `Cannot use "${document}": "${path}" ${state}`);
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? String(value);
  return text.length > SHOWN_LENGTH ? `${text.slice(0, SHOWN_LENGTH)}...` : text;
}

function leaf(type: string, fits: (value: unknown) => boolean): Shape {
  return {
    type,
    check: (value, context) => fits(value) || fail(context, `is ${show(value)}, not ${type}`),
    rows: (path) => [{ path, type }],
  };
}

/** Text without a zero byte, which no system call can carry. */
export const text = leaf('text', (value) => typeof value === 'string' && !value.includes('\0'));
export const flag = leaf('true or false', (value) => typeof value === 'boolean');
export const absolutePath = leaf(
  'an absolute path',
  (value) => typeof value === 'string' && value.startsWith('/') && !value.includes('\0'),
);

/** CPUs as cpuset(7) writes them. */
export const cpuList = leaf(
  'a list of CPUs such as "0-3,7"',
  (value) => typeof value === 'string' && parseCpuList(value) !== undefined,
);

/** A whole number. */
export function integer(min: number, max: number): Shape {
  const limits = max >= 2 ** 53 ? `a whole number from ${min} on` : `a whole number from ${min} to ${max}`;
  return leaf(
    limits,
    (value) => Number.isInteger(value) && (value as number) >= min && (value as number) <= max,
  );
}

/** One of some words. */
export function word(words: readonly string[]): Shape {
  return leaf(`one of ${words.join(', ')}`, (value) => words.includes(value as string));
}

export function list(shape: Shape): Shape {
  return {
    type: `list of ${shape.type}`,
    check(value, context) {
      if (!Array.isArray(value)) fail(context, `is ${show(value)}, not a list`);
      for (const [index, entry] of value.entries()) {
        shape.check(entry, { ...context, path: `${context.path}[${index}]` });
      }
    },
    rows: (path) => shape.rows(`${path}[]`),
  };
}

/** Names of any kind with values of one. */
export function map(shape: Shape): Shape {
  return {
    type: `map of ${shape.type}`,
    check(value, context) {
      if (!isObject(value)) fail(context, `is ${show(value)}, not an object`);
      for (const [name, entry] of Object.entries(value)) {
        if (name.includes('\0')) fail(context, 'has a name with a zero byte');
        shape.check(entry, { ...context, path: `${context.path}["${name}"]` });
      }
    },
    rows: (path) => shape.rows(`${path}[NAME]`),
  };
}

/** An object; `null` stands for a property that is not there, as Go programs write it. */
export function object(shapes: Readonly<Record<string, Shape>>): Shape {
  return {
    type: 'object',
    check(value, context) {
      if (!isObject(value)) fail(context, `is ${show(value)}, not an object`);
      for (const [name, entry] of Object.entries(value)) {
        const path = context.path === '' ? name : `${context.path}.${name}`;
        const shape = Object.hasOwn(shapes, name) ? shapes[name] : undefined;
        if (shape === undefined) context.unknown(path);
        else if (entry !== null) shape.check(entry, { ...context, path });
      }
      for (const [name, { isRequired }] of Object.entries(shapes)) {
        const path = context.path === '' ? name : `${context.path}.${name}`;
        if (isRequired && (value[name] === undefined || value[name] === null))
          fail({ ...context, path }, 'is missing');
      }
    },
    rows: (path) =>
      Object.entries(shapes).flatMap(([name, shape]) => shape.rows(path === '' ? name : `${path}.${name}`)),
  };
}

export function required(shape: Shape): Shape {
  return { ...shape, isRequired: true };
}

/** A property that the specification has and this runtime has not. */
export function refused(reason: string): Shape {
  return {
    type: 'not supported',
    refused: reason,
    check: (_value, context) => fail(context, `is not supported: ${reason}`),
    rows: (path) => [{ path, type: 'not supported', refused: reason }],
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
