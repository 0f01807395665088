import { appendFileSync, mkdirSync } from 'node:fs';
import { type FileHandle, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Longer lines are written in parts of this size, tagged "P" (the CRI log format). */
const MAX_LINE_BYTES = 16384;
const LINE_FEED = 10;

/** How much of a container's output is kept. */
export interface LogLimit {
  /** A file that has so much is followed by a new one. */
  readonly maxBytes: number;
  /** With the present one: "log", "log.1", the oldest with the highest number. */
  readonly maxFiles: number;
}

/**
 * Writes container output as CRI log lines: `2026-01-01T00:00:00.000000000Z stdout F text\n`,
 * with "P" for a part of a line whose end follows.
 */
export class LogWriter {
  readonly #path: string;
  readonly #now: () => Date;
  readonly #limit: LogLimit | undefined;
  readonly #pending = new Map<string, Buffer>();
  #file: FileHandle | undefined;
  #fileBytes = 0;
  #queue: Promise<void> = Promise.resolve();
  #isClosed = false;

  constructor(path: string, now: () => Date, limit?: LogLimit) {
    this.#path = path;
    this.#limit = limit;
    this.#now = now;
  }

  /** Makes the file, so that a container that prints nothing has an empty log. */
  create(): Promise<void> {
    return this.#enqueue(async () => {
      const file = this.#file ?? (await openAppend(this.#path));
      // A container may end before its log is there.
      if (this.#isClosed) await file.close();
      else this.#file = file;
    });
  }

  /** Adds output of one stream; resolves when it is in the file. */
  write(stream: 'stdout' | 'stderr', chunk: Buffer): Promise<void> {
    const { lines, rest } = splitLines(joinPending(this.#pending.get(stream), chunk));
    if (rest.length > 0) this.#pending.set(stream, rest);
    else this.#pending.delete(stream);
    return this.#append(stream, lines);
  }

  /** Writes an unfinished last line of the stream, as a part: readers add no line end that was not there. */
  flush(stream: 'stdout' | 'stderr'): Promise<void> {
    const rest = this.#pending.get(stream);
    this.#pending.delete(stream);
    return rest === undefined ? Promise.resolve() : this.#append(stream, [{ tag: 'P', text: rest }]);
  }

  /** Closes the file; the next line opens the path anew. */
  reopen(): Promise<void> {
    return this.#enqueue(async () => {
      await this.#file?.close();
      this.#file = await openAppend(this.#path);
    });
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.#enqueue(async () => {
      await this.#file?.close();
      this.#file = undefined;
    });
  }

  #append(stream: string, lines: readonly LogLine[]): Promise<void> {
    if (lines.length === 0) return this.#queue;
    const time = this.#now().toISOString().replace('Z', '000000Z');
    const records = lines.map(({ tag, text }) =>
      Buffer.concat([Buffer.from(`${time} ${stream} ${tag} `), text, NEWLINE]),
    );
    const limit = this.#limit;
    if (limit === undefined) return this.#enqueue(() => this.#put(Buffer.concat(records)));
    return this.#enqueue(async () => {
      for (const record of records) {
        await this.#rotate(limit);
        await this.#put(record);
      }
    });
  }

  async #put(content: Buffer): Promise<void> {
    this.#file ??= await openAppend(this.#path);
    // Not through the thread pool: what was read and is not written is lost when this process is killed.
    appendFileSync(this.#file.fd, content);
    this.#fileBytes += content.length;
  }

  /** Gives a full file the next number, and lets go of the oldest. */
  async #rotate({ maxBytes, maxFiles }: LogLimit): Promise<void> {
    this.#file ??= await openAppend(this.#path);
    if (this.#fileBytes === 0) this.#fileBytes = (await this.#file.stat()).size;
    if (this.#fileBytes < maxBytes) return;
    await this.#file.close();
    this.#file = undefined;
    this.#fileBytes = 0;
    const paths = rotatedPaths(this.#path, maxFiles);
    await rm(paths[0]!, { force: true });
    for (const [index, path] of paths.slice(1).entries()) {
      // Files that are not there yet.
      await rename(path, paths[index]!).catch(() => {});
    }
  }

  #enqueue(action: () => Promise<void>): Promise<void> {
    const done = this.#queue.then(action);
    this.#queue = done.catch(() => {});
    return done;
  }
}

/** The files of a log, oldest first, whether they are there or not. */
export function rotatedPaths(path: string, maxFiles: number): readonly string[] {
  const numbers = Array.from({ length: maxFiles - 1 }, (_, index) => maxFiles - 1 - index);
  return [...numbers.map((number) => `${path}.${number}`), path];
}

interface LogLine {
  readonly tag: 'F' | 'P';
  readonly text: Buffer;
}

const NEWLINE = Buffer.from('\n');

async function openAppend(path: string): Promise<FileHandle> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  return await open(path, 'a', 0o640);
}

function joinPending(pending: Buffer | undefined, chunk: Buffer): Buffer {
  return pending === undefined ? chunk : Buffer.concat([pending, chunk]);
}

/** Whole lines and full parts of long ones; `rest` is an unfinished line of at most MAX_LINE_BYTES. */
function splitLines(data: Buffer): { readonly lines: readonly LogLine[]; readonly rest: Buffer } {
  const lines: LogLine[] = [];
  let start = 0;
  for (;;) {
    const end = data.indexOf(LINE_FEED, start);
    const stop = end < 0 ? data.length : end;
    while (stop - start > MAX_LINE_BYTES) {
      lines.push({ tag: 'P', text: data.subarray(start, start + MAX_LINE_BYTES) });
      start += MAX_LINE_BYTES;
    }
    if (end < 0) return { lines, rest: data.subarray(start) };
    lines.push({ tag: 'F', text: data.subarray(start, end) });
    start = end + 1;
  }
}
