import { formatError } from '../base/errors.ts';
import { isCtrEngineId } from '../ctr/ctr-context.ts';
import { buildEnd } from './container-status.ts';
import type { Signal } from './messages/signal.ts';
import type { ContainerRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { publishEvent, toNanos } from './runtime-context.ts';

/** Ends a container and waits for it; it may have ended or never been there. */
export async function stopContainer(context: RuntimeContext, id: string, graceMs: number): Promise<void> {
  const record = context.containers.get(id);
  const status = context.engine.status(id);
  if (record === undefined || record.end !== undefined || status === undefined) return;
  const ended = await context.engine.stop(id, { graceMs, signal: signalName(record.stopSignal) });
  await recordEnd(context, id, buildEnd(ended, context.now()));
}

/** Kills the container if need be and removes every trace but its log. */
export async function removeContainer(context: RuntimeContext, id: string): Promise<void> {
  const record = context.containers.get(id);
  if (record === undefined) return;
  await stopContainer(context, id, 0);
  if (context.engine.status(id) !== undefined) await context.engine.delete(id, { force: true });
  await context.containers.remove(id);
  await releaseLayers(context, record);
  publishEvent(context, 'CONTAINER_DELETED_EVENT', id, record.sandboxId);
}

type Layers = Pick<ContainerRecord, 'id' | 'lowerDirs' | 'volumeLayers'>;

/** Keeps the layers of a container's image and of its image volumes, whatever becomes of the images. */
export function retainLayers(context: RuntimeContext, layers: Layers): void {
  for (const [owner, directories] of listOwners(layers)) context.images.retain(owner, directories);
}

export async function releaseLayers(context: RuntimeContext, layers: Layers): Promise<void> {
  for (const [owner] of listOwners(layers)) await context.images.release(owner);
}

/** An owner for each image, since what is in use is a whole image. */
function listOwners({ id, lowerDirs, volumeLayers = [] }: Layers): [string, readonly string[]][] {
  return [
    [id, lowerDirs],
    ...volumeLayers.map((of, index): [string, readonly string[]] => [`${id}/${index}`, of]),
  ];
}

/** Keeps how a container ended; the first to see it wins. */
async function recordEnd(
  context: RuntimeContext,
  id: string,
  end: ReturnType<typeof buildEnd> & { readonly reason?: string; readonly message?: string },
): Promise<void> {
  const record = context.containers.get(id);
  if (record === undefined || record.end !== undefined) return;
  await context.containers.put({ ...record, end });
  publishEvent(context, 'CONTAINER_STOPPED_EVENT', id, record.sandboxId);
}

/** Follows the engine: the end of every container goes to its record, the end of a pause to the events. */
export async function followExits(context: RuntimeContext, signal: AbortSignal): Promise<void> {
  for await (const status of context.engine.exits(signal)) {
    if (context.containers.get(status.id) !== undefined) {
      // Behind a start that is under way, so that its event comes before this one.
      context.locks
        .run(status.id, () => recordEnd(context, status.id, buildEnd(status, context.now())))
        .catch((error: unknown) => {
          context.log.error('end not recorded', { id: status.id, error: formatError(error) });
        });
    } else if (context.sandboxes.get(status.id)?.isReady) {
      publishEvent(context, 'CONTAINER_STOPPED_EVENT', status.id, status.id);
    }
  }
}

/** Brings records and engine together after a start of the runtime. */
export async function recoverContainers(context: RuntimeContext): Promise<void> {
  for (const record of context.containers.list()) {
    retainLayers(context, record);
    if (record.end !== undefined) continue;
    const status = context.engine.status(record.id);
    if (status?.state === 'exited') await recordEnd(context, record.id, buildEnd(status, context.now()));
    if (status !== undefined) continue;
    const finishedAt = String(toNanos(context.now()));
    const end = { startedAt: record.createdAt, finishedAt, exitCode: 255, isOomKilled: false };
    await recordEnd(context, record.id, {
      ...end,
      reason: 'ContainerStatusUnknown',
      message: 'The container was gone when the runtime was started',
    });
  }
  for (const { id } of context.engine.list()) {
    const isOurs = context.containers.get(id) !== undefined || context.sandboxes.get(id) !== undefined;
    if (isOurs || isCtrEngineId(id)) continue;
    context.log.warn('removed a container without a record', { id });
    await context.engine.delete(id, { force: true });
  }
}

/** Node.js' name of a CRI signal. Real-time signals are given by number, as Node.js has no names for them. */
function signalName(signal: Signal): NodeJS.Signals {
  if (signal === 'RUNTIME_DEFAULT') return 'SIGTERM';
  const plus = /^SIGRTMIN(?:PLUS(\d+))?$/.exec(signal);
  if (plus) return (SIGRTMIN + Number(plus[1] ?? 0)) as unknown as NodeJS.Signals;
  const minus = /^SIGRTMAX(?:MINUS(\d+))?$/.exec(signal);
  if (minus) return (SIGRTMAX - Number(minus[1] ?? 0)) as unknown as NodeJS.Signals;
  return signal === 'SIGCLD' ? 'SIGCHLD' : (signal as NodeJS.Signals);
}

const SIGRTMIN = 34;
const SIGRTMAX = 64;
