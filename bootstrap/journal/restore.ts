import { chown } from 'node:fs/promises';
import { writeFileAtomic } from '../../runtime/base/files.ts';
import type { Action } from '../workflow/action.ts';
import { readReplaced } from './store.ts';

/** Writes a file as it was before it was replaced. @throws JOURNAL_DAMAGED when its content was not kept whole */
export async function restoreFile(
  directory: string,
  { path, digest, mode, uid, gid }: Extract<Action, { kind: 'restore-file' }>,
): Promise<void> {
  await writeFileAtomic(path, await readReplaced(directory, digest), { mode });
  await chown(path, uid, gid);
}
