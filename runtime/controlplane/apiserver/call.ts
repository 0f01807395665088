import type { IncomingMessage, ServerResponse } from 'node:http';
import type { ResourceRow } from '../../api/resources.ts';
import type { UserInfo } from '../auth/types.ts';
import type { ResourceRequest, Route } from './routes.ts';
import { badRequest } from './status-errors.ts';

/** An authorized request for objects, on its way through a handler. */
export interface Call {
  readonly info: ResourceRequest;
  readonly route: Route;
  /** The row that the client named. */
  readonly row: ResourceRow;
  readonly user: UserInfo;
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
}

/** True for `dryRun=All`. @throws StatusError 400 for another value */
export function isDryRun(query: URLSearchParams, inBody: readonly string[] = []): boolean {
  const values = [...query.getAll('dryRun'), ...inBody].filter((value) => value !== '');
  const wrong = values.find((value) => value !== 'All');
  if (wrong !== undefined) throw badRequest(`dryRun: Unsupported value: "${wrong}": supported values: "All"`);
  return values.length > 0;
}

/** Adds a `Warning: 299` header for each text (RFC 7234 §5.5). */
export function addWarnings(response: ServerResponse, warnings: readonly string[]): void {
  if (warnings.length === 0) return;
  const lines = warnings.map((text) => `299 - "${text.replace(/[\\"]/g, '\\$&').replace(/[\r\n]+/g, ' ')}"`);
  response.setHeader('Warning', lines);
}
