import { closeSync, constants as fs, openSync } from 'node:fs';
import { Socket } from 'node:net';
import { join } from 'node:path';
import { PassThrough, type Readable, Writable } from 'node:stream';
import type { ReadStream } from 'node:tty';
import type { ProcessStreams } from './engine.ts';
import { SLOT_FILES } from './launch-bundle.ts';
import type { Libc } from './libc.ts';
import type { LogWriter } from './log-writer.ts';
import { MASTER_FD } from './performer/monitor-program.ts';
import { openMaster } from './terminal-master.ts';

const TIOCSWINSZ = 0x5414;
/** fcntl(2) */
const F_SETPIPE_SZ = 1031;
/** What an unprivileged process may ask for as well. */
const PIPE_BYTES = 1024 * 1024;
/** An attached client that reads nothing is dropped when this much waits for it. */
const MAX_SESSION_BYTES = 16 * 1024 * 1024;
type StreamName = 'stdout' | 'stderr';

export interface StreamsOptions {
  readonly libc: Libc;
  readonly directory: string;
  readonly monitorPid: number;
  readonly terminal: boolean;
  readonly stdin: boolean;
  readonly stdinOnce: boolean;
  readonly log: LogWriter | undefined;
  /** The log could not be written (full disk): the container goes on without those lines. */
  readonly onLogError: (error: Error) => void;
}

interface Session {
  readonly stdout: PassThrough;
  readonly stderr: PassThrough | undefined;
}

/** Reads a container's output into its log and its attached sessions, and feeds its input. */
export class ContainerStreams {
  readonly #options: StreamsOptions;
  readonly #sessions = new Set<Session>();
  readonly #sources: (Socket | ReadStream)[] = [];
  readonly #masterFd: number | undefined;
  #stdin: Writable | undefined;
  /** Resolves when the output has ended and is in the log. */
  readonly drained: Promise<void>;

  constructor(options: StreamsOptions) {
    this.#options = options;
    if (options.terminal) {
      this.#masterFd = takeDescriptor(options.libc, options.monitorPid, MASTER_FD);
      const master = this.#masterFd === undefined ? undefined : openMaster(this.#masterFd);
      if (master !== undefined) this.#sources.push(master.input);
      this.#stdin = master?.input;
      this.drained = master === undefined ? Promise.resolve() : this.#pump('stdout', master.output);
      return;
    }
    const pumps = (['stdout', 'stderr'] as const).map((name) => {
      const source = openFifoReader(join(options.directory, SLOT_FILES[name]), options.libc);
      this.#sources.push(source);
      return this.#pump(name, source);
    });
    this.drained = Promise.all(pumps).then(() => {});
  }

  /** A client's streams: output from now on, input when the container has it. */
  attach(): ProcessStreams & { close(): void } {
    const { terminal, stdin } = this.#options;
    const session = { stdout: new PassThrough(), stderr: terminal ? undefined : new PassThrough() };
    this.#sessions.add(session);
    const close = () => {
      this.#sessions.delete(session);
      session.stdout.end();
      session.stderr?.end();
    };
    return {
      stdin: terminal || stdin ? this.#openInput() : undefined,
      stdout: session.stdout,
      stderr: session.stderr,
      resize: (columns, rows) => this.#resize(columns, rows),
      close,
    };
  }

  /** Stops reading; what is in the pipes stays there for the next engine. */
  close(): void {
    for (const source of this.#sources) source.destroy();
    if (!this.#options.terminal) this.#stdin?.destroy();
    this.#endSessions();
  }

  async #pump(name: StreamName, source: Readable): Promise<void> {
    const { log, onLogError } = this.#options;
    try {
      for await (const chunk of source as AsyncIterable<Buffer>) {
        await log?.write(name, chunk).catch(onLogError);
        for (const session of this.#sessions) this.#forward(session, name, chunk);
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ERR_STREAM_PREMATURE_CLOSE') throw error;
    } finally {
      await log?.flush(name).catch(onLogError);
      for (const session of this.#sessions) session[name]?.end();
    }
  }

  #forward(session: Session, name: StreamName, chunk: Buffer): void {
    const stream = session[name];
    if (stream === undefined || stream.destroyed) return;
    stream.write(chunk);
    if (stream.writableLength <= MAX_SESSION_BYTES) return;
    stream.destroy(new Error('Cannot keep up with the output'));
    this.#sessions.delete(session);
  }

  #endSessions(): void {
    for (const session of this.#sessions) {
      session.stdout.end();
      session.stderr?.end();
    }
    this.#sessions.clear();
  }

  #openInput(): Writable {
    const target = () => {
      this.#stdin ??= openFifoWriter(join(this.#options.directory, SLOT_FILES.stdin));
      return this.#stdin;
    };
    return new Writable({
      write: (chunk: Buffer, _encoding, done) => {
        const stdin = target();
        if (stdin === undefined) done(new Error('Cannot write: the standard input is closed'));
        else stdin.write(chunk, () => done());
      },
      final: (done) => {
        if (this.#options.stdinOnce && !this.#options.terminal) this.#endInput();
        done();
      },
    });
  }

  #endInput(): void {
    this.#stdin?.end();
    try {
      process.kill(this.#options.monitorPid, 'SIGUSR1');
    } catch {}
  }

  #resize(columns: number, rows: number): void {
    if (this.#masterFd === undefined) return;
    setWindowSize(this.#options.libc, this.#masterFd, columns, rows);
  }
}

/** Sets a terminal's size in characters, ioctl_tty(2). */
export function setWindowSize(libc: Libc, fd: number, columns: number, rows: number): void {
  const window = Buffer.alloc(8);
  window.writeUInt16LE(rows, 0);
  window.writeUInt16LE(columns, 2);
  libc.ioctl(fd, TIOCSWINSZ, window, 'size terminal');
}

/** A duplicate of another process's descriptor; undefined when the process has ended. */
export function takeDescriptor(libc: Libc, pid: number, fd: number): number | undefined {
  let pidfd: number | undefined;
  try {
    pidfd = libc.pidfdOpen(pid);
    return libc.pidfdGetfd(pidfd, fd);
  } catch {
    return undefined;
  } finally {
    if (pidfd !== undefined) closeSync(pidfd);
  }
}

/** Reads a FIFO through the event loop, without a thread for each; with `libc` it takes more while nobody reads. */
export function openFifoReader(path: string, libc?: Libc): Socket {
  const fd = openSync(path, fs.O_RDONLY | fs.O_NONBLOCK);
  if (libc !== undefined) widenPipe(libc, fd);
  // A reader that opens after the last writer has gone is never told of the end: let one more come and go.
  closeSync(openSync(path, fs.O_WRONLY | fs.O_NONBLOCK));
  return new Socket({ fd, readable: true, writable: false });
}

/** Pages are taken as they are filled: an idle pipe of this size costs 10 KiB. */
function widenPipe(libc: Libc, fd: number): void {
  try {
    libc.fcntl(fd, F_SETPIPE_SZ, PIPE_BYTES);
  } catch {
    // The machine's limit is lower (/proc/sys/fs/pipe-max-size), or there are too many pipes: 64 KiB, then.
  }
}

function openFifoWriter(path: string): Writable | undefined {
  try {
    return new Socket({ fd: openSync(path, fs.O_WRONLY | fs.O_NONBLOCK), readable: false, writable: true });
  } catch {
    return undefined;
  }
}
