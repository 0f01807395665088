import { chmod, type FileHandle, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isSystemError } from '../../runtime/base/errors.ts';
import { syncDirectory, writeFileAtomic } from '../../runtime/base/files.ts';
import { damaged, type Entry, formatSealed, type JournalText, parseEntries, parseSealed } from './entries.ts';
import { digestContent } from './file-state.ts';
import type { Snapshot } from './snapshot.ts';

/** What a journal's directory holds. */
function filesOf(directory: string) {
  return {
    entries: join(directory, 'entries.jsonl'),
    snapshot: join(directory, 'snapshot.json'),
    replaced: join(directory, 'replaced'),
    /** What is on its way out. */
    ended: `${directory}.ended`,
  };
}

/** The entries of the journal in a directory; none when there is no journal. @throws JOURNAL_DAMAGED */
export async function readEntries(directory: string): Promise<JournalText> {
  const path = filesOf(directory).entries;
  const bytes = await readIfThere(path);
  return bytes ? parseEntries(bytes, path) : { entries: [], wholeBytes: 0 };
}

/** The machine before its first change; undefined when nobody has looked. @throws JOURNAL_DAMAGED */
export async function readSnapshot(directory: string): Promise<Snapshot | undefined> {
  const path = filesOf(directory).snapshot;
  const bytes = await readIfThere(path);
  if (!bytes) return undefined;
  const value = parseSealed(bytes.toString('utf8').trimEnd());
  if (!value) throw damaged(path, 'it is not as it was written');
  return value as unknown as Snapshot;
}

/** A file that was replaced, by its digest. @throws JOURNAL_DAMAGED when it is gone or is not what it was */
export async function readReplaced(directory: string, digest: string): Promise<Buffer> {
  const path = join(filesOf(directory).replaced, digest);
  const content = await readIfThere(path);
  if (!content) throw damaged(path, 'it is not there');
  if (digestContent(content) !== digest) throw damaged(path, 'it is not as it was written');
  return content;
}

/** Forgets everything: out of the way by one rename, so that no half of a journal is ever read. */
export async function endJournal(directory: string): Promise<void> {
  const { ended } = filesOf(directory);
  await rm(ended, { recursive: true, force: true });
  await rename(directory, ended).catch((error) => {
    if (!isSystemError(error, 'ENOENT')) throw error;
  });
  await rm(ended, { recursive: true, force: true });
}

async function readIfThere(path: string): Promise<Buffer | undefined> {
  return readFile(path).catch((error) => {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  });
}

interface Waiting {
  readonly text: string;
  readonly isSynced: boolean;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** The journal of a machine, open for more lines. Only its directory's owner can read it: it holds replaced secrets. */
export class JournalWriter {
  readonly #directory: string;
  readonly #file: FileHandle;
  #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  private constructor(directory: string, file: FileHandle) {
    this.#directory = directory;
    this.#file = file;
  }

  /** Opens the journal and cuts off what a loss of power has torn. @throws JOURNAL_DAMAGED */
  static async open(directory: string): Promise<JournalWriter> {
    const { entries, ended } = filesOf(directory);
    await rm(ended, { recursive: true, force: true });
    await mkdir(directory, { recursive: true, mode: 0o700 });
    await chmod(directory, 0o700);
    const { wholeBytes } = await readEntries(directory);
    const isNew = !(await stat(entries).catch(() => undefined));
    const file = await open(entries, 'a', 0o600);
    await file.truncate(wholeBytes);
    if (isNew) {
      await syncDirectory(directory);
      await syncDirectory(dirname(directory));
    }
    return new JournalWriter(directory, file);
  }

  /** Keeps the machine as it is before its first change. */
  async writeSnapshot(snapshot: Snapshot): Promise<void> {
    await writeFileAtomic(filesOf(this.#directory).snapshot, formatSealed(snapshot), { mode: 0o600 });
  }

  /** Keeps what an action replaces. */
  async keep(content: Uint8Array): Promise<void> {
    const { replaced } = filesOf(this.#directory);
    await mkdir(replaced, { recursive: true, mode: 0o700 });
    const path = join(replaced, digestContent(content));
    if (await stat(path).catch(() => undefined)) return;
    await writeFileAtomic(path, content, { mode: 0o600 });
    await syncDirectory(this.#directory);
  }

  /** Returns when the line is written, synced when it is to be; lines that wait at the same time share one sync. */
  append(entry: Entry, { isSynced }: { readonly isSynced: boolean }): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({ text: formatSealed(entry), isSynced, resolve, reject });
      this.#writing ??= this.#write();
    });
  }

  async #write(): Promise<void> {
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      try {
        await this.#file.appendFile(batch.map(({ text }) => text).join(''));
        if (batch.some(({ isSynced }) => isSynced)) await this.#file.datasync();
        for (const { resolve } of batch) resolve();
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
    }
    this.#writing = undefined;
  }

  async close(): Promise<void> {
    await this.#writing;
    await this.#file.close();
  }
}
