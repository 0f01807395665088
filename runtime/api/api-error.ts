import { TkadmError } from '../base/errors.ts';

/** A `metav1.Status` as the API server answers it on failure. */
export interface Status {
  readonly kind?: 'Status';
  readonly apiVersion?: string;
  readonly status?: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: {
    readonly name?: string;
    readonly group?: string;
    readonly kind?: string;
    readonly uid?: string;
    readonly retryAfterSeconds?: number;
    readonly causes?: readonly {
      readonly reason?: string;
      readonly message?: string;
      readonly field?: string;
    }[];
  };
}

/** A request that the API server refused: its Status. `reason` is "NotFound", "Conflict", ... */
export class ApiError extends TkadmError {
  readonly httpStatus: number;
  readonly status: Status;

  constructor(httpStatus: number, status: Status, request: string) {
    super('API_REQUEST', `Cannot ${request}: ${status.message ?? `HTTP ${httpStatus}`}`);
    this.httpStatus = httpStatus;
    this.status = status;
  }

  get reason(): string | undefined {
    return this.status.reason;
  }
}

/** True for an ApiError with this reason: "NotFound", "AlreadyExists", "Conflict", "Expired", ... */
export function isApiError(error: unknown, reason?: string): error is ApiError {
  return error instanceof ApiError && (reason === undefined || error.reason === reason);
}

/** The Status in the body of a failed request; a text that is none becomes the message. */
export function parseStatus(text: string, code: number): Status {
  try {
    const status = JSON.parse(text) as Status;
    if (status.kind === 'Status') return status;
  } catch {
    // Not JSON: the text itself is the message.
  }
  return { status: 'Failure', message: text.trim().slice(0, 500) || `HTTP ${code}`, code };
}
