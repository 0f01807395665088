import type { Readable } from 'node:stream';

/**
 * What travels on the ctr socket, both ways:
 *
 *     u8 kind | u32 length (big endian) | payload
 *
 *     client: request, then input* inputEnd? resize*        server: (stdout | stderr | note)* (result | error)
 */
export const FRAME = {
  /** JSON {call, body}: the first and only one. */
  request: 1,
  /** Bytes for standard input, or of an archive. */
  input: 2,
  inputEnd: 3,
  /** JSON {columns, rows} */
  resize: 4,
  stdout: 5,
  stderr: 6,
  /** JSON; one element of what a call tells before its result. */
  note: 7,
  /** JSON; the last frame. */
  result: 8,
  /** JSON {code, message, hint?, details?}; the last frame. */
  error: 9,
} as const;

export interface Frame {
  readonly kind: number;
  readonly payload: Buffer;
}

const HEADER_BYTES = 5;
/** A frame that claims more is no frame of ours. */
const MAX_FRAME_BYTES = 16 * 1024 * 1024;

/** @param payload bytes as they are, anything else as JSON */
export function encodeFrame(kind: number, payload: unknown): Buffer {
  const bytes = Buffer.isBuffer(payload) ? payload : Buffer.from(JSON.stringify(payload) ?? 'null');
  const header = Buffer.alloc(HEADER_BYTES);
  header.writeUInt8(kind, 0);
  header.writeUInt32BE(bytes.length, 1);
  return Buffer.concat([header, bytes]);
}

/** The JSON of a frame. */
export function parsePayload<T>({ payload }: Frame): T {
  return JSON.parse(payload.toString('utf8')) as T;
}

/** The frames of a stream, up to its end. @throws Error for what is no frame. */
export async function* readFrames(stream: Readable): AsyncGenerator<Frame> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (;;) {
      if (rest.length < HEADER_BYTES) break;
      const length = rest.readUInt32BE(1);
      if (length > MAX_FRAME_BYTES) throw new Error(`a frame of ${length} bytes`);
      if (rest.length < HEADER_BYTES + length) break;
      yield { kind: rest.readUInt8(0), payload: rest.subarray(HEADER_BYTES, HEADER_BYTES + length) };
      rest = rest.subarray(HEADER_BYTES + length);
    }
  }
}
