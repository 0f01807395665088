import { lstat, readFile, readlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Alteration } from '../../preflight/finding.ts';
import { isSystemError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import type { Action } from '../workflow/action.ts';
import { ABSENT, formatFileState } from './file-state.ts';

/** What an action changes on its machine, with what was there before: enough to put it back. */
export type Change =
  | {
      readonly kind: 'file';
      readonly path: string;
      /** Of formatFileState; the content of a file is kept beside the journal by its digest. */
      readonly before: string;
      /** Absent while it is not known. */
      readonly after?: string;
      /** Others write it too: what they have written stays. */
      readonly isShared?: true;
      /** Directories above it that were not there, the deepest first. */
      readonly madeDirectories?: readonly string[];
    }
  | {
      readonly kind: 'kernel-parameter';
      readonly path: string;
      /** Values by path: of the parameter, and of those that the kernel sets along with it. */
      readonly before: Readonly<Record<string, string>>;
      readonly after?: string;
    }
  | {
      readonly kind: 'packages';
      /** The one that was asked for. */
      readonly wanted: string;
      /** What came with it, it included; absent while that is not known. */
      readonly added?: readonly string[];
    }
  | {
      readonly kind: 'swap';
      /** Devices and files that were on, with their priorities. */
      readonly before: Readonly<Record<string, number>>;
    }
  | { readonly kind: 'unit'; readonly name: string; readonly wasEnabled: boolean };

/** Keeps what an action replaces at a path; returns when it is on the disk. */
export type KeepContent = (content: Buffer, path: string) => Promise<void>;

export interface ChangeContext {
  readonly host: Host;
  readonly keep: KeepContent;
  /** The files of a service that is started. */
  readonly serviceFiles: (action: Extract<Action, { kind: 'start-service' }>) => readonly ServiceFile[];
}

interface ServiceFile {
  readonly path: string;
  readonly mode: number;
  readonly content: string;
}

/** Looks at what an action is about to change. What the reset of a node removes as a whole is no change of its own. */
export async function observeChanges(action: Action, context: ChangeContext): Promise<readonly Change[]> {
  if (action.kind === 'write-file') return [await observeFile(action.path, context, action)];
  if (action.kind === 'write-files')
    return Promise.all(action.files.map((file) => observeFile(file.path, context, file)));
  if (action.kind === 'start-service')
    return Promise.all(context.serviceFiles(action).map((file) => observeFile(file.path, context, file)));
  if (action.kind === 'make-directory') {
    const madeDirectories = await listMissing(action.path);
    if (madeDirectories.length === 0) return [];
    const after = `directory ${action.mode.toString(8)} 0:0`;
    const above = madeDirectories.slice(1);
    return [{ kind: 'file', path: action.path, before: ABSENT, after, madeDirectories: above }];
  }
  if (action.kind !== 'run') return [];
  return Promise.all((action.alters ?? []).map((row) => observeAlteration(row, context)));
}

/** What is known only once the action is done, by the index of its change. */
export async function observeAfter(
  changes: readonly Change[],
  { host }: Pick<ChangeContext, 'host'>,
  packagesBefore: ReadonlySet<string> | undefined,
): Promise<Readonly<Record<number, Partial<Change>>> | undefined> {
  const rows = await Promise.all(
    changes.map(async (change, index) => {
      if (change.kind === 'file' && change.after === undefined)
        return [[index, { after: (await readFileState(change.path)).state }] as const];
      if (change.kind === 'kernel-parameter')
        return [[index, { after: await readValue(change.path) }] as const];
      if (change.kind === 'packages' && packagesBefore) {
        const added = [...(await listPackages(host))].filter((name) => !packagesBefore.has(name));
        return [[index, { added }] as const];
      }
      return [];
    }),
  );
  const known = rows.flat();
  return known.length === 0 ? undefined : Object.fromEntries(known);
}

async function observeFile(
  path: string,
  { keep }: ChangeContext,
  written?: { readonly content: string; readonly mode: number },
): Promise<Change> {
  const { state, content } = await readFileState(path);
  const after = written && formatFileState({ ...written, uid: 0, gid: 0 });
  if (content && state !== after) await keep(content, path);
  const madeDirectories = state === ABSENT ? await listMissing(dirname(path)) : [];
  return {
    kind: 'file',
    path,
    before: state,
    ...(after === undefined ? {} : { after }),
    ...(madeDirectories.length > 0 ? { madeDirectories } : {}),
  };
}

async function observeAlteration(alteration: Alteration, context: ChangeContext): Promise<Change> {
  switch (alteration.kind) {
    case 'file':
      return { ...(await observeFile(alteration.path, context)), isShared: true } as Change;
    case 'kernel-parameter': {
      const paths = [alteration.path, ...(alteration.alongWith ?? [])];
      const values = await Promise.all(paths.map(async (path) => [path, await readValue(path)] as const));
      const before = Object.fromEntries(values.filter(([, value]) => value !== ''));
      return { kind: 'kernel-parameter', path: alteration.path, before };
    }
    case 'packages':
      return { kind: 'packages', wanted: alteration.wanted };
    case 'swap': {
      const text = (await context.host.readFile('/proc/swaps')) ?? '';
      return { kind: 'swap', before: parseSwaps(text) };
    }
    case 'unit': {
      const { stdout } = await context.host.run(['systemctl', 'is-enabled', alteration.name]);
      return { kind: 'unit', name: alteration.name, wasEnabled: stdout.trim() === 'enabled' };
    }
  }
}

/** What is at a path, links not followed; of a file with its content. */
export async function readFileState(
  path: string,
): Promise<{ readonly state: string; readonly content?: Buffer }> {
  try {
    const stats = await lstat(path);
    const { mode, uid, gid } = stats;
    const owner = `${(mode & 0o7777).toString(8)} ${uid}:${gid}`;
    if (stats.isSymbolicLink()) return { state: `symlink ${await readlink(path)}` };
    if (stats.isDirectory()) return { state: `directory ${owner}` };
    if (!stats.isFile()) return { state: `other ${owner}` };
    const content = await readFile(path);
    return { state: formatFileState({ content, mode: mode & 0o7777, uid, gid }), content };
  } catch (error) {
    if (isSystemError(error, 'ENOENT') || isSystemError(error, 'ENOTDIR')) return { state: ABSENT };
    throw error;
  }
}

/** The path and the directories above it that are not there, the deepest first. */
async function listMissing(path: string): Promise<readonly string[]> {
  if (path === '/' || (await lookFor(path)) !== ABSENT) return [];
  return [path, ...(await listMissing(dirname(path)))];
}

async function lookFor(path: string): Promise<string> {
  return lstat(path).then(
    () => 'there',
    () => ABSENT,
  );
}

/** A file of /proc or /sys without its end of line; "" when there is none. */
export async function readValue(path: string): Promise<string> {
  return (await readFile(path, 'utf8').catch(() => '')).trim();
}

/** Names of the Debian packages that are installed; none where there is no dpkg. */
export async function listPackages(host: Pick<Host, 'run'>): Promise<ReadonlySet<string>> {
  const format = ['db:Status-Abbrev', 'binary:Package'].map((field) => `\${${field}}`).join('');
  const { stdout } = await host.run(['dpkg-query', '-W', '-f', `${format}\\n`]);
  return new Set(stdout.split('\n').flatMap((line) => (line.startsWith('ii ') ? [line.slice(3)] : [])));
}

/** Swap devices and files with their priorities, of /proc/swaps (proc(5)). */
export function parseSwaps(text: string): Readonly<Record<string, number>> {
  const rows = text.trim().split('\n').slice(1).filter(Boolean);
  return Object.fromEntries(
    rows.map((row) => row.split(/\s+/)).map((words) => [words[0] ?? '', Number(words[4])]),
  );
}
