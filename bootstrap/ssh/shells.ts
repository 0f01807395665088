import { randomBytes } from 'node:crypto';
import { PassThrough } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import type { CommandOptions, CommandResult } from '../../runtime/base/host.ts';
import { sendInput, waitForExit } from './channel.ts';

/** sshd gives ten sessions to a connection; uploads and commands that are followed have their own. */
const MAX_SHELLS = 4;

/** Starts `sh` on the machine as root, which reads commands from this input. */
export type OpenShell = (input: PassThrough) => Promise<ClientChannel>;

/**
 * Shells of a machine that wait for commands. A session for each command would begin with the user's login shell and
 * what that reads at its start, which takes longer than most commands.
 */
export class Shells {
  readonly #open: OpenShell;
  readonly #idle: Shell[] = [];
  readonly #waiting: (() => void)[] = [];
  #max = MAX_SHELLS;
  #count = 0;

  constructor(open: OpenShell) {
    this.#open = open;
  }

  /** Runs a command line of POSIX sh with no input; 255 when its shell is lost. */
  async run(commandLine: string, { timeoutMs, signal }: CommandOptions): Promise<CommandResult> {
    signal?.throwIfAborted();
    const shell = await this.#take();
    const stop = () => shell.close();
    const timer = timeoutMs ? setTimeout(stop, timeoutMs) : undefined;
    signal?.addEventListener('abort', stop, { once: true });
    try {
      if (signal?.aborted) stop();
      return await shell.run(commandLine);
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', stop);
      this.#give(shell);
      signal?.throwIfAborted();
    }
  }

  /** A shell that waits, which becomes a command with input of its own; undefined when none does. */
  async openStream(commandLine: string, input: CommandOptions['input']): Promise<ClientChannel | undefined> {
    const shell = this.#idle.pop();
    if (!shell) return undefined;
    this.#count -= 1;
    return shell.isOpen ? shell.become(commandLine, input) : undefined;
  }

  async #take(): Promise<Shell> {
    for (;;) {
      const idle = this.#idle.pop();
      if (idle?.isOpen) return idle;
      if (idle) this.#count -= 1;
      else if (this.#count >= this.#max) await new Promise<void>((resolve) => this.#waiting.push(resolve));
      else {
        const shell = await this.#start();
        if (shell) return shell;
      }
    }
  }

  /** One more; undefined when the machine gives no further session: those that there are must do. */
  async #start(): Promise<Shell | undefined> {
    this.#count += 1;
    try {
      const input = new PassThrough();
      return new Shell(await this.#open(input), input);
    } catch (error) {
      this.#count -= 1;
      if (this.#count === 0) throw error;
      this.#max = this.#count;
      return undefined;
    }
  }

  #give(shell: Shell): void {
    if (shell.isOpen) this.#idle.push(shell);
    else this.#count -= 1;
    this.#waiting.shift()?.();
  }
}

/** One side of what a shell says, with marks that no command can know. */
class Side {
  readonly #mark: string;
  readonly #closing: RegExp;
  #chunks: Buffer[] = [];
  /** Enough for a mark, which may come in pieces. */
  #tail = '';
  /** The opening mark was there. */
  isOpened = false;
  /** What follows the closing mark: an exit code, or nothing. */
  ending: string | undefined;

  constructor(mark: string) {
    this.#mark = mark;
    this.#closing = new RegExp(`\\n${mark}\\)(\\d*)\\n`);
  }

  add(chunk: Buffer): void {
    this.#chunks.push(chunk);
    const text = this.#tail + chunk.toString('latin1');
    this.isOpened ||= text.includes(`${this.#mark}(\n`);
    this.ending ??= this.#closing.exec(text)?.[1];
    this.#tail = text.slice(-64);
  }

  /** What was said between the marks, as far as it came; forgets it. */
  take(): string {
    const all = Buffer.concat(this.#chunks);
    const opening = `${this.#mark}(\n`;
    const at = all.indexOf(opening);
    const end = all.lastIndexOf(`\n${this.#mark})`);
    this.#chunks = [];
    this.#tail = '';
    this.isOpened = false;
    this.ending = undefined;
    return all.subarray(at < 0 ? 0 : at + opening.length, end < 0 ? all.length : end).toString('utf8');
  }
}

/**
 * A shell that runs one command after the other. Of each side, standard output and standard error:
 *
 *     <what the login shell says> <mark>( newline <the command's output> newline <mark>)<exit code> newline
 */
class Shell {
  readonly #channel: ClientChannel;
  readonly #input: PassThrough;
  readonly #mark = randomBytes(16).toString('hex');
  readonly #sides = { stdout: new Side(this.#mark), stderr: new Side(this.#mark) };
  readonly #closed: Promise<number>;
  #notice: () => void = () => {};
  isOpen = true;

  constructor(channel: ClientChannel, input: PassThrough) {
    this.#channel = channel;
    this.#input = input;
    this.#closed = waitForExit(channel).finally(() => {
      this.isOpen = false;
    });
    channel.on('data', this.#hear);
    channel.stderr.on('data', this.#complain);
  }

  readonly #hear = (chunk: Buffer): void => {
    this.#sides.stdout.add(chunk);
    this.#notice();
  };

  readonly #complain = (chunk: Buffer): void => {
    this.#sides.stderr.add(chunk);
    this.#notice();
  };

  async run(commandLine: string): Promise<CommandResult> {
    const { stdout, stderr } = this.#sides;
    const mark = this.#mark;
    const ended = new Promise<number>((resolve) => {
      this.#notice = () => {
        const code = stdout.ending;
        if (code !== undefined && stderr.ending !== undefined) resolve(Number(code));
      };
    });
    this.#input.write(
      `${this.#open}; (exec ${commandLine}) </dev/null; printf '\\n%s%d\\n' '${mark})' $?; printf '\\n%s\\n' '${mark})' >&2\n`,
    );
    const exitCode = await Promise.race([ended, this.#closed]);
    return { exitCode, stdout: stdout.take(), stderr: stderr.take() };
  }

  /**
   * Gives its place to a command, whose channel this is then; undefined when it was lost before. The command waits for
   * a line, so that nothing is said before somebody listens; what follows that line is its input.
   */
  async become(commandLine: string, input: CommandOptions['input']): Promise<ClientChannel | undefined> {
    const sides = Object.values(this.#sides);
    const opened = new Promise<true>((resolve) => {
      this.#notice = () => sides.every((side) => side.isOpened) && resolve(true);
    });
    this.#input.write(`${this.#open}; read -r _; exec ${commandLine}\n`);
    if ((await Promise.race([opened, this.#closed])) !== true) return undefined;
    this.#channel.off('data', this.#hear);
    this.#channel.stderr.off('data', this.#complain);
    setImmediate(() => {
      this.#input.write('\n');
      sendInput(this.#input, input);
    });
    return this.#channel;
  }

  get #open(): string {
    return `echo '${this.#mark}('; echo '${this.#mark}(' >&2`;
  }

  close(): void {
    this.isOpen = false;
    this.#channel.close();
  }
}
