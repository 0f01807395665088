import { TkadmError } from '../../runtime/base/errors.ts';
import type { DocumentKindName } from './kinds.ts';
import { redactText, redactValue } from './redact.ts';

/** What a field may be wrong with, in the words of the API's own validation. */
export type ProblemRule =
  | 'Invalid value'
  | 'Required value'
  | 'Unsupported value'
  | 'Duplicate field'
  | 'Forbidden'
  | 'Unknown field';

/** One thing wrong with a configuration. */
export interface FieldProblem {
  /** The kind of the document that has the field. */
  readonly document?: DocumentKindName | undefined;
  /** "apiServer.extraArgs[0].name" */
  readonly path: string;
  readonly rule: ProblemRule;
  /** Left out for secrets and for what is not there. */
  readonly value?: unknown;
  readonly message: string;
  /** Where the value is from: "line 12", "--node-name". */
  readonly source?: string | undefined;
  /** What the reader may do next. */
  readonly hint?: string | undefined;
}

/** `networking.podSubnet: Invalid value: "10.0": write it like "10.244.0.0/16" (line 7)` */
export function formatProblem({ path, rule, value, message, source }: FieldProblem): string {
  const shown = value === undefined ? '' : `${JSON.stringify(redactValue(path, value))}: `;
  return redactText(`${path}: ${rule}: ${shown}${message}${source ? ` (${source})` : ''}`);
}

/** Collects the problems of a document; `path` is the field that each call names. */
export interface Checker {
  invalid(path: string, value: unknown, message: string, hint?: string): void;
  required(path: string, message: string, hint?: string): void;
  unsupported(path: string, value: unknown, supported: readonly string[]): void;
  forbidden(path: string, message: string): void;
  warn(path: string, message: string): void;
  /** A Checker of the same problems for the fields of a kind of document. */
  of(document: DocumentKindName): Checker;
  readonly problems: readonly FieldProblem[];
  readonly warnings: readonly string[];
}

/** A Checker without problems yet. */
export function createChecker(): Checker {
  return buildChecker(undefined, [], []);
}

function buildChecker(
  document: DocumentKindName | undefined,
  problems: FieldProblem[],
  warnings: string[],
): Checker {
  const add = (problem: FieldProblem) => problems.push({ ...problem, document });
  return {
    problems,
    warnings,
    of: (kind) => buildChecker(kind, problems, warnings),
    invalid: (path, value, message, hint) => add({ path, rule: 'Invalid value', value, message, hint }),
    required: (path, message, hint) => add({ path, rule: 'Required value', message, hint }),
    forbidden: (path, message) => add({ path, rule: 'Forbidden', message }),
    unsupported: (path, value, supported) =>
      add({
        path,
        rule: 'Unsupported value',
        value,
        message: `supported values are ${supported.map((text) => JSON.stringify(text)).join(', ')}`,
      }),
    warn: (path, message) => warnings.push(redactText(`${path}: ${message}`)),
  };
}

/** The error for a configuration with problems; `details.problems` holds them one by one. */
export function configError(problems: readonly FieldProblem[]): TkadmError {
  const lines = problems.map(formatProblem);
  const text = lines.length === 1 ? ` ${lines[0]}` : lines.map((line) => `\n  ${line}`).join('');
  const hint = problems.find((problem) => problem.hint)?.hint;
  return new TkadmError('CONFIG_INVALID', `Cannot use the configuration:${text}`, {
    ...(hint ? { hint } : {}),
    details: {
      problems: problems.map((problem) => ({
        ...problem,
        ...('value' in problem ? { value: redactValue(problem.path, problem.value) } : {}),
        message: redactText(problem.message),
      })),
    },
  });
}
