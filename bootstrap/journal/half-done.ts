import type { Action } from '../workflow/action.ts';
import { type Change, readFileState } from './change.ts';
import type { Entry } from './entries.ts';
import { ABSENT, isSameContent } from './file-state.ts';
import { listTornFiles } from './torn-files.ts';
import { listChanges } from './undo.ts';

type FileChange = Extract<Change, { kind: 'file' }>;

/**
 * What an interrupted run has left that its next run could not tell from somebody's own: temporary files, which may
 * hold secrets, and keys whose certificate was not written yet.
 */
export async function planHalfDone(entries: readonly Entry[]): Promise<readonly Action[]> {
  const files = listChanges(entries).filter((change) => change.kind === 'file');
  const pairs = await listHalfPairs(entries);
  const wanted = pairs.map(({ from }) => from);
  const torn = (await listTornFiles(files.map(({ path }) => path))).filter((path) => !wanted.includes(path));
  const lone: string[] = [];
  for (const { path, before, after } of files) {
    if (before !== ABSENT || after === undefined || !path.endsWith('.key')) continue;
    const certificate = path.replace(/\.key$/, '.crt');
    const isOurs = isSameContent((await readFileState(path)).state, after);
    // Without a certificate among what the run writes, there is none to wait for: sa.key has a public half only.
    const isPair = !path.endsWith('/sa.key');
    if (!isOurs || !isPair || (await readFileState(certificate)).state !== ABSENT) continue;
    if (!(await hasRequest(path, pairs))) lone.push(path);
  }
  return [...new Set([...torn, ...lone])].map((path) => ({ kind: 'remove', path }));
}

/** True for a key that a CA elsewhere is to certify: its request is there, or about to be. */
async function hasRequest(keyPath: string, pairs: readonly WaitingFile[]): Promise<boolean> {
  const request = keyPath.replace(/\.key$/, '.csr');
  return pairs.some(({ to }) => to === request) || (await readFileState(request)).state !== ABSENT;
}

/** Puts the rest of files in their places that were to be written together, and of which a part has been. */
export async function planHalfPairs(entries: readonly Entry[]): Promise<readonly Action[]> {
  return (await listHalfPairs(entries)).map(({ from, to }) => ({
    kind: 'run',
    argv: ['mv', '-f', '--', from, to],
    summary: `write ${to}, which was interrupted`,
  }));
}

interface WaitingFile {
  readonly from: string;
  readonly to: string;
}

async function listHalfPairs(entries: readonly Entry[]): Promise<readonly WaitingFile[]> {
  const ended = new Set(entries.flatMap((entry) => (entry.type === 'done' ? [entry.id] : [])));
  const groups = entries.flatMap((entry) =>
    entry.type === 'started' && !ended.has(entry.id)
      ? [entry.changes.filter((change): change is FileChange => change.kind === 'file')]
      : [],
  );
  return (await Promise.all(groups.map(listWaiting))).flat();
}

/** Files of a group that wait beside their places, while another one of it has its own. */
async function listWaiting(group: readonly FileChange[]): Promise<readonly WaitingFile[]> {
  const states = await Promise.all(group.map(async ({ path }) => (await readFileState(path)).state));
  const isThere = group.map(({ after }, i) => after !== undefined && isSameContent(states[i]!, after));
  if (!isThere.includes(true)) return [];
  const rest = group.filter((_, i) => !isThere[i]);
  const found = await Promise.all(
    rest.map(async ({ path, after = '' }) => {
      for (const torn of await listTornFiles([path]))
        if (isSameContent((await readFileState(torn)).state, after)) return [{ from: torn, to: path }];
      return [];
    }),
  );
  return found.flat();
}
