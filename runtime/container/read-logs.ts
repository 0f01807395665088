import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { sleep } from '../base/time.ts';
import { type LogRecord, parseLogLine } from './cri-log.ts';

export interface LogQuery {
  readonly isFollowing: boolean;
  readonly tailLines: number | undefined;
  /** Records before this time are left out. */
  readonly since: Date | undefined;
  /** The first record behind this time ends the output. */
  readonly until?: Date | undefined;
  readonly hasTimestamps: boolean;
  readonly limitBytes: number | undefined;
  readonly stream: 'All' | 'Stdout' | 'Stderr';
}

export interface LogSource {
  readonly path: string;
  /** False once the container has exited: a follower ends at the end of the file. */
  readonly isRunning: () => Promise<boolean>;
  readonly signal: AbortSignal;
}

const BLOCK_BYTES = 64 * 1024;
const POLL_MS = 500;
const NEWLINE = 0x0a;

/** The output of a container from its CRI log, as `kubectl logs` shows it; follows over rotation. */
export async function* readLogs(source: LogSource, query: LogQuery): AsyncGenerator<Buffer> {
  for await (const { bytes } of readLogPieces(source, query)) yield bytes;
}

/** A piece of one stream's output: a line, or a part of a long one. */
export interface LogPiece {
  readonly stream: 'stdout' | 'stderr';
  readonly bytes: Buffer;
}

/** The same with each piece's stream. */
export async function* readLogPieces(source: LogSource, query: LogQuery): AsyncGenerator<LogPiece> {
  let left = query.limitBytes ?? Number.POSITIVE_INFINITY;
  if (query.tailLines === 0 && !query.isFollowing) return;
  for await (const line of followLines(source, query)) {
    const record = parseLogLine(line);
    if (!record) continue;
    if (isAfter(record, query.until)) return;
    const text = formatRecord(record, query);
    if (!text) continue;
    yield { stream: record.stream, bytes: text.subarray(0, Math.min(text.length, left)) };
    left -= text.length;
    if (left <= 0) return;
  }
}

function isAfter({ timestamp }: LogRecord, until: Date | undefined): boolean {
  return until !== undefined && Date.parse(timestamp) > until.getTime();
}

function formatRecord(record: LogRecord, query: LogQuery): Buffer | undefined {
  if (query.stream !== 'All' && record.stream !== query.stream.toLowerCase()) return undefined;
  if (query.since && Date.parse(record.timestamp) < query.since.getTime()) return undefined;
  const parts: Uint8Array[] = [];
  if (query.hasTimestamps) parts.push(Buffer.from(`${record.timestamp} `));
  parts.push(record.content);
  if (!record.isPartial) parts.push(Buffer.from('\n'));
  return Buffer.concat(parts);
}

async function* followLines(source: LogSource, query: LogQuery): AsyncGenerator<Buffer> {
  const { path, signal } = source;
  let file = await open(path, 'r');
  const notice = new Notice(path);
  try {
    const { size } = await file.stat();
    let offset = query.tailLines === undefined ? 0 : await findTail(file, size, query.tailLines);
    let rest: Buffer = Buffer.alloc(0);
    // What is written from now on belongs to a follower only: `--tail=2` is two lines, however busy the log.
    const end = query.isFollowing ? Number.POSITIVE_INFINITY : size;
    let isLast = false;
    while (!signal.aborted) {
      const chunk = await readAt(file, offset, Math.min(BLOCK_BYTES, end - offset));
      offset += chunk.length;
      const lines = splitLines(Buffer.concat([rest, chunk]));
      rest = lines.rest;
      yield* lines.complete;
      if (offset >= end || (chunk.length === 0 && !query.isFollowing)) return;
      if (chunk.length > 0) continue;
      const next = await openRotated(file, path);
      if (next) {
        await file.close();
        file = next;
        offset = 0;
        continue;
      }
      if (isLast) return;
      if (!(await source.isRunning())) isLast = true;
      else await notice.wait(signal);
    }
  } finally {
    notice.close();
    await file.close();
  }
}

/** Wakes when the file changes, and now and then. */
class Notice {
  #watcher: FSWatcher | undefined;
  #wake: () => void = () => {};

  constructor(path: string) {
    try {
      this.#watcher = watch(path, () => this.#wake()).on('error', () => {});
    } catch {
      // The poll alone has to do.
    }
  }

  async wait(signal: AbortSignal): Promise<void> {
    const woken = new Promise<void>((resolve) => {
      this.#wake = resolve;
    });
    await Promise.race([woken, sleep(POLL_MS, signal).catch(() => {})]);
  }

  close(): void {
    this.#watcher?.close();
  }
}

async function readAt(file: FileHandle, offset: number, length: number): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  const { bytesRead } = await file.read(buffer, 0, length, offset);
  return buffer.subarray(0, bytesRead);
}

function splitLines(buffer: Buffer): { readonly complete: Buffer[]; readonly rest: Buffer } {
  const complete: Buffer[] = [];
  let start = 0;
  for (let end = buffer.indexOf(NEWLINE); end >= 0; end = buffer.indexOf(NEWLINE, start)) {
    complete.push(buffer.subarray(start, end));
    start = end + 1;
  }
  return { complete, rest: buffer.subarray(start) };
}

/** The file that took the path's place after a rotation. */
async function openRotated(file: FileHandle, path: string): Promise<FileHandle | undefined> {
  const [present, own] = await Promise.all([stat(path).catch(() => undefined), file.stat()]);
  if (!present || present.ino === own.ino) return undefined;
  return open(path, 'r');
}

/** The offset at which the last `count` lines of the first `size` bytes begin. */
async function findTail(file: FileHandle, size: number, count: number): Promise<number> {
  let end = size;
  let found = 0;
  while (end > 0) {
    const start = Math.max(0, end - BLOCK_BYTES);
    const buffer = Buffer.alloc(end - start);
    await file.read(buffer, 0, buffer.length, start);
    for (let i = buffer.length - 1; i >= 0; i -= 1) {
      if (buffer[i] !== NEWLINE) continue;
      // The newline at the very end closes the last line and begins none.
      if (start + i + 1 === size) continue;
      found += 1;
      if (found === count) return start + i + 1;
    }
    end = start;
  }
  return count === 0 ? size : 0;
}
