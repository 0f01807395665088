import { TkadmError } from '../../base/errors.ts';
import { sleep } from '../../base/time.ts';

/** Changes of other prefixes count revisions up without an event: after this time a write of one's own tells. */
const MARK_AFTER_MS = 30;
const REOPEN_AFTER_MS = 3000;
const GIVE_UP_AFTER_MS = 10_000;

/** A watch, as far as it tells how far it has come. */
export interface FollowingWatch {
  readonly revision: number;
  /** Resolves once the revision is told, or the watch has ended. */
  told(revision: number): Promise<void>;
  reopen(): void;
}

export interface EtcdConfirmationOptions {
  /** Those that are open; it changes. */
  readonly watches: ReadonlySet<FollowingWatch>;
  /** etcd's revision, by a linearizable read. */
  readonly readRevision: () => Promise<number>;
  /** Changes a key that every watch sees; returns the revision. */
  readonly writeMark: () => Promise<number>;
}

/** Has the watches catch up with etcd, once for all who ask at the same time. */
export class EtcdConfirmation {
  readonly #options: EtcdConfirmationOptions;
  #running: Promise<void> = Promise.resolve();
  #next: Promise<void> | undefined;

  constructor(options: EtcdConfirmationOptions) {
    this.#options = options;
  }

  /** Resolves once every watch has told what was committed before this call. @throws STORE_FAILED */
  confirm(): Promise<void> {
    this.#next ??= this.#start();
    return this.#next;
  }

  // Whoever asks while a confirmation is under way gets the next one: this one may be older than his question.
  async #start(): Promise<void> {
    await this.#running.catch(() => {});
    this.#next = undefined;
    this.#running = this.#confirmOnce();
    await this.#running;
  }

  async #confirmOnce(): Promise<void> {
    const revision = await this.#options.readRevision();
    if (this.#behind(revision).length === 0) return;
    await toldWithin(this.#behind(revision), revision, MARK_AFTER_MS);
    if (this.#behind(revision).length === 0) return;
    const mark = await this.#options.writeMark();
    await toldWithin(this.#behind(revision), mark, REOPEN_AFTER_MS);
    for (const watch of this.#behind(revision)) watch.reopen();
    await toldWithin(this.#behind(revision), mark, GIVE_UP_AFTER_MS);
    if (this.#behind(revision).length === 0) return;
    throw new TkadmError(
      'STORE_FAILED',
      `Cannot read the newest state: etcd's watch stays behind revision ${revision}`,
    );
  }

  #behind(revision: number): readonly FollowingWatch[] {
    return [...this.#options.watches].filter((watch) => watch.revision < revision);
  }
}

async function toldWithin(
  watches: readonly FollowingWatch[],
  revision: number,
  timeoutMs: number,
): Promise<void> {
  if (watches.length === 0) return;
  const end = new AbortController();
  const told = Promise.all(watches.map((watch) => watch.told(revision)));
  await Promise.race([told, sleep(timeoutMs, end.signal).catch(() => {})]);
  end.abort();
}
