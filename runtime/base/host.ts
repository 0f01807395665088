/** Result of a command: text streams and the exit code; a signal death is 128 + signal number. */
export interface CommandResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CommandOptions {
  /** Written to standard input, then closed. */
  readonly input?: string | Uint8Array | AsyncIterable<Uint8Array>;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

export interface FileStat {
  readonly kind: 'file' | 'directory' | 'symlink' | 'other';
  readonly mode: number;
  readonly sizeBytes: number;
}

/** A machine that can be observed and changed: this one, or one behind SSH. Paths are absolute. */
export interface Host {
  /** What the user called it: "localhost" or "user@address". */
  readonly name: string;
  /** Runs argv without a shell. Does not throw on a non-zero exit code. */
  run(argv: readonly string[], options?: CommandOptions): Promise<CommandResult>;
  /** The file's text, or undefined when it is not there. */
  readFile(path: string): Promise<string | undefined>;
  /** Atomic, fsynced write; creates parent directories. */
  writeFile(path: string, content: string | Uint8Array, options?: { readonly mode?: number }): Promise<void>;
  /** Does not follow a final symlink; undefined when nothing is there. */
  stat(path: string): Promise<FileStat | undefined>;
  /** Names in a directory, sorted; [] when it is not there. */
  list(path: string): Promise<readonly string[]>;
  mkdir(path: string, options?: { readonly mode?: number }): Promise<void>;
  /** Removes a file or a tree without crossing mount points or following links; no error when absent. */
  remove(path: string): Promise<void>;
}
