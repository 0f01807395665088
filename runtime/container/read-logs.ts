import { type FSWatcher, watch } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { sleep } from '../base/time.ts';
import { type LogRecord, parseLogLine } from './cri-log.ts';
import { rotatedPaths } from './log-writer.ts';

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
  /** How many files the log may have, the older ones with numbers (rotatedPaths); default 1. */
  readonly maxFiles?: number | undefined;
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
  const paths = rotatedPaths(path, source.maxFiles ?? 1);
  const { older, last, offset: start } = await openFiles(paths, query.tailLines);
  const { size } = last;
  let { file } = last;
  let offset = older.length === 0 ? start : 0;
  const notice = new Notice(path);
  try {
    for (const [index, one] of older.entries()) yield* readWhole(one, index === 0 ? start : 0);
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
      const next = await openRotated(file, paths);
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
    for (const one of older) await one.file.close();
    await file.close();
  }
}

interface OpenFile {
  readonly file: FileHandle;
  readonly inode: number;
  readonly size: number;
}

/**
 * Opens what there is of a log, so that a rotation meanwhile takes nothing away: the files before the present one,
 * oldest first, as far as the last `tailLines` reach back, and where the first of all begins.
 */
async function openFiles(
  paths: readonly string[],
  tailLines: number | undefined,
): Promise<{ readonly older: readonly OpenFile[]; readonly last: OpenFile; readonly offset: number }> {
  const last = await openSized(await open(paths.at(-1)!, 'r'));
  const older: OpenFile[] = [];
  let { offset, left } = await findStart(last, tailLines);
  for (const path of paths.slice(0, -1).toReversed()) {
    if (left === 0) break;
    const file = await open(path, 'r').catch(() => undefined);
    if (file === undefined) break;
    const one = await openSized(file);
    // The files were given other numbers just now.
    if ([last, ...older].some(({ inode }) => inode === one.inode)) {
      await file.close();
      continue;
    }
    older.unshift(one);
    ({ offset, left } = await findStart(one, left));
  }
  return { older, last, offset };
}

async function openSized(file: FileHandle): Promise<OpenFile> {
  const { size, ino } = await file.stat();
  return { file, size, inode: ino };
}

/** Where the last `count` lines of a file begin, and how many are left for older ones; all of it without a count. */
async function findStart(
  { file, size }: OpenFile,
  count: number | undefined,
): Promise<{ readonly offset: number; readonly left: number | undefined }> {
  if (count === undefined) return { offset: 0, left: undefined };
  const { offset, found } = await findTail(file, size, count);
  return { offset, left: count - found };
}

async function* readWhole({ file, size }: OpenFile, start: number): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for (let offset = start; offset < size; ) {
    const chunk = await readAt(file, offset, Math.min(BLOCK_BYTES, size - offset));
    if (chunk.length === 0) return;
    offset += chunk.length;
    const lines = splitLines(Buffer.concat([rest, chunk]));
    rest = lines.rest;
    yield* lines.complete;
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

/** The file that follows `file` after a rotation: the next newer one, or the oldest when `file` is gone. */
async function openRotated(file: FileHandle, paths: readonly string[]): Promise<FileHandle | undefined> {
  const own = await file.stat();
  const inodes = await Promise.all(paths.map(async (path) => (await stat(path).catch(() => undefined))?.ino));
  const place = inodes.indexOf(own.ino);
  const next = paths.find((_, index) => index > place && inodes[index] !== undefined);
  return next === undefined ? undefined : open(next, 'r');
}

/** The offset at which the last `count` lines of the first `size` bytes begin, and how many there are from there on. */
async function findTail(
  file: FileHandle,
  size: number,
  count: number,
): Promise<{ readonly offset: number; readonly found: number }> {
  if (count === 0 || size === 0) return { offset: size, found: 0 };
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
      if (found === count) return { offset: start + i + 1, found };
    }
    end = start;
  }
  return { offset: 0, found: found + 1 };
}
