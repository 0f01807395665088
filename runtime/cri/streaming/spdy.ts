import { Duplex } from 'node:stream';
import { constants, createDeflate, createInflate, type Deflate, type Inflate } from 'node:zlib';
import { SPDY_DICTIONARY } from './spdy-dictionary.ts';

/*
 * SPDY/3.1 (draft-mbelshe-httpbis-spdy-00 §2) as far as Kubernetes' streaming uses it, the side that accepts:
 *
 *   control  1 version:15 type:16 flags:8 length:24 payload
 *   data     0 stream:31          flags:8 length:24 payload
 *
 * Header blocks are one zlib stream for each direction of a connection. There is no flow control by
 * WINDOW_UPDATE, since Kubernetes' own library has none either.
 */

const VERSION = 3;
const FRAME_HEADER_BYTES = 8;
const FLAG_FIN = 1;
const MAX_DATA_BYTES = 32 * 1024;
/** A stream whose reader is this far behind holds the connection back. */
const MAX_BUFFER_BYTES = 1024 * 1024;
const RST_REFUSED_STREAM = 3;
const RST_CANCEL = 5;

const FRAME = {
  synStream: 1,
  synReply: 2,
  reset: 3,
  settings: 4,
  ping: 6,
  goAway: 7,
  headers: 8,
  windowUpdate: 9,
} as const;

export type SpdyHeaders = Readonly<Record<string, string>>;

/** A stream that the client opened; ending it sends FIN, destroying it early sends RST_STREAM. */
export class SpdyStream extends Duplex {
  readonly id: number;
  readonly headers: SpdyHeaders;
  readonly #send: (flags: number, data: Buffer) => Promise<void>;
  readonly #reset: (isDone: boolean) => void;
  #isDone = false;
  #wantData: (() => void) | undefined;

  constructor(
    id: number,
    headers: SpdyHeaders,
    send: (flags: number, data: Buffer) => Promise<void>,
    reset: (isDone: boolean) => void,
  ) {
    super({ allowHalfOpen: true, readableHighWaterMark: MAX_BUFFER_BYTES });
    this.id = id;
    this.headers = headers;
    this.#send = send;
    this.#reset = reset;
  }

  /** Hands on received bytes; resolves when the reader wants more. */
  async receive(data: Buffer, isLast: boolean): Promise<void> {
    const hasRoom = data.length === 0 || this.push(data);
    if (isLast) this.push(null);
    if (hasRoom || isLast || this.destroyed) return;
    await new Promise<void>((resolve) => {
      this.#wantData = resolve;
    });
  }

  override _read(): void {
    this.#wantData?.();
    this.#wantData = undefined;
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#sendAll(chunk).then(() => done(), done);
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#isDone = true;
    this.#send(FLAG_FIN, Buffer.alloc(0)).then(() => done(), done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#wantData?.();
    this.#reset(this.#isDone && this.readableEnded);
    done(error);
  }

  async #sendAll(chunk: Buffer): Promise<void> {
    for (let offset = 0; offset < chunk.length; offset += MAX_DATA_BYTES) {
      await this.#send(0, chunk.subarray(offset, offset + MAX_DATA_BYTES));
    }
  }
}

/** Accepts SPDY streams on a byte stream. */
export class SpdyConnection {
  readonly #socket: Duplex;
  readonly #inflate: HeaderInflater;
  readonly #deflate: HeaderDeflater;
  readonly #streams = new Map<number, SpdyStream>();
  #sending: Promise<void> = Promise.resolve();

  constructor(socket: Duplex) {
    this.#socket = socket;
    this.#inflate = new HeaderInflater();
    this.#deflate = new HeaderDeflater();
  }

  /** Every stream that the client opens; ends with the connection. */
  async *accept(): AsyncGenerator<SpdyStream> {
    try {
      for await (const frame of readFrames(this.#socket)) {
        const stream = await this.#handle(frame);
        if (stream !== undefined) yield stream;
      }
    } finally {
      this.#inflate.close();
      this.#deflate.close();
      for (const stream of this.#streams.values()) stream.destroy();
      this.#socket.destroy();
    }
  }

  /** Sends everything that was written, then GOAWAY, and ends the connection. */
  async close(): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(Math.max(0, ...this.#streams.keys()), 0);
    await this.#sendControl(FRAME.goAway, 0, payload);
    this.#socket.end();
  }

  async #handle(frame: Frame): Promise<SpdyStream | undefined> {
    if (frame.kind === 'data') {
      const stream = this.#streams.get(frame.streamId);
      if (stream !== undefined) await stream.receive(frame.payload, (frame.flags & FLAG_FIN) !== 0);
      return undefined;
    }
    const { payload } = frame;
    switch (frame.type) {
      case FRAME.synStream:
        return this.#open(frame.flags, payload);
      case FRAME.headers:
        // The block must pass the inflater, as it is one stream for all.
        await this.#inflate.parse(payload.subarray(4));
        return undefined;
      case FRAME.reset:
        this.#streams.get(payload.readUInt32BE(0) & 0x7fffffff)?.destroy();
        return undefined;
      case FRAME.ping:
        await this.#sendControl(FRAME.ping, 0, payload);
        return undefined;
      case FRAME.goAway:
      case FRAME.settings:
      case FRAME.windowUpdate:
        return undefined;
      default:
        throw new Error(`Cannot read SPDY frame: type ${frame.type}`);
    }
  }

  async #open(flags: number, payload: Buffer): Promise<SpdyStream | undefined> {
    const id = payload.readUInt32BE(0) & 0x7fffffff;
    const headers = await this.#inflate.parse(payload.subarray(10));
    if (this.#streams.has(id)) {
      await this.#sendReset(id, RST_REFUSED_STREAM);
      return undefined;
    }
    const stream = new SpdyStream(
      id,
      headers,
      (dataFlags, data) => this.#sendFrame(dataHeader(id, dataFlags, data.length), data),
      (isDone) => {
        this.#streams.delete(id);
        if (!isDone) this.#sendReset(id, RST_CANCEL).catch(() => {});
      },
    );
    // A stream that is reset must not end the process; its users see the end.
    stream.on('error', () => {});
    this.#streams.set(id, stream);
    const idBytes = Buffer.alloc(4);
    idBytes.writeUInt32BE(id);
    const reply = Buffer.concat([idBytes, await this.#deflate.format({})]);
    await this.#sendControl(FRAME.synReply, 0, reply);
    if ((flags & FLAG_FIN) !== 0) await stream.receive(Buffer.alloc(0), true);
    return stream;
  }

  async #sendReset(id: number, status: number): Promise<void> {
    const payload = Buffer.alloc(8);
    payload.writeUInt32BE(id, 0);
    payload.writeUInt32BE(status, 4);
    await this.#sendControl(FRAME.reset, 0, payload);
  }

  #sendControl(type: number, flags: number, payload: Buffer): Promise<void> {
    const header = Buffer.alloc(FRAME_HEADER_BYTES);
    header.writeUInt16BE(0x8000 | VERSION, 0);
    header.writeUInt16BE(type, 2);
    header.writeUInt32BE(((flags << 24) | payload.length) >>> 0, 4);
    return this.#sendFrame(header, payload);
  }

  /** Frames go out one after the other; a full socket holds the writers back. */
  #sendFrame(header: Buffer, payload: Buffer): Promise<void> {
    const sent = this.#sending.then(() => writeAll(this.#socket, Buffer.concat([header, payload])));
    this.#sending = sent.catch(() => {});
    return sent;
  }
}

type Frame =
  | { readonly kind: 'data'; readonly streamId: number; readonly flags: number; readonly payload: Buffer }
  | { readonly kind: 'control'; readonly type: number; readonly flags: number; readonly payload: Buffer };

async function* readFrames(socket: Duplex): AsyncGenerator<Frame> {
  let buffer: Buffer = Buffer.alloc(0);
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    buffer = buffer.length === 0 ? chunk : Buffer.concat([buffer, chunk]);
    for (;;) {
      if (buffer.length < FRAME_HEADER_BYTES) break;
      const length = buffer.readUInt32BE(4) & 0xffffff;
      if (buffer.length < FRAME_HEADER_BYTES + length) break;
      yield parseFrame(buffer, buffer.subarray(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + length));
      buffer = buffer.subarray(FRAME_HEADER_BYTES + length);
    }
  }
}

function parseFrame(header: Buffer, payload: Buffer): Frame {
  const word = header.readUInt32BE(0);
  const flags = header.readUInt8(4);
  if ((word & 0x80000000) === 0) return { kind: 'data', streamId: word, flags, payload };
  const version = (word >>> 16) & 0x7fff;
  if (version !== VERSION) throw new Error(`Cannot read SPDY frame: version ${version}`);
  return { kind: 'control', type: word & 0xffff, flags, payload };
}

function dataHeader(id: number, flags: number, length: number): Buffer {
  const header = Buffer.alloc(FRAME_HEADER_BYTES);
  header.writeUInt32BE(id, 0);
  header.writeUInt32BE(((flags << 24) | length) >>> 0, 4);
  return header;
}

function writeAll(socket: Duplex, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => {
    if (socket.destroyed) {
      reject(new Error('Cannot write to the SPDY connection: it has ended'));
      return;
    }
    socket.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

/** Reads "count:32 (length:32 name length:32 value)*", compressed. */
class HeaderInflater {
  readonly #inflate: Inflate = createInflate({
    dictionary: SPDY_DICTIONARY,
    finishFlush: constants.Z_SYNC_FLUSH,
  });
  #chunks: Buffer[] = [];

  constructor() {
    this.#inflate.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.#inflate.on('error', () => {});
  }

  async parse(block: Buffer): Promise<SpdyHeaders> {
    await new Promise<void>((resolve, reject) => {
      this.#inflate.write(block, (error) => (error ? reject(error) : resolve()));
    });
    const plain = Buffer.concat(this.#chunks);
    this.#chunks = [];
    const headers: Record<string, string> = {};
    let offset = 4;
    const text = () => {
      const length = plain.readUInt32BE(offset);
      offset += 4 + length;
      return plain.toString('utf8', offset - length, offset);
    };
    for (let left = plain.readUInt32BE(0); left > 0; left -= 1) headers[text().toLowerCase()] = text();
    return headers;
  }

  close(): void {
    this.#inflate.close();
  }
}

class HeaderDeflater {
  readonly #deflate: Deflate = createDeflate({ dictionary: SPDY_DICTIONARY });
  #chunks: Buffer[] = [];

  constructor() {
    this.#deflate.on('data', (chunk: Buffer) => this.#chunks.push(chunk));
    this.#deflate.on('error', () => {});
  }

  async format(headers: SpdyHeaders): Promise<Buffer> {
    const parts = [number(Object.keys(headers).length)];
    for (const [name, value] of Object.entries(headers)) parts.push(sized(name), sized(value));
    this.#deflate.write(Buffer.concat(parts));
    await new Promise<void>((resolve) => this.#deflate.flush(constants.Z_SYNC_FLUSH, () => resolve()));
    const block = Buffer.concat(this.#chunks);
    this.#chunks = [];
    return block;
  }

  close(): void {
    this.#deflate.close();
  }
}

function number(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

function sized(text: string): Buffer {
  const bytes = Buffer.from(text);
  return Buffer.concat([number(bytes.length), bytes]);
}
