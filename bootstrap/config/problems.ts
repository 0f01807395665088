import { TkadmError } from '../../runtime/base/errors.ts';

/** What a field may be wrong with, in the words of the API's own validation. */
export type ProblemRule =
  | 'Invalid value'
  | 'Required value'
  | 'Unsupported value'
  | 'Forbidden'
  | 'Unknown field';

/** One thing wrong with a configuration. */
export interface FieldProblem {
  /** "apiServer.extraArgs[0].name" */
  readonly path: string;
  readonly rule: ProblemRule;
  /** Left out for secrets and for what is not there. */
  readonly value?: unknown;
  readonly message: string;
}

/** `networking.podSubnet: Invalid value: "10.0": write it like "10.244.0.0/16"` */
export function formatProblem({ path, rule, value, message }: FieldProblem): string {
  const shown = value === undefined ? '' : `${JSON.stringify(value)}: `;
  return `${path}: ${rule}: ${shown}${message}`;
}

/** Collects the problems of a document; `path` is the field that each call names. */
export interface Checker {
  invalid(path: string, value: unknown, message: string): void;
  required(path: string, message: string): void;
  unsupported(path: string, value: unknown, supported: readonly string[]): void;
  forbidden(path: string, message: string): void;
  warn(path: string, message: string): void;
  readonly problems: readonly FieldProblem[];
  readonly warnings: readonly string[];
}

/** A Checker without problems yet. */
export function createChecker(): Checker {
  const problems: FieldProblem[] = [];
  const warnings: string[] = [];
  return {
    problems,
    warnings,
    invalid: (path, value, message) => problems.push({ path, rule: 'Invalid value', value, message }),
    required: (path, message) => problems.push({ path, rule: 'Required value', message }),
    forbidden: (path, message) => problems.push({ path, rule: 'Forbidden', message }),
    unsupported: (path, value, supported) =>
      problems.push({
        path,
        rule: 'Unsupported value',
        value,
        message: `supported values are ${supported.map((text) => JSON.stringify(text)).join(', ')}`,
      }),
    warn: (path, message) => warnings.push(`${path}: ${message}`),
  };
}

/** The error for a configuration with problems; `details.problems` holds them one by one. */
export function configError(problems: readonly FieldProblem[]): TkadmError {
  const lines = problems.map(formatProblem);
  const text = lines.length === 1 ? ` ${lines[0]}` : lines.map((line) => `\n  ${line}`).join('');
  return new TkadmError('CONFIG_INVALID', `Cannot use the configuration:${text}`, { details: { problems } });
}
