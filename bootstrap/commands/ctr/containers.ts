import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { TkadmError } from '../../../runtime/base/errors.ts';
import { formatTable } from '../../render/table.ts';
import type { CliContext } from '../context.ts';
import { ctr, forEach } from './call.ts';
import { formatBinding } from './ports.ts';
import { applyFilters, hasLabel } from './print-rows.ts';
import { readResources } from './run-limits.ts';
import { parseRestart, type RunFlags } from './run-options.ts';
import { optionalInteger, parseInteger, parseMoment } from './units.ts';

type Names = readonly string[];

interface StopFlags {
  readonly time?: string;
  readonly timeout?: string;
  readonly signal?: string;
}

function stopBody(name: string, { time, timeout = time, signal }: StopFlags) {
  return { name, signal, timeoutS: optionalInteger('--timeout', timeout) };
}

/** `tkadm ctr stop`: all are asked at the same time. */
export async function runStop(context: CliContext, flags: StopFlags, names: Names): Promise<number> {
  const stopping = new Map(names.map((name) => [name, ctr(context, 'stop', stopBody(name, flags))]));
  for (const stop of stopping.values()) stop.catch(() => {});
  return forEach(context, names, async (name) => {
    await stopping.get(name);
    return name;
  });
}

/** `tkadm ctr restart` */
export function runRestart(context: CliContext, flags: StopFlags, names: Names): Promise<number> {
  return forEach(context, names, async (name) => {
    await ctr(context, 'restart', stopBody(name, flags));
    return name;
  });
}

/** `tkadm ctr kill` */
export function runKill(
  context: CliContext,
  { signal = 'SIGKILL' }: { readonly signal?: string },
  names: Names,
): Promise<number> {
  return forEach(context, names, async (name) => {
    await ctr(context, 'kill', { name, signal });
    return name;
  });
}

/** `tkadm ctr rm` */
export function runRm(
  context: CliContext,
  { force = false, volumes = false }: { readonly force?: boolean; readonly volumes?: boolean },
  names: Names,
): Promise<number> {
  return forEach(context, names, async (name) => {
    await ctr(context, 'remove', { name, isForced: force, removesVolumes: volumes });
    return name;
  });
}

/** `tkadm ctr pause` and `unpause` */
export function runPause(context: CliContext, call: 'pause' | 'unpause', names: Names): Promise<number> {
  return forEach(context, names, async (name) => {
    await ctr(context, call, { name });
    return name;
  });
}

/** `tkadm ctr update`: what is not named stays. */
export function runUpdate(context: CliContext, flags: RunFlags, names: Names): Promise<number> {
  const resources = readResources(flags);
  const restart = flags.restart === undefined ? undefined : parseRestart(flags.restart);
  if (Object.keys(resources).length === 0 && restart === undefined) {
    throw new TkadmError('USAGE', 'Cannot update containers: no limit and no restart policy is given', {
      hint: 'tkadm ctr update --help',
    });
  }
  return forEach(context, names, async (name) => {
    await ctr(context, 'update', { name, resources, restart });
    return name;
  });
}

/** `tkadm ctr rename` */
export async function runRename(context: CliContext, name: string, newName: string): Promise<void> {
  await ctr(context, 'rename', { name, newName });
}

/** `tkadm ctr wait`: prints the exit codes. */
export function runWait(context: CliContext, names: Names): Promise<number> {
  return forEach(context, names, async (name) => String((await ctr(context, 'wait', { name })).exitCode));
}

/** `tkadm ctr port`: "80/tcp -> 0.0.0.0:4000" */
export async function runPort(context: CliContext, name: string, wanted: string | undefined): Promise<void> {
  const { network } = await ctr(context, 'inspect', { name });
  const ports = network?.ports ?? [];
  if (wanted === undefined) {
    const lines = ports
      .map((port) => formatBinding(port).split('->'))
      .map(([host, inside]) => `${inside} -> ${host}\n`);
    context.write(lines.join(''));
    return;
  }
  const key = wanted.includes('/') ? wanted : `${wanted}/tcp`;
  const found = ports.filter(({ containerPort, protocol }) => `${containerPort}/${protocol}` === key);
  if (found.length === 0) {
    throw new TkadmError('CTR_NOT_FOUND', `Cannot show port ${key} of "${name}": it is not published`);
  }
  context.write(found.map((port) => `${formatBinding(port).split('->')[0]}\n`).join(''));
}

/** `tkadm ctr diff` */
export async function runDiff(context: CliContext, name: string): Promise<void> {
  const entries = await ctr(context, 'diff', { name });
  context.write(entries.map(({ kind, path }) => `${kind} ${path}\n`).join(''));
}

export interface LogsFlags {
  readonly follow?: boolean;
  readonly since?: string;
  readonly until?: string;
  readonly tail?: string;
  readonly timestamps?: boolean;
}

/** `tkadm ctr logs`: output to standard output, errors to standard error. */
export async function runLogs(context: CliContext, flags: LogsFlags, name: string): Promise<void> {
  const { follow = false, since, until, tail, timestamps = false } = flags;
  const now = context.now();
  const body = {
    name,
    isFollowing: follow,
    since: since === undefined ? undefined : parseMoment('--since', since, now),
    until: until === undefined ? undefined : parseMoment('--until', until, now),
    tailLines: tail === undefined || tail === 'all' ? undefined : Math.max(0, parseInteger('--tail', tail)),
    hasTimestamps: timestamps,
  };
  const onOutput = (stream: 'stdout' | 'stderr', bytes: Buffer) =>
    stream === 'stdout' ? context.writeBytes(bytes) : context.terminal.writeErrorBytes(bytes);
  await ctr(context, 'logs', body, { onOutput });
}

/** `tkadm ctr top`: the processes with their pids of the host. */
export async function runTop(context: CliContext, name: string, options: readonly string[]): Promise<void> {
  const rows = await ctr(context, 'top', { name });
  if (options.length > 0) return topByPs(context, rows, options);
  const body = rows.map((row) => [
    row.uid,
    String(row.pid),
    String(row.parentPid),
    row.startedAt.slice(11, 16),
    row.terminal,
    new Date(row.cpuMs).toISOString().slice(11, 19),
    row.command,
  ]);
  context.write(formatTable([['UID', 'PID', 'PPID', 'STIME', 'TTY', 'TIME', 'CMD'], ...body]));
}

/** The lines of ps(1) of this machine, which is the runtime's, that have one of the pids. @throws USAGE */
async function topByPs(
  context: CliContext,
  rows: readonly { readonly pid: number }[],
  options: readonly string[],
): Promise<void> {
  const found = await promisify(execFile)('ps', [...options]).catch((error: Error & { stderr?: string }) => {
    const [state = error.message] = (error.stderr ?? '').split('\n').filter(Boolean);
    throw new TkadmError('USAGE', `Cannot show processes by "ps ${options.join(' ')}": ${state}`);
  });
  const [title = '', ...lines] = found.stdout.trimEnd().split('\n');
  const column = title.trim().split(/\s+/).indexOf('PID');
  if (column < 0)
    throw new TkadmError('USAGE', 'Cannot show processes: the output of ps has no column "PID"');
  const pids = new Set(rows.map(({ pid }) => String(pid)));
  const own = lines.filter((line) => pids.has(line.trim().split(/\s+/)[column]!));
  context.write([title, ...own].map((line) => `${line}\n`).join(''));
}

export interface CommitFlags {
  readonly author?: string;
  readonly change?: readonly string[];
  readonly message?: string;
  readonly pause: string;
}

/** `tkadm ctr commit`: prints the new image's id. */
export async function runCommit(
  context: CliContext,
  flags: CommitFlags,
  name: string,
  image: string | undefined,
): Promise<void> {
  const { id } = await ctr(context, 'commit', {
    name,
    image,
    author: flags.author ?? '',
    comment: flags.message ?? '',
    changes: flags.change ?? [],
    pauses: flags.pause !== 'false',
  });
  context.write(`${id}\n`);
}

export interface PruneFlags {
  readonly filter?: readonly string[];
}

/** Removes the containers that do not run; returns their ids. */
export async function pruneContainers(
  context: CliContext,
  { filter }: PruneFlags,
): Promise<readonly string[]> {
  const all = await ctr(context, 'list', {});
  const stopped = all.filter(({ state }) => state.status === 'created' || state.status === 'exited');
  const chosen = applyFilters(
    stopped,
    { label: ({ config }, value) => hasLabel(config.labels, value) },
    filter,
  );
  for (const { id } of chosen)
    await ctr(context, 'remove', { name: id, isForced: false, removesVolumes: false });
  return chosen.map(({ id }) => id);
}
