import { TkadmError } from '../base/errors.ts';
import {
  type CtrContext,
  containerPaths,
  engineId,
  latest,
  publishContainer,
  updateState,
} from './ctr-context.ts';
import type { CtrRecord } from './ctr-record.ts';
import { cleanUp, startContainer } from './ctr-start.ts';
import { parseSignal } from './signals.ts';

const DEFAULT_STOP_S = 10;

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

/** Signals the first process, behind a start that is under way; SIGKILL is awaited. @throws CTR_STATE, CTR_REQUEST_INVALID */
export async function killContainer(context: CtrContext, id: string, text: string): Promise<void> {
  const signal = parseSignal(text);
  const isLast = signal === 'SIGKILL';
  let ended: Promise<number> | undefined;
  await context.locks.run(id, async () => {
    const record = requireRunning(latest(context, id), 'kill');
    if (isLast || signal === record.config.stopSignal) await updateState(context, id, { isStopped: true });
    if (isLast) ended = context.exits.next(id);
    await context.engine.kill(engineId(id), signal);
    if (isLast && record.state.status === 'paused') await context.engine.resume(engineId(id));
    publishContainer(context, record, 'kill', { signal: String(signal) });
  });
  await ended;
}

/** The record once a start or an end that is under way is over. @throws CTR_NOT_FOUND */
export async function settled(context: CtrContext, { id }: CtrRecord): Promise<CtrRecord> {
  await context.locks.run(id, async () => {});
  return latest(context, id);
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

/** Takes a container away that does not run; the caller holds its lock. */
export async function destroy(context: CtrContext, id: string, removesVolumes: boolean): Promise<void> {
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
