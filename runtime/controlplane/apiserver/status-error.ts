import type { Status } from '../../api/api-error.ts';

export interface StatusErrorOptions {
  readonly reason: string;
  readonly message: string;
  readonly details?: Status['details'];
  /** ListMeta of the Status: where a list can go on. */
  readonly metadata?: { readonly continue: string };
  /** Extra headers of the answer, for example Retry-After. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A failure that the API server answers as a `metav1.Status` with this HTTP code. */
export class StatusError extends Error {
  readonly code: number;
  readonly status: Status;
  readonly headers: Readonly<Record<string, string>>;

  constructor(code: number, options: StatusErrorOptions) {
    super(options.message);
    this.name = 'StatusError';
    this.code = code;
    this.headers = options.headers ?? {};
    this.status = {
      kind: 'Status',
      apiVersion: 'v1',
      ...(options.metadata ? { metadata: options.metadata } : {}),
      status: 'Failure',
      message: options.message,
      reason: options.reason,
      ...(options.details ? { details: options.details } : {}),
      code,
    };
  }
}
