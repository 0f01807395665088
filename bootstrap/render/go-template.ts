import { TkadmError } from '../../runtime/base/errors.ts';
import { callFunction, formatValue, isTrue } from './go-values.ts';

/** Values by variable name: "$" is the whole input. */
type Scope = ReadonlyMap<string, unknown>;
/** A part of a template, ready to be filled in. */
type Node = (dot: unknown, scope: Scope) => string;
type Expression = (dot: unknown, scope: Scope) => unknown;

interface Body {
  readonly nodes: readonly Node[];
  /** What ended it: "end", "else", "else if ..." or "" for the end of the text. */
  readonly stop: string;
}

/** The text that a template gives for a value. */
export type Template = (value: unknown) => string;

/**
 * Reads a template of the kind that Docker's --format takes: the common part of Go's text/template. Fields, pipes,
 * `range`, `if`, `with`, variables, and the functions of go-values.ts.
 * @throws USAGE naming what is not supported or cannot be read.
 */
export function parseTemplate(text: string): Template {
  const pieces = splitActions(text);
  const { nodes, stop } = parseBody(pieces);
  if (stop !== '') throw invalid(text, `"${stop}" without a beginning`);
  return (value) => render(nodes, value, new Map([['$', value]]));
}

function invalid(text: string, state: string): TkadmError {
  return new TkadmError('USAGE', `Cannot use template "${text}": ${state}`);
}

function render(nodes: readonly Node[], dot: unknown, scope: Scope): string {
  return nodes.map((node) => node(dot, scope)).join('');
}

type Piece = { readonly text: string } | { readonly action: string };

/** Text and {{actions}} in turn; {{- and -}} take the white space beside them away. */
function splitActions(template: string): Piece[] {
  const pieces: Piece[] = [];
  let rest = template;
  for (;;) {
    const start = rest.indexOf('{{');
    if (start < 0) return [...pieces, { text: rest }];
    const end = rest.indexOf('}}', start);
    if (end < 0) throw invalid(template, 'a "{{" without its "}}"');
    const action = rest.slice(start + 2, end);
    const text = rest.slice(0, start);
    const [trimsBefore, trimsAfter] = [/^-\s/.test(action), /\s-$/.test(action)];
    pieces.push({ text: trimsBefore ? text.trimEnd() : text });
    pieces.push({ action: action.replace(/^-\s/, '').replace(/\s-$/, '').trim() });
    rest = trimsAfter ? rest.slice(end + 2).trimStart() : rest.slice(end + 2);
  }
}

function parseBody(pieces: Piece[]): Body {
  const nodes: Node[] = [];
  for (let piece = pieces.shift(); piece !== undefined; piece = pieces.shift()) {
    if ('text' in piece) {
      const { text } = piece;
      nodes.push(() => text);
      continue;
    }
    const { action } = piece;
    const [word = ''] = action.split(/\s/, 1);
    if (word === 'end' || word === 'else') return { nodes, stop: action };
    if (action.startsWith('/*')) continue;
    nodes.push(parseAction(word, action.slice(word.length).trim(), action, pieces));
  }
  return { nodes, stop: '' };
}

function parseAction(word: string, rest: string, action: string, pieces: Piece[]): Node {
  if (word === 'if') return parseIf(rest, pieces);
  if (word === 'range') return parseRange(rest, pieces);
  if (word === 'with') return parseWith(rest, pieces);
  if (['define', 'template', 'block', 'break', 'continue'].includes(word) || /^\$\w+\s*:?=/.test(action)) {
    throw invalid(`{{${action}}}`, `"${word}" is not supported`);
  }
  const value = parsePipeline(action);
  return (dot, scope) => formatValue(value(dot, scope));
}

/** The part behind "else", [] without one. */
function parseElse(body: Body, pieces: Piece[]): readonly Node[] {
  if (body.stop === 'end') return [];
  if (/^else\s+if\s/.test(body.stop)) return [parseIf(body.stop.replace(/^else\s+if\s+/, ''), pieces)];
  if (body.stop !== 'else') throw invalid(body.stop || '{{if}}', 'it has no {{end}}');
  const other = parseBody(pieces);
  if (other.stop !== 'end') throw invalid('{{else}}', 'it has no {{end}}');
  return other.nodes;
}

function parseIf(text: string, pieces: Piece[]): Node {
  const condition = parsePipeline(text);
  const body = parseBody(pieces);
  const others = parseElse(body, pieces);
  return (dot, scope) => render(isTrue(condition(dot, scope)) ? body.nodes : others, dot, scope);
}

function parseWith(text: string, pieces: Piece[]): Node {
  const subject = parsePipeline(text);
  const body = parseBody(pieces);
  const others = parseElse(body, pieces);
  return (dot, scope) => {
    const value = subject(dot, scope);
    return isTrue(value) ? render(body.nodes, value, scope) : render(others, dot, scope);
  };
}

/** `range .List`, `range $value := ...`, `range $key, $value := ...`; maps in the order of their keys. */
function parseRange(text: string, pieces: Piece[]): Node {
  const match = /^(?:(\$\w+)\s*(?:,\s*(\$\w+))?\s*:=\s*)?(.*)$/s.exec(text);
  const [, first, second, list = ''] = match ?? [];
  const subject = parsePipeline(list);
  const body = parseBody(pieces);
  const others = parseElse(body, pieces);
  return (dot, scope) => {
    const entries = listEntries(subject(dot, scope));
    if (entries.length === 0) return render(others, dot, scope);
    const parts = entries.map(([key, value]) => {
      const names = new Map(scope);
      if (second !== undefined) names.set(first!, key).set(second, value);
      else if (first !== undefined) names.set(first, value);
      return render(body.nodes, value, names);
    });
    return parts.join('');
  };
}

function listEntries(value: unknown): readonly (readonly [unknown, unknown])[] {
  if (Array.isArray(value)) return value.map((item, index) => [index, item]);
  if (value === null || value === undefined) return [];
  if (typeof value === 'object') return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  throw invalid(formatValue(value), 'it is no list to range over');
}

const TOKEN =
  /\s*("(?:[^"\\]|\\.)*"|`[^`]*`|\(|\)(?:\.\w+)*|\||-?\d+(?:\.\d+)?|\$?\w*(?:\.\w+)+|\$\w*|\.|\w+)/y;

function parsePipeline(text: string): Expression {
  const tokens: string[] = [];
  TOKEN.lastIndex = 0;
  const trimmed = text.trimEnd();
  while (TOKEN.lastIndex < trimmed.length) {
    const at = TOKEN.lastIndex;
    const token = TOKEN.exec(trimmed)?.[1];
    if (token === undefined) throw invalid(`{{${text}}}`, `"${trimmed.slice(at)}" cannot be read`);
    tokens.push(token);
  }
  if (tokens.length === 0) throw invalid(`{{${text}}}`, 'it is empty');
  const expression = readPipeline(tokens);
  if (tokens.length > 0) throw invalid(`{{${text}}}`, `"${tokens[0]}" is too much`);
  return expression;
}

function readPipeline(tokens: string[]): Expression {
  let expression = readCommand(tokens);
  while (tokens[0] === '|') {
    tokens.shift();
    const before = expression;
    expression = readCommand(tokens, before);
  }
  return expression;
}

/** A function with its arguments, the piped value last; or one operand. */
function readCommand(tokens: string[], piped?: Expression): Expression {
  const [word = ''] = tokens;
  const isFunction = /^[a-zA-Z_]\w*$/.test(word) && !['true', 'false', 'nil'].includes(word);
  if (!isFunction) {
    if (piped !== undefined) throw invalid(word, 'a value cannot be piped into it');
    return readOperand(tokens);
  }
  tokens.shift();
  const operands: Expression[] = [];
  while (tokens.length > 0 && tokens[0] !== '|' && !tokens[0]?.startsWith(')'))
    operands.push(readOperand(tokens));
  if (piped !== undefined) operands.push(piped);
  return (dot, scope) =>
    callFunction(
      word,
      operands.map((operand) => operand(dot, scope)),
    );
}

const CONSTANTS: Readonly<Record<string, unknown>> = { true: true, false: false, nil: null };

function readOperand(tokens: string[]): Expression {
  const token = tokens.shift() ?? '';
  if (token === '(') {
    const inner = readPipeline(tokens);
    const end = tokens.shift();
    if (!end?.startsWith(')')) throw invalid('(', 'a parenthesis is not closed');
    const fields = end.split('.').slice(1);
    return (dot, scope) =>
      fields.reduce((value, field) => readField(value, field, `(...)${end.slice(1)}`), inner(dot, scope));
  }
  if (token.startsWith('"')) return constant(JSON.parse(token));
  if (token.startsWith('`')) return constant(token.slice(1, -1));
  if (/^-?\d/.test(token)) return constant(Number(token));
  if (Object.hasOwn(CONSTANTS, token)) return constant(CONSTANTS[token]);
  if (!/^[.$]/.test(token)) throw invalid(token, `there is no function "${token}" without arguments here`);
  const [name = '', ...fields] = token.split('.');
  return (dot, scope) => {
    const start = name === '' ? dot : readVariable(scope, name);
    return fields.filter(Boolean).reduce((value, field) => readField(value, field, token), start);
  };
}

function constant(value: unknown): Expression {
  return () => value;
}

function readVariable(scope: Scope, name: string): unknown {
  if (scope.has(name)) return scope.get(name);
  throw invalid(name, 'there is no such variable');
}

function readField(value: unknown, field: string, path: string): unknown {
  if (value === null || value === undefined) return undefined;
  if (typeof value === 'object' && Object.hasOwn(value, field)) return Reflect.get(value, field);
  throw invalid(`{{${path}}}`, `there is no field "${field}"`);
}
