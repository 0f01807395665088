import { readFile } from 'node:fs/promises';
import { describeFileError, formatError, TkadmError } from './errors.ts';
import type { Logger } from './log.ts';
import { watchFiles } from './watch-files.ts';

export interface FileGroupOptions {
  /** "serving certificate": what the log calls it. */
  readonly subject: string;
  readonly paths: readonly string[];
  /** @throws when the texts cannot be used together: a file is half written, a key is another certificate's. */
  readonly check: (texts: readonly string[]) => void;
}

export interface FollowOptions {
  /** The group has new texts. */
  readonly onChange?: (() => void | Promise<void>) | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly pollMs?: number | undefined;
}

/** Files that only count together, such as a certificate and its key, and that may be replaced at any time. */
export class FileGroup {
  readonly #options: FileGroupOptions;
  #texts: readonly string[];
  #lastProblem = '';

  /** A group whose texts are known. */
  constructor(options: FileGroupOptions, texts: readonly string[]) {
    this.#options = options;
    this.#texts = texts;
  }

  /** Reads and checks the files. @throws FILE_READ; CERTIFICATE_FILE_INVALID for what `check` refuses */
  static async read(options: FileGroupOptions): Promise<FileGroup> {
    const { subject, paths, check } = options;
    const texts = await readTexts(paths);
    try {
      if (texts.length > 0) check(texts);
    } catch (error) {
      const message = `Cannot use ${subject} "${paths.join('", "')}": ${stateOf(error)}`;
      throw new TkadmError('CERTIFICATE_FILE_INVALID', message, { cause: error });
    }
    return new FileGroup(options, texts);
  }

  /** The texts in use, in the order of the paths. */
  get texts(): readonly string[] {
    return this.#texts;
  }

  /** Takes new texts as soon as all files are there and fit together; those in use stay until then. */
  follow({ onChange, log, signal, pollMs }: FollowOptions): void {
    const { subject, paths } = this.#options;
    const onEvent = async () => {
      try {
        if (!(await this.#reload())) return;
        log.info(`Took the new ${subject}`, { file: paths[0] });
        await onChange?.();
      } catch (error) {
        this.#warnOnce(error, log);
      }
    };
    watchFiles({ paths, onEvent, signal, pollMs });
    // What changed between the first reading and the watch.
    if (paths.length > 0) void onEvent();
  }

  async #reload(): Promise<boolean> {
    const texts = await readTexts(this.#options.paths);
    if (texts.every((text, index) => text === this.#texts[index])) {
      this.#lastProblem = '';
      return false;
    }
    this.#options.check(texts);
    this.#texts = texts;
    this.#lastProblem = '';
    return true;
  }

  // Certificate and key are replaced one after the other: between the two they do not fit.
  #warnOnce(error: unknown, log: Logger): void {
    const problem = stateOf(error);
    if (problem === this.#lastProblem) return;
    this.#lastProblem = problem;
    log.warn(`Keeping the ${this.#options.subject} in use: ${problem}`);
  }
}

function stateOf(error: unknown): string {
  return formatError(error).replace(/^Cannot use certificate: /, '');
}

async function readTexts(paths: readonly string[]): Promise<readonly string[]> {
  return Promise.all(
    paths.map(async (path) => {
      try {
        return await readFile(path, 'utf8');
      } catch (error) {
        throw new TkadmError('FILE_READ', `Cannot read "${path}": ${describeFileError(error)}`, {
          cause: error,
        });
      }
    }),
  );
}
