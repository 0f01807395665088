import { readdir } from 'node:fs/promises';
import type { Host } from '../../runtime/base/host.ts';
import { parseModules, UNLOADABLE_MODULES } from '../../runtime/base/kernel-modules.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { Action } from '../workflow/action.ts';
import { type Change, listPackages, parseSwaps, readFileState, readValue } from './change.ts';
import type { Entry } from './entries.ts';
import { ABSENT, isSameContent, parseFileState } from './file-state.ts';
import { OWN_PARAMETERS, SHARED_DIRS, STATE_DIRS } from './own.ts';
import type { Snapshot } from './snapshot.ts';
import { listTornFiles } from './torn-files.ts';

/** What was done to a machine, and what it was like before. */
export interface Done {
  readonly changes: readonly Change[];
  readonly snapshot: Snapshot | undefined;
}

/** How everything is put back, and what stays because somebody else has changed it since. */
export interface Undo {
  readonly actions: readonly Action[];
  readonly kept: readonly Kept[];
}

export interface Kept {
  /** A path, a package. */
  readonly name: string;
  readonly reason: string;
}

type ChangeOf<K extends Change['kind']> = Extract<Change, { kind: K }>;

/** The changes of a journal with what became known of them afterwards, in their order. */
export function listChanges(entries: readonly Entry[]): readonly Change[] {
  const after = new Map(entries.flatMap((entry) => (entry.type === 'done' ? [[entry.id, entry.after]] : [])));
  return entries.flatMap((entry) =>
    entry.type === 'started'
      ? entry.changes.map((change, i) => ({ ...change, ...after.get(entry.id)?.[i] }) as Change)
      : [],
  );
}

/** Undoes changes in reverse. What others have changed since is left as it is and named. */
export async function planUndo(host: Host, done: Done): Promise<Undo> {
  const parts = await Promise.all([
    undoSwap(host, done),
    undoUnits(host, done),
    undoParameters(done),
    undoFiles(done),
    undoPackages(host, done),
    undoModules(host, done),
  ]);
  return {
    actions: parts.flatMap(({ actions }) => actions),
    kept: parts.flatMap(({ kept }) => kept),
  };
}

function select<K extends Change['kind']>({ changes }: Done, kind: K): readonly ChangeOf<K>[] {
  return changes.filter((change): change is ChangeOf<K> => change.kind === kind);
}

/**
 * What a thing was before all changes to it: from what it is now back through each. undefined when it is not what a
 * change has left.
 */
export function goBack(
  now: string,
  changes: readonly { readonly before: string; readonly after?: string | undefined }[],
  isSame: (a: string, b: string) => boolean,
): string | undefined {
  // An undo that was interrupted has put it back already.
  if (now === changes[0]?.before) return now;
  let state = now;
  for (const { before, after } of changes.toReversed()) {
    // Without an end of the action nobody knows how far it came.
    if (after !== undefined && !isSame(state, after) && !isSame(state, before)) return undefined;
    state = before;
  }
  return state;
}

async function undoFiles(done: Done): Promise<Undo> {
  // What only a node fills goes as a whole.
  const changes = select(done, 'file').filter(({ path }) => !isBelow(path, STATE_DIRS));
  const actions: Action[] = [];
  const kept: Kept[] = [];
  for (const path of new Set(changes.map((change) => change.path).toReversed())) {
    const own = changes.filter((change) => change.path === path);
    const { state: now } = await readFileState(path);
    if (now.startsWith('directory')) continue;
    // A file that only a node has is its own, whoever has written it last.
    const isOwn = own[0]?.before === ABSENT && !own.some((change) => change.isShared);
    const before = isOwn ? ABSENT : goBack(now, own, isSameContent);
    if (before === undefined) {
      kept.push({ name: path, reason: now === ABSENT ? 'it was removed since' : 'it was changed since' });
    } else if (before !== now) actions.push(putBack(path, before));
  }
  for (const path of await listTornFiles(changes.map((change) => change.path)))
    actions.push({ kind: 'remove', path });
  const removed = new Set(actions.flatMap((action) => (action.kind === 'remove' ? [action.path] : [])));
  return { actions: [...actions, ...(await undoDirectories(done, removed))], kept };
}

function putBack(path: string, before: string): Action {
  const file = parseFileState(before);
  if (file) return { kind: 'restore-file', path, ...file };
  const target = /^symlink (.*)$/s.exec(before)?.[1];
  if (target === undefined) return { kind: 'remove', path };
  return { kind: 'run', argv: ['ln', '-sfn', '--', target, path], summary: `put the link ${path} back` };
}

/** Directories that were made, or that a node fills, and that are empty now. */
async function undoDirectories(done: Done, removed: ReadonlySet<string>): Promise<readonly Action[]> {
  const made = select(done, 'file').flatMap(({ path, before, after, madeDirectories = [] }) => [
    ...(before === ABSENT && after?.startsWith('directory') ? [path] : []),
    ...madeDirectories,
  ]);
  const known = done.snapshot?.sections.files;
  const shared = known ? [...SHARED_DIRS, PATHS.cniConfig, PATHS.cniBin] : [];
  const candidates = [...new Set([...made, ...shared])]
    .filter((path) => known?.[path] === undefined)
    .filter((path) => !path.startsWith(`${PATHS.state}/`) && path !== PATHS.state)
    .sort((a, b) => b.length - a.length);
  const gone = new Set(removed);
  for (const path of candidates) {
    const names = await readdir(path).catch(() => undefined);
    if (names?.every((name) => gone.has(`${path}/${name}`))) gone.add(path);
  }
  return candidates
    .filter((path) => gone.has(path))
    .map((path) => ({
      kind: 'run',
      argv: ['rmdir', '--', path],
      summary: `remove the empty directory ${path}`,
    }));
}

async function undoParameters(done: Done): Promise<Undo> {
  const changes = select(done, 'kernel-parameter');
  const facts = done.snapshot?.sections['kernel parameters'] ?? {};
  const actions: Action[] = [];
  const kept: Kept[] = [];
  for (const path of new Set([...changes.map((change) => change.path), ...OWN_PARAMETERS])) {
    const own = changes.filter((change) => change.path === path);
    const rows = own.map((change) => ({ before: change.before[path] ?? '', after: change.after }));
    const first = facts[path];
    // The programs of a node set it as well.
    if (rows.length === 0 && first !== undefined) rows.push({ before: first, after: '1' });
    const now = await readValue(path);
    const before = goBack(now, rows, (a, b) => a === b);
    if (before === undefined) kept.push({ name: path, reason: `it is ${now} since` });
    else if (before !== '' && before !== now)
      actions.push(setParameters(path, { ...selectAlong(facts, path), ...own[0]?.before, [path]: before }));
  }
  return { actions, kept };
}

/** What the kernel sets for each interface when it forwards or ceases to. */
function selectAlong(facts: Readonly<Record<string, string>>, path: string) {
  if (!path.endsWith('/ip_forward')) return {};
  const isAlong = (name: string) => /\/net\/ipv4\/conf\/.*\/(forwarding|accept_redirects)$/.test(name);
  return Object.fromEntries(Object.entries(facts).filter(([name]) => isAlong(name)));
}

/** Sets a parameter, then those that the kernel may have set along with it. */
function setParameters(path: string, values: Readonly<Record<string, string>>): Action {
  const others = Object.entries(values).filter(([name]) => name !== path);
  const words = [[path, values[path] ?? ''], ...others].flat();
  const script =
    'while [ $# -gt 0 ]; do [ ! -e "$1" ] || [ "$(cat "$1")" = "$2" ] || echo "$2" > "$1"; shift 2; done';
  return {
    kind: 'run',
    argv: ['sh', '-c', script, 'sh', ...words],
    summary: `set ${path.replace('/proc/sys/', '').replaceAll('/', '.')} back to ${values[path]}`,
  };
}

async function undoSwap(host: Host, done: Done): Promise<Undo> {
  const changes = select(done, 'swap');
  if (changes.length === 0) return { actions: [], kept: [] };
  const now = parseSwaps((await host.readFile('/proc/swaps')) ?? '');
  const before = Object.entries(Object.assign({}, ...changes.map((change) => change.before).toReversed()));
  const off = before.filter(([path]) => !(path in now)) as [string, number][];
  const found = await Promise.all(off.map(async ([path]) => (await host.stat(path)) !== undefined));
  return {
    actions: off
      .filter((_, i) => found[i])
      .map(([path, priority]) => ({
        kind: 'run',
        // The kernel itself gives negative ones.
        argv: ['swapon', ...(priority >= 0 ? ['-p', String(priority)] : []), path],
        summary: `turn swap ${path} on`,
      })),
    kept: off.filter((_, i) => !found[i]).map(([name]) => ({ name, reason: 'the swap is gone' })),
  };
}

async function undoUnits(host: Host, done: Done): Promise<Undo> {
  const actions: Action[] = [];
  for (const { name, wasEnabled } of select(done, 'unit')) {
    const { stdout } = await host.run(['systemctl', 'is-enabled', name]);
    if (!wasEnabled && stdout.trim() === 'enabled')
      actions.push({ kind: 'run', argv: ['systemctl', 'disable', name], summary: `disable ${name}` });
  }
  return { actions, kept: [] };
}

/** What still has a network namespace that is on its way out holds a module for that long. */
const UNLOAD_TRIES = 15;

/** Modules that were not loaded before, as far as nobody else uses them; what they need goes with them. */
async function undoModules(host: Host, { snapshot }: Done): Promise<Undo> {
  const before = snapshot?.sections['kernel modules'];
  const text = await host.readFile('/proc/modules');
  if (before === undefined || text === undefined) return { actions: [], kept: [] };
  const loaded = parseModules(text);
  const names = UNLOADABLE_MODULES.filter((name) => loaded.has(name) && before[name] === undefined);
  if (names.length === 0) return { actions: [], kept: [] };
  const script = `n=0
for m; do until modprobe -r "$m" 2>/dev/null || [ $n = ${UNLOAD_TRIES} ]; do n=$((n + 1)); sleep 0.2; done; done; :`;
  const summary = `unload the kernel modules ${names.join(', ')}`;
  return { actions: [{ kind: 'run', argv: ['sh', '-c', script, 'sh', ...names], summary }], kept: [] };
}

/** Packages that were installed, as far as no other package needs them by now. */
async function undoPackages(host: Host, done: Done): Promise<Undo> {
  const changes = select(done, 'packages');
  if (changes.length === 0) return { actions: [], kept: [] };
  const now = await listPackages(host);
  const lists = await Promise.all(changes.map((change) => listAdded(host, change, { done, now })));
  const names = [...new Set(lists.flat())].filter((name) => now.has(name)).sort();
  const kept: Kept[] = [];
  let rest = names;
  // Each that cannot go holds those that it needs in turn.
  for (;;) {
    const held = await findHeld(host, rest);
    if (held.length === 0) break;
    kept.push(
      ...held.map((name) => ({ name, reason: 'another package needs it, or its files were changed' })),
    );
    rest = rest.filter((name) => !held.includes(name));
  }
  if (rest.length === 0) return { actions: [], kept };
  const argv = ['dpkg', '--purge', ...rest];
  return { actions: [{ kind: 'run', argv, summary: `remove the packages ${rest.join(', ')}` }], kept };
}

/** What an installation brought. Of one that was interrupted: what is new, and was not asked for by somebody else. */
async function listAdded(
  host: Host,
  { added, wanted }: ChangeOf<'packages'>,
  { done, now }: { readonly done: Done; readonly now: ReadonlySet<string> },
): Promise<readonly string[]> {
  if (added) return added;
  const before = done.snapshot?.sections.packages;
  if (!before) return [];
  const automatic = new Set((await host.run(['apt-mark', 'showauto'])).stdout.split('\n'));
  return [...now].filter((name) => before[name] === undefined && (name === wanted || automatic.has(name)));
}

/** Those of the packages that dpkg would not remove, and those whose configuration somebody has changed. */
async function findHeld(host: Host, names: readonly string[]): Promise<readonly string[]> {
  if (names.length === 0) return [];
  const changed = await Promise.all(
    names.map(async (name) => /^..5\S* c /m.test((await host.run(['dpkg', '--verify', name])).stdout)),
  );
  const { stderr, exitCode } = await host.run(['dpkg', '--no-act', '--purge', ...names]);
  const refused = [...stderr.matchAll(/error processing package (\S+)/g)].map((match) => match[1]!);
  const held = names.filter(
    (name, i) => changed[i] || refused.some((it) => it === name || it.startsWith(`${name}:`)),
  );
  // dpkg says why it cannot without a name: nothing is risked.
  return exitCode !== 0 && held.length === 0 ? names : held;
}

/**
 * Paths that were there before and are not to be removed with what is around them: those of the snapshot, and what was
 * replaced where it did not look. A file that appeared between two runs of tkadm in a node's places is the node's.
 */
export function listSpared({ changes, snapshot }: Done): readonly string[] {
  const known = Object.keys(snapshot?.sections.files ?? {});
  const looked = [...STATE_DIRS, ...(snapshot ? SHARED_DIRS : [])];
  const replaced = changes.flatMap((change) =>
    change.kind === 'file' && change.before !== ABSENT && !isBelow(change.path, looked) ? [change.path] : [],
  );
  return [...known, ...replaced];
}

function isBelow(path: string, directories: readonly string[]): boolean {
  return directories.some((directory) => path.startsWith(`${directory}/`));
}
