import { formatError, TkadmError } from '../base/errors.ts';
import type { ContainerStatus } from '../container/engine.ts';
import {
  type CtrContext,
  containerPaths,
  engineId,
  isCtrEngineId,
  latest,
  publishContainer,
  recordIdOf,
  updateState,
} from './ctr-context.ts';
import type { CtrRecord } from './ctr-record.ts';
import { cleanUp, runContainer, startContainer } from './ctr-start.ts';
import { parseSignal } from './signals.ts';

const DEFAULT_STOP_S = 10;
/** The exit code when nobody saw the end. */
const UNKNOWN_EXIT_CODE = 255;

export interface StopOptions {
  readonly timeoutS?: number | undefined;
  readonly signal?: string | undefined;
}

/** True while it has a process: also when it is paused. */
export function isRunning({ state }: CtrRecord): boolean {
  return state.status === 'running' || state.status === 'paused';
}

/** Stops a container, and keeps its restart policy from bringing it back. Returns when all is put away. */
export async function stopContainer(context: CtrContext, id: string, options: StopOptions): Promise<void> {
  const record = await context.locks.run(id, async () => {
    context.restarts.cancel(id);
    const before = latest(context, id);
    const { status } = before.state;
    return updateState(context, id, {
      isStopped: true,
      ...(status === 'restarting' && { status: 'exited' as const }),
    });
  });
  if (!isRunning(record)) return;
  const ended = context.exits.next(id);
  if (record.state.status === 'paused') await context.engine.resume(engineId(id));
  const timeoutS = options.timeoutS ?? record.options.stopTimeoutS ?? DEFAULT_STOP_S;
  // Docker's -1: for ever.
  const graceMs = timeoutS < 0 ? 2 ** 31 - 1 : timeoutS * 1000;
  const signal = parseSignal(options.signal ?? record.config.stopSignal);
  await context.engine.stop(engineId(id), { graceMs, signal });
  await ended;
  publishContainer(context, record, 'stop');
}

/** Signals the first process. @throws CTR_STATE, CTR_REQUEST_INVALID */
export async function killContainer(context: CtrContext, id: string, text: string): Promise<void> {
  const signal = parseSignal(text);
  const record = requireRunning(latest(context, id), 'kill');
  const isEnd = signal === 'SIGKILL' || signal === record.config.stopSignal;
  if (isEnd) await updateState(context, id, { isStopped: true });
  const ended = signal === 'SIGKILL' ? context.exits.next(id) : undefined;
  await context.engine.kill(engineId(id), signal);
  if (signal === 'SIGKILL' && record.state.status === 'paused') await context.engine.resume(engineId(id));
  publishContainer(context, record, 'kill', { signal: String(signal) });
  await ended;
}

/** @throws CTR_STATE */
export function requireRunning(record: CtrRecord, verb: string): CtrRecord {
  if (isRunning(record)) return record;
  throw new TkadmError('CTR_STATE', `Cannot ${verb} container "${record.name}": it is not running`, {
    hint: `tkadm ctr start ${record.name}`,
  });
}

export async function restartContainer(context: CtrContext, id: string, options: StopOptions): Promise<void> {
  await stopContainer(context, id, options);
  await startContainer(context, id);
  publishContainer(context, latest(context, id), 'restart');
}

/** Freezes or thaws every process. @throws CTR_STATE */
export async function setPaused(context: CtrContext, id: string, isPaused: boolean): Promise<void> {
  await context.locks.run(id, async () => {
    const verb = isPaused ? 'pause' : 'unpause';
    const record = requireRunning(latest(context, id), verb);
    if ((record.state.status === 'paused') === isPaused) {
      const state = isPaused ? 'is paused already' : 'is not paused';
      throw new TkadmError('CTR_STATE', `Cannot ${verb} container "${record.name}": it ${state}`);
    }
    if (isPaused) await context.engine.pause(engineId(id));
    else await context.engine.resume(engineId(id));
    publishContainer(
      context,
      await updateState(context, id, { status: isPaused ? 'paused' : 'running' }),
      verb,
    );
  });
}

/** Does something while no process of a running container can interfere. */
export async function whilePaused<T>(
  context: CtrContext,
  record: CtrRecord,
  action: () => Promise<T>,
): Promise<T> {
  if (record.state.status !== 'running') return action();
  await context.engine.pause(engineId(record.id));
  try {
    return await action();
  } finally {
    await context.engine.resume(engineId(record.id)).catch(() => {});
  }
}

/** Removes a container with its files; with `removesVolumes` those volumes that were made for it alone. @throws CTR_STATE */
export async function removeContainer(
  context: CtrContext,
  id: string,
  { isForced, removesVolumes }: { readonly isForced: boolean; readonly removesVolumes: boolean },
): Promise<void> {
  const record = latest(context, id);
  if (isRunning(record) || record.state.status === 'restarting') {
    if (!isForced) {
      throw new TkadmError(
        'CTR_STATE',
        `Cannot remove container "${record.name}": it is ${record.state.status}`,
        {
          hint: `tkadm ctr stop ${record.name}, or rm -f`,
        },
      );
    }
    await stopContainer(context, id, { timeoutS: 0 });
  }
  // One that is to be removed at its end has gone by now.
  if (context.records.get(id) === undefined) return;
  await context.locks.run(id, () => destroy(context, id, removesVolumes));
}

async function destroy(context: CtrContext, id: string, removesVolumes: boolean): Promise<void> {
  const record = context.records.get(id);
  if (record === undefined) return;
  context.restarts.cancel(id);
  await cleanUp(context, record);
  await context.records.remove(id);
  await context.images.release(containerPaths(context, id).directory);
  if (removesVolumes) await removeAnonymousVolumes(context, record);
  publishContainer(context, record, 'destroy');
}

async function removeAnonymousVolumes(context: CtrContext, { mounts }: CtrRecord): Promise<void> {
  for (const { name } of mounts) {
    if (name === undefined || !context.volumes.get(name)?.isAnonymous) continue;
    const isUsed = context.records.list().some((other) => other.mounts.some((mount) => mount.name === name));
    if (!isUsed) await context.volumes.remove(name);
  }
}

/** Follows the engine: puts away what has ended, and brings back what its policy asks for. */
export async function followExits(context: CtrContext, signal: AbortSignal): Promise<void> {
  for await (const status of context.engine.exits(signal)) {
    if (!isCtrEngineId(status.id)) continue;
    const id = recordIdOf(status.id);
    // Behind a start that is under way.
    context.locks
      .run(id, () => handleExit(context, id, status))
      .catch((error: unknown) => context.log.error('end not recorded', { id, error: formatError(error) }));
  }
}

async function handleExit(
  context: CtrContext,
  id: string,
  status: ContainerStatus | undefined,
): Promise<void> {
  const record = context.records.get(id);
  if (record === undefined || !isRunning(record)) return;
  const exitCode = status?.exitCode ?? UNKNOWN_EXIT_CODE;
  const finishedAt = (status?.finishedAt ?? context.now()).toISOString();
  const isOomKilled = status?.isOomKilled ?? false;
  // Before the engine forgets it: a service that is killed in between must not lose the exit code.
  await updateState(context, id, { status: 'exited', pid: 0, exitCode, finishedAt, isOomKilled });
  await cleanUp(context, record);
  const next = await updateState(context, id, {}, { network: undefined });
  if (isOomKilled) publishContainer(context, next, 'oom');
  publishContainer(context, next, 'die', { exitCode: String(exitCode) });
  if (next.options.isAutoRemoved) await destroy(context, id, true);
  else if (wantsRestart(next)) await scheduleRestart(context, next);
  context.exits.resolve(id, exitCode);
}

function wantsRestart({ options, state }: CtrRecord): boolean {
  const { name, maximumRetryCount } = options.restart;
  if (state.isStopped || name === 'no') return false;
  if (name !== 'on-failure') return true;
  const isLeft = maximumRetryCount === 0 || state.restartCount < maximumRetryCount;
  return state.exitCode !== 0 && isLeft;
}

async function scheduleRestart(context: CtrContext, { id, state }: CtrRecord): Promise<void> {
  await updateState(context, id, { status: 'restarting' });
  const ranMs = Date.parse(state.finishedAt) - Date.parse(state.startedAt);
  context.restarts.schedule(id, ranMs, () => {
    context.locks
      .run(id, () => bringBack(context, id))
      .catch((error: unknown) => {
        context.log.warn('container not restarted', { id, error: formatError(error) });
      });
  });
}

async function bringBack(context: CtrContext, id: string): Promise<void> {
  const record = context.records.get(id);
  if (record?.state.status !== 'restarting') return;
  await updateState(context, id, { restartCount: record.state.restartCount + 1 });
  await runContainer(context, id);
}

/** Brings records and engine together after a start of the service, then policies to their effect. */
export async function recoverContainers(context: CtrContext): Promise<void> {
  for (const record of context.records.list()) {
    context.images.retain(containerPaths(context, record.id).directory, record.lowerDirs.slice(1));
  }
  for (const { id } of context.engine.list()) {
    if (!isCtrEngineId(id) || context.records.get(recordIdOf(id)) !== undefined) continue;
    context.log.warn('removed a container without a record', { id });
    await context.engine.delete(id, { force: true });
  }
  for (const { id } of context.records.list()) {
    await context.locks.run(id, () => recoverContainer(context, id));
  }
}

async function recoverContainer(context: CtrContext, id: string): Promise<void> {
  const record = latest(context, id);
  const status = context.engine.status(engineId(id));
  if (status?.state === 'running') {
    if (isRunning(record) && record.state.pid === status.pid) return;
    // The service ended between the start and its record.
    const { pid = 0, startedAt = context.now() } = status;
    await updateState(context, id, { status: 'running', pid, startedAt: startedAt.toISOString() });
    return;
  }
  if (isRunning(record)) await handleExit(context, id, status);
  else await cleanUp(context, record);
  const after = context.records.get(id);
  if (after === undefined || after.state.status === 'restarting') {
    if (after !== undefined) await scheduleRestart(context, after);
    return;
  }
  // As Docker's daemon: what it did not see being stopped by a user comes back.
  if (after.state.status !== 'exited') return;
  if (after.options.isAutoRemoved) await destroy(context, id, true);
  else if (after.options.restart.name === 'always' || wantsRestart(after))
    await scheduleRestart(context, after);
}

/** Stops everything, side by side; policies bring it back at the next start of the service. */
export async function stopAll(context: CtrContext): Promise<number> {
  const running = context.records.list().filter(isRunning);
  for (const { id } of context.records.list()) context.restarts.cancel(id);
  await Promise.all(
    running.map(async (record) => {
      await stopContainer(context, record.id, {});
      if (context.records.get(record.id))
        await updateState(context, record.id, { isStopped: record.state.isStopped });
    }),
  );
  return running.length;
}

/** Kills and removes everything, and the network. */
export async function removeAll(context: CtrContext): Promise<number> {
  const all = context.records.list();
  await Promise.all(
    all.map(({ id }) => removeContainer(context, id, { isForced: true, removesVolumes: true })),
  );
  await context.bridge.remove();
  return all.length;
}
