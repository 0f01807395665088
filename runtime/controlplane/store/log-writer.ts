import { constants, write } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { promisify } from 'node:util';

const writeAsync = promisify(write);
const { O_WRONLY, O_CREAT, O_EXCL, O_APPEND, O_DSYNC } = constants;
const DURABLE_APPEND = O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_DSYNC;

/** An append-only file; `append` resolves when the bytes are on disk (open(2) O_DSYNC). */
export class LogWriter {
  readonly path: string;
  readonly #file: FileHandle;
  #sizeBytes: number;

  private constructor(path: string, file: FileHandle, sizeBytes: number) {
    this.path = path;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  /** Creates the file, which must not exist, and makes its name durable. */
  static async create(path: string, directory: FileHandle): Promise<LogWriter> {
    // One call per batch: a write and then an fdatasync(2) would go through the thread pool twice.
    const file = await open(path, DURABLE_APPEND, 0o600);
    await directory.sync();
    return new LogWriter(path, file, 0);
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  async append(bytes: Buffer): Promise<void> {
    let written = 0;
    while (written < bytes.length) {
      const result = await writeAsync(this.#file.fd, bytes, written, bytes.length - written, null);
      written += result.bytesWritten;
    }
    this.#sizeBytes += bytes.length;
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}
