import type { Action } from '../workflow/action.ts';
import { readFileState } from './change.ts';
import type { Entry } from './entries.ts';
import { ABSENT, isSameContent } from './file-state.ts';
import { listTornFiles } from './torn-files.ts';
import { listChanges } from './undo.ts';

/**
 * What an interrupted run has left that its next run could not tell from somebody's own: temporary files, which may
 * hold secrets, and keys whose certificate was not written yet.
 */
export async function planHalfDone(entries: readonly Entry[]): Promise<readonly Action[]> {
  const files = listChanges(entries).filter((change) => change.kind === 'file');
  const torn = await listTornFiles(files.map(({ path }) => path));
  const lone: string[] = [];
  for (const { path, before, after } of files) {
    if (before !== ABSENT || after === undefined || !path.endsWith('.key')) continue;
    const certificate = path.replace(/\.key$/, '.crt');
    const isOurs = isSameContent((await readFileState(path)).state, after);
    // Without a certificate among what the run writes, there is none to wait for: sa.key has a public half only.
    const isPair = !path.endsWith('/sa.key');
    if (isOurs && isPair && (await readFileState(certificate)).state === ABSENT) lone.push(path);
  }
  return [...new Set([...torn, ...lone])].map((path) => ({ kind: 'remove', path }));
}
