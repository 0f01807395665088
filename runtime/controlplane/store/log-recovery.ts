import { randomUUID } from 'node:crypto';
import { open as openFile, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../../base/errors.ts';
import { parseLog } from './log-record.ts';
import type { StoredValue } from './types.ts';

/** What the logs hold beyond the database. */
export interface Recovered {
  readonly overlay: Map<string, StoredValue | undefined>;
  readonly logs: readonly string[];
  readonly revision: number;
}

/** Reads the logs of a directory behind the database's revision. @throws STORE_CORRUPT when a write is missing */
export async function recoverLogs(directory: string, foldedRevision: number): Promise<Recovered> {
  let revision = foldedRevision;
  const overlay = new Map<string, StoredValue | undefined>();
  const names = (await readdir(directory)).filter((name) => name.startsWith('log-')).sort();
  const logs = names.map((name) => join(directory, name));
  for (const path of logs) {
    const bytes = await readFile(path);
    const { records, readableBytes } = parseLog(bytes);
    if (readableBytes < bytes.length) await cutLog(path, readableBytes);
    for (const record of records) {
      if (record.revision <= revision) continue;
      if (record.revision !== revision + 1) throw corrupt(path, `revision ${revision + 1} is missing`);
      revision = record.revision;
      const { key, value, createRevision } = record;
      overlay.set(key, value ? { key, value, createRevision, modRevision: revision } : undefined);
    }
  }
  return { overlay, logs, revision };
}

// What cannot be read at a log's end was being written, so nobody was told that it had succeeded; had more
// been lost, the next log's first revision would not follow.
async function cutLog(path: string, readableBytes: number): Promise<void> {
  const file = await openFile(path, 'r+');
  try {
    await file.truncate(readableBytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function corrupt(path: string, state: string): TkadmError {
  return new TkadmError('STORE_CORRUPT', `Cannot read store log "${path}": ${state}`, {
    hint: 'Restore the store directory from a backup',
  });
}

/** Logs sort by their first revision; an empty log of an earlier start may have the same one. */
export function logPath(directory: string, firstRevision: number): string {
  return join(directory, `log-${String(firstRevision).padStart(16, '0')}-${randomUUID().slice(0, 8)}`);
}
