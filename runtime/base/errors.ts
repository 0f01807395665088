/** What a failure is about; decides the exit code of the command line. */
export type ErrorArea = 'internal' | 'usage' | 'preflight' | 'discovery' | 'timeout' | 'host' | 'cluster';

/** Exit code for each area, documented in `tkadm --help` and the README. */
export const EXIT_CODES = {
  internal: 1,
  usage: 2,
  preflight: 3,
  discovery: 4,
  timeout: 5,
  host: 6,
  cluster: 7,
} as const satisfies Record<ErrorArea, number>;

/** Every error code with its area. Each folder adds its rows in its own section; codes never change. */
export const ERRORS = {
  // base
  CANCELLED: 'timeout',
  WAIT_TIMEOUT: 'timeout',
  FLAG_UNKNOWN: 'usage',
  FLAG_INVALID: 'usage',
  FILE_READ: 'host',
  FILE_WRITE: 'host',
  COMMAND_FAILED: 'host',
  UNSUPPORTED: 'usage',
  // api
  API_REQUEST: 'cluster',
  API_UNREACHABLE: 'cluster',
  KUBECONFIG_INVALID: 'usage',
  // pki
  // templates
  // preflight
  // container
  // image
  // cri
  // network
  // agent
  // controlplane
  COMPONENT_LISTEN: 'host',
  LEASE_LOST: 'cluster',
  CSR_INVALID: 'cluster',
  // host
  // bootstrap
} as const satisfies Record<string, ErrorArea>;

export type ErrorCode = keyof typeof ERRORS;

export interface ErrorOptions {
  readonly cause?: unknown;
  /** The next command or step for the reader. */
  readonly hint?: string;
  /** Facts for machine-readable output; never secrets. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** An expected failure: a stable code, what was found and where, and the next step in `hint`. */
export class TkadmError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly details: Readonly<Record<string, unknown>> | undefined;

  constructor(code: ErrorCode, message: string, options: ErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TkadmError';
    this.code = code;
    this.hint = options.hint;
    this.details = options.details;
  }
}

/** True when `error` is a TkadmError with this code. */
export function isTkadmError(error: unknown, code?: ErrorCode): error is TkadmError {
  return error instanceof TkadmError && (code === undefined || error.code === code);
}

/** The message of anything thrown. */
export function formatError(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True for a Node.js system error with this `code`, for example "ENOENT". */
export function isSystemError(error: unknown, code: string): boolean {
  return error instanceof Error && (error as NodeJS.ErrnoException).code === code;
}
