import type { Status } from '../../api/api-error.ts';
import type { ResourceRow } from '../../api/resources.ts';
import { StatusError } from './status-error.ts';

type Resource = Pick<ResourceRow, 'group' | 'plural'>;
type Causes = NonNullable<NonNullable<Status['details']>['causes']>;

/** 404 `pods "x" not found` */
export function notFound(row: Resource, name: string): StatusError {
  return new StatusError(404, {
    reason: 'NotFound',
    message: `${qualify(row)} "${name}" not found`,
    details: details(row, name),
  });
}

/** 409 `pods "x" already exists` */
export function alreadyExists(row: Resource, name: string): StatusError {
  return new StatusError(409, {
    reason: 'AlreadyExists',
    message: `${qualify(row)} "${name}" already exists`,
    details: details(row, name),
  });
}

/** 409 `Operation cannot be fulfilled on pods "x": ...` */
export function conflict(row: Resource, name: string, cause: string): StatusError {
  return new StatusError(409, {
    reason: 'Conflict',
    message: `Operation cannot be fulfilled on ${qualify(row)} "${name}": ${cause}`,
    details: details(row, name),
  });
}

/** What `conflict` says when the resourceVersion is not the newest. */
export const MODIFIED =
  'the object has been modified; please apply your changes to the latest version and try again';

/** 400 with upstream's reason for anything that cannot be read. */
export function badRequest(message: string): StatusError {
  return new StatusError(400, { reason: 'BadRequest', message });
}

/** 422 `Pod "x" is invalid: ...` with one cause for each field. */
export function invalid(row: Pick<ResourceRow, 'group' | 'kind'>, name: string, causes: Causes): StatusError {
  const list = causes.map((cause) => `${cause.field}: ${cause.message}`);
  const text = list.length === 1 ? list[0]! : `[${list.join(', ')}]`;
  const kind = row.group === '' ? row.kind : `${row.kind}.${row.group}`;
  return new StatusError(422, {
    reason: 'Invalid',
    message: `${kind} "${name}" is invalid: ${text}`,
    details: { name, ...(row.group ? { group: row.group } : {}), kind: row.kind, causes },
  });
}

/** 405 for a verb that this resource does not have. */
export function methodNotAllowed(): StatusError {
  return new StatusError(405, {
    reason: 'MethodNotAllowed',
    message: 'the server does not allow this method on the requested resource',
  });
}

/** 404 for a path that nothing serves. */
export function pathNotFound(): StatusError {
  return new StatusError(404, {
    reason: 'NotFound',
    message: 'the server could not find the requested resource',
  });
}

/** 410 for a revision whose changes are forgotten. */
export function expired(message: string): StatusError {
  return new StatusError(410, { reason: 'Expired', message });
}

/** 504 for a revision that is not there yet; clients retry after a second. */
export function futureRevision(requested: number, current: number): StatusError {
  return new StatusError(504, {
    reason: 'Timeout',
    message: `Too large resource version: ${requested}, current: ${current}`,
    details: {
      retryAfterSeconds: 1,
      causes: [{ reason: 'ResourceVersionTooLarge', message: 'Too large resource version' }],
    },
    headers: { 'Retry-After': '1' },
  });
}

/** 500 for what nobody expected. */
export function internalError(error: unknown): StatusError {
  const text = error instanceof Error ? error.message : String(error);
  return new StatusError(500, {
    reason: 'InternalError',
    message: `Internal error occurred: ${text}`,
    details: { causes: [{ message: text }] },
  });
}

/** 415 for a body in a format that this resource does not read. */
export function unsupportedMediaType(accepted: readonly string[]): StatusError {
  return new StatusError(415, {
    reason: 'UnsupportedMediaType',
    message: `the body of the request was in an unknown format - accepted media types include: ${accepted.join(', ')}`,
  });
}

/** 406 for an answer in a format that this object cannot take. */
export function notAcceptable(accepted: readonly string[]): StatusError {
  return new StatusError(406, {
    reason: 'NotAcceptable',
    message: `only the following media types are accepted: ${accepted.join(', ')}`,
  });
}

/** "pods" or "deployments.apps" */
function qualify(row: Resource): string {
  return row.group === '' ? row.plural : `${row.plural}.${row.group}`;
}

function details(row: Resource, name: string): NonNullable<Status['details']> {
  return { ...(name ? { name } : {}), ...(row.group ? { group: row.group } : {}), kind: row.plural };
}
