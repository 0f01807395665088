import { formatError } from '../base/errors.ts';
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
import { destroy, isRunning } from './ctr-lifecycle.ts';
import type { CtrRecord } from './ctr-record.ts';
import { cleanUp, runContainer } from './ctr-start.ts';

/** The exit code when nobody saw the end. */
const UNKNOWN_EXIT_CODE = 255;

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
