/** One field of a refused request, an entry of a Status's `details.causes`. */
export interface RequestErrorCause {
  readonly reason: string;
  readonly message: string;
  readonly field: string;
}

export interface RequestErrorOptions {
  readonly reason: string;
  readonly causes?: readonly RequestErrorCause[];
  readonly cause?: unknown;
}

/** A request that cannot be served as sent; the server answers a Status with this HTTP code and reason. */
export class RequestError extends Error {
  readonly code: 400 | 409 | 415 | 422;
  readonly reason: string;
  readonly causes: readonly RequestErrorCause[];

  constructor(code: 400 | 409 | 415 | 422, message: string, options: RequestErrorOptions) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RequestError';
    this.code = code;
    this.reason = options.reason;
    this.causes = options.causes ?? [];
  }
}

/** A 400 BadRequest. */
export function badRequest(message: string, cause?: unknown): RequestError {
  return new RequestError(400, message, { reason: 'BadRequest', cause });
}
