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

/** What a body is expected to be, and whether fields given twice are looked for. */
export interface Expected {
  readonly apiVersion: string;
  readonly kind: string;
  readonly reportDuplicates: boolean;
}

/** Reads wire formats by the schema of a kind. All throw StatusError 400 for what is not of this kind. */
export interface Codec {
  decodeJson(text: string, expected: Expected): Decoded<KubeObject>;
  decodeYaml(text: string, expected: Expected): Decoded<KubeObject>;
  decodeProtobuf(bytes: Buffer): Promise<KubeObject>;
  /** An object that is parsed already: the outcome of a patch. */
  decodeValue(object: KubeObject, apiVersion: string, kind: string): Decoded<KubeObject>;
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
  expected: Expected,
): Promise<Decoded<KubeObject>> {
  if (mediaType === 'application/json') return codec.decodeJson(body.toString('utf8'), expected);
  if (mediaType === 'application/yaml') return codec.decodeYaml(body.toString('utf8'), expected);
  if (mediaType === 'application/vnd.kubernetes.protobuf') {
    return { object: await codec.decodeProtobuf(body), issues: [] };
  }
  throw unsupportedMediaType(['application/json', 'application/yaml', 'application/vnd.kubernetes.protobuf']);
}

/** True when the client asked for a check of fields given twice. */
export function wantsDuplicates(query: URLSearchParams): boolean {
  const mode = query.get('fieldValidation') ?? '';
  return mode === 'Strict' || mode === 'Warn';
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
