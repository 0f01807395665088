import { readSync } from 'node:fs';
import { PassThrough, type Readable } from 'node:stream';
import { ReadStream } from 'node:tty';

const REST_SIZE = 65536;

/** A terminal's master: what is written to it, and what it shows until the last process has closed it. */
export interface TerminalMaster {
  readonly input: ReadStream;
  readonly output: Readable;
}

/**
 * Follows a terminal's master. EIO is how Linux says that the last process with the terminal open has ended; as an
 * error it would take with it what was read just before, hence the second stream.
 */
export function openMaster(fd: number): TerminalMaster {
  const input = new ReadStream(fd);
  const output = new PassThrough();
  input.on('data', (chunk: Buffer) => {
    if (output.write(chunk)) return;
    input.pause();
    output.once('drain', () => input.resume());
  });
  input.on('error', () => input.destroy());
  input.on('end', () => {
    for (const chunk of readRest(fd)) output.write(chunk);
    input.destroy();
  });
  input.on('close', () => output.end());
  return { input, output };
}

/** libuv takes a hang-up with a short read for the end, while a terminal may have more. */
function* readRest(fd: number): Generator<Buffer> {
  const buffer = Buffer.alloc(REST_SIZE);
  for (;;) {
    let length: number;
    try {
      length = readSync(fd, buffer);
    } catch {
      // EIO, or nothing there.
      return;
    }
    if (length === 0) return;
    yield Buffer.from(buffer.subarray(0, length));
  }
}
