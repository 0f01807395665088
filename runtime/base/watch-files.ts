import { type FSWatcher, watch } from 'node:fs';
import { stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Events come in bursts: a certificate, its key, the temporary files of both. */
const SETTLE_MS = 200;
/** Without events (a network file system, no more inotify instances) the files are looked at this often. */
const POLL_MS = 60_000;

export interface WatchFilesOptions {
  readonly paths: readonly string[];
  /** Something may have changed; not called again while it runs. */
  readonly onEvent: () => Promise<void>;
  /**
   * The file has no name any more: it was replaced outside of a mount of that single file, and the new one
   * cannot be seen from here.
   */
  readonly onDetached?: ((path: string) => void) | undefined;
  readonly signal: AbortSignal;
  readonly pollMs?: number | undefined;
}

/**
 * Calls back after changes of files, be they written in place, renamed over or reached through a link that was
 * swapped: inotify(7) on the files and their directories, and a slow poll. Ends with the signal.
 */
export function watchFiles(options: WatchFilesOptions): void {
  if (options.paths.length === 0 || options.signal.aborted) return;
  const watcher = new FileWatcher(options);
  options.signal.addEventListener('abort', () => watcher.close(), { once: true });
}

class FileWatcher {
  readonly #options: WatchFilesOptions;
  readonly #poll: NodeJS.Timeout;
  #watchers: readonly FSWatcher[] = [];
  #settle: NodeJS.Timeout | undefined;
  #isBusy = false;
  #isClosed = false;

  constructor(options: WatchFilesOptions) {
    this.#options = options;
    this.#arm();
    this.#poll = setInterval(() => void this.#look(), options.pollMs ?? POLL_MS);
    this.#poll.unref();
  }

  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#settle);
    clearInterval(this.#poll);
    for (const watcher of this.#watchers) watcher.close();
  }

  // A file that was replaced is another inode: each look watches what is there by then.
  #arm(): void {
    for (const watcher of this.#watchers) watcher.close();
    const { paths } = this.#options;
    const places = new Set([...paths, ...paths.map((path) => dirname(path))]);
    this.#watchers = [...places].flatMap((path) => {
      try {
        const watcher = watch(path, { persistent: false }, () => this.#schedule());
        watcher.on('error', () => {});
        return [watcher];
      } catch {
        // Not there yet, or no inotify: the poll finds it.
        return [];
      }
    });
  }

  #schedule(): void {
    clearTimeout(this.#settle);
    if (!this.#isClosed) this.#settle = setTimeout(() => void this.#look(), SETTLE_MS);
  }

  async #look(): Promise<void> {
    if (this.#isClosed) return;
    if (this.#isBusy) return this.#schedule();
    this.#isBusy = true;
    this.#arm();
    try {
      await this.#reportDetached();
      await this.#options.onEvent();
    } finally {
      this.#isBusy = false;
    }
  }

  async #reportDetached(): Promise<void> {
    const { paths, onDetached } = this.#options;
    if (!onDetached) return;
    for (const path of paths) {
      const found = await stat(path).catch(() => undefined);
      if (found?.nlink === 0) onDetached(path);
    }
  }
}
