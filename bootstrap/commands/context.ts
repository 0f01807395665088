import { resolve } from 'node:path';
import { describeFileError, TkadmError } from '../../runtime/base/errors.ts';

/** What a command needs of the terminal that hands it to a container's process. */
export interface Terminal {
  /** Resolves when standard error has taken them. */
  readonly writeErrorBytes: (bytes: Uint8Array) => Promise<void>;
  /** While taken, signals go to the listener instead of ending the command; returns what gives them back. */
  readonly takeSignals: (listener: (signal: NodeJS.Signals) => void) => () => void;
  /** In characters; undefined when standard output is no terminal, or one without a size. */
  readonly size: () => { readonly columns: number; readonly rows: number } | undefined;
  /** Calls back when the size has changed; returns what ends that. */
  readonly onResize: (listener: () => void) => () => void;
  /** Keys come as they are typed, Ctrl-C as well. */
  readonly setRaw: (isRaw: boolean) => void;
}

/** What the command line hands to a command: the world outside, and nothing else does. */
export interface CliContext {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
  readonly isTerminal: boolean;
  readonly isInputTerminal: boolean;
  readonly stdin: AsyncIterable<Uint8Array | string>;
  /** The script that runs: `.../dist/tkadm.js`, or the bundle's copy on a node. */
  readonly entryPath: string;
  readonly nodePath: string;
  readonly uid: number;
  readonly pid: number;
  readonly now: () => Date;
  readonly write: (text: string) => void;
  /** Resolves when standard output has taken them. */
  readonly writeBytes: (bytes: Uint8Array) => Promise<void>;
  readonly writeError: (text: string) => void;
  /** Asks at the terminal; undefined when no answer comes. */
  readonly ask: (question: string, options: { readonly isSecret: boolean }) => Promise<string | undefined>;
  readonly terminal: Terminal;
  readonly fileExists: (path: string) => Promise<boolean>;
}

/** The command as the reader has typed it: npx tells its children of itself. */
export function programName({ env }: Pick<CliContext, 'env'>): string {
  return env['npm_command'] === 'exec' ? 'npx tkadm' : 'tkadm';
}

/** Text of a file named on the command line; "-" is standard input. @throws FILE_READ */
export async function readInput(context: CliContext, path: string): Promise<string> {
  if (path !== '-') {
    const { readFile } = await import('node:fs/promises');
    return readFile(resolve(context.cwd, path), 'utf8').catch((error) => {
      throw new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, {
        cause: error,
      });
    });
  }
  const chunks: Buffer[] = [];
  for await (const chunk of context.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
