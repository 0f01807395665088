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
  readonly now: () => Date;
  readonly write: (text: string) => void;
  readonly writeError: (text: string) => void;
  readonly fileExists: (path: string) => Promise<boolean>;
}

/** Text of a file named on the command line; "-" is standard input. */
export async function readInput(context: CliContext, path: string): Promise<string> {
  if (path !== '-') return (await import('node:fs/promises')).readFile(path, 'utf8');
  const chunks: Buffer[] = [];
  for await (const chunk of context.stdin) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks).toString('utf8');
}
