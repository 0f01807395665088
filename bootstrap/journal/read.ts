import { readEntries, readSnapshot } from './store.ts';
import { type Done, listChanges } from './undo.ts';

/** What a journal tells of a machine; nothing where there is none. @throws JOURNAL_DAMAGED */
export async function readDone(directory: string): Promise<Done> {
  const [{ entries }, snapshot] = await Promise.all([readEntries(directory), readSnapshot(directory)]);
  return { changes: listChanges(entries), snapshot };
}
