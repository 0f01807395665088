import { PassThrough, type Readable } from 'node:stream';
import { ReadStream } from 'node:tty';

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
  input.on('end', () => input.destroy());
  input.on('close', () => output.end());
  return { input, output };
}
