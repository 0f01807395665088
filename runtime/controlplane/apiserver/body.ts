import type { IncomingMessage } from 'node:http';
import type { KubeObject } from '../../api/kinds.ts';
import { StatusError } from './status-error.ts';
import { badRequest, unsupportedMediaType } from './status-errors.ts';

const MAX_BODY_BYTES = 3 * 1024 * 1024;

/** A decoded body and what is wrong with it beside being readable: unknown and duplicate fields. */
export interface Decoded<T> {
  readonly object: T;
  readonly issues: readonly string[];
}

/** Reads wire formats by the schema of a kind. */
export interface Codec {
  /** @throws Error when the text is no JSON */
  decodeJson(text: string, apiVersion: string, kind: string): Promise<Decoded<KubeObject>>;
  /** @throws Error when the bytes are not of this kind */
  decodeProtobuf(bytes: Buffer): Promise<KubeObject>;
  decodeYaml(text: string): Promise<unknown>;
}

/** Reads a request's body. @throws StatusError 413 */
export async function readBody(request: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += (chunk as Buffer).length;
    if (bytes > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk as Buffer);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** "application/json" without parameters; JSON when the header is absent. */
export function mediaTypeOf(request: IncomingMessage): string {
  const type = (request.headers['content-type'] ?? '').split(';')[0]!.trim().toLowerCase();
  return type === '' ? 'application/json' : type;
}

/** Decodes an object. @throws StatusError 400, 415 */
export async function decodeBody(
  codec: Codec,
  body: Buffer,
  mediaType: string,
  expected: { readonly apiVersion: string; readonly kind: string },
): Promise<Decoded<KubeObject>> {
  const { apiVersion, kind } = expected;
  try {
    if (mediaType === 'application/json')
      return await codec.decodeJson(body.toString('utf8'), apiVersion, kind);
    if (mediaType === 'application/yaml') {
      const value = await codec.decodeYaml(body.toString('utf8'));
      return await codec.decodeJson(JSON.stringify(value), apiVersion, kind);
    }
    if (mediaType === 'application/vnd.kubernetes.protobuf') {
      return { object: await codec.decodeProtobuf(body), issues: [] };
    }
  } catch (error) {
    if (error instanceof StatusError) throw error;
    throw badRequest(
      `${kind} in version "${expected.apiVersion.split('/').at(-1)}" cannot be handled as a ${kind}: ${(error as Error).message}`,
    );
  }
  throw unsupportedMediaType(['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
}

/**
 * Applies `fieldValidation`: what to warn of.
 * @throws StatusError 400 `strict decoding error: ...`
 */
export function checkIssues(issues: readonly string[], query: URLSearchParams): readonly string[] {
  const mode = query.get('fieldValidation') || 'Warn';
  if (mode !== 'Strict' && mode !== 'Warn' && mode !== 'Ignore') {
    throw badRequest(
      `fieldValidation: Unsupported value: "${mode}": supported values: "Ignore", "Strict", "Warn"`,
    );
  }
  if (mode === 'Ignore' || issues.length === 0) return [];
  if (mode === 'Strict') throw badRequest(`strict decoding error: ${issues.join(', ')}`);
  return issues;
}

function tooLarge(): StatusError {
  return new StatusError(413, {
    reason: 'RequestEntityTooLarge',
    message: `Request entity too large: limit is ${MAX_BODY_BYTES}`,
  });
}
