import { formatError, TkadmError } from '../base/errors.ts';
import { PAUSE_IMAGE } from '../image/builtin-images.ts';
import { removeContainer, stopContainer } from './container-lifecycle.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import { minOomScore } from './oom-score.ts';
import type { SandboxRecord } from './records.ts';
import { publishEvent, type RuntimeContext, toNanos } from './runtime-context.ts';
import type { RuntimeHandler } from './runtime-handlers.ts';
import { unmountShm, writeSandboxFiles } from './sandbox-files.ts';
import { netnsPath, planNetwork } from './sandbox-network.ts';
import { buildPodCgroup, buildSandboxSpec } from './sandbox-spec.ts';
import { containersOf, sandboxName } from './sandbox-status.ts';

/** What an earlier runtime left: a sandbox whose id nobody was told is removed, a stop is finished. */
export async function recoverSandboxes(context: RuntimeContext): Promise<void> {
  const records = context.sandboxes.list();
  for (const record of records) {
    if (record.isHalfMade) await abandonSandbox(context, record.id);
    if (record.isReady || context.engine.status(record.id) === undefined) continue;
    await stopSandbox(context, record.id).catch((error: unknown) => {
      context.log.warn('sandbox not stopped', { id: record.id, error: formatError(error) });
    });
  }
  void checkRecovered(
    context,
    records.filter(({ isReady }) => isReady),
  );
}

/** Sandboxes that ran before: says what has changed under them. Nobody waits for it. */
async function checkRecovered(context: RuntimeContext, records: readonly SandboxRecord[]): Promise<void> {
  for (const { id, network } of records) {
    if (context.engine.status(id)?.state !== 'running') {
      context.log.info('sandbox has ended', { id });
      continue;
    }
    if (network === undefined) continue;
    await context.cni.check(network, id, netnsPath(context, id)).catch((error: unknown) => {
      context.log.warn('network of sandbox is not as it was', { id, error: formatError(error) });
    });
  }
}

/** Makes a sandbox and its network; returns its id. Of one that fails nothing is left. */
export async function runSandbox(
  context: RuntimeContext,
  config: PodSandboxConfig,
  handler: RuntimeHandler,
): Promise<string> {
  requireFreeName(context, config);
  const id = context.newId();
  const record: SandboxRecord = {
    id,
    config,
    runtimeHandler: handler.name,
    createdAt: String(toNanos(context.now())),
    isReady: false,
    isHalfMade: true,
  };
  try {
    // The record comes before what it describes, so that a runtime that dies meanwhile can undo it.
    const planned = await planNetwork(context, id, config);
    await context.sandboxes.put({ ...record, network: planned });
    await writeSandboxFiles(context, id, config);
    await startPause(context, record, handler);
    const network = planned && (await context.cni.add(planned, id, netnsPath(context, id)));
    const { isHalfMade: _, ...made } = record;
    await context.sandboxes.put({ ...made, network, isReady: true });
  } catch (error) {
    await abandonSandbox(context, id);
    throw error;
  }
  publishEvent(context, 'CONTAINER_CREATED_EVENT', id, id);
  publishEvent(context, 'CONTAINER_STARTED_EVENT', id, id);
  return id;
}

function requireFreeName(context: RuntimeContext, config: PodSandboxConfig): void {
  const name = sandboxName(config);
  const holder = context.sandboxes.list().find((record) => sandboxName(record.config) === name);
  if (holder !== undefined) {
    throw new TkadmError('CRI_EXISTS', `Cannot run ${name}: it exists as "${holder.id}"`);
  }
}

async function startPause(
  context: RuntimeContext,
  { id, config }: SandboxRecord,
  handler: RuntimeHandler,
): Promise<void> {
  const image = context.images.resolve(PAUSE_IMAGE);
  const [rootfs] = image === undefined ? [] : context.images.lowerDirs(image);
  if (rootfs === undefined) {
    throw new TkadmError('IMAGE_NOT_FOUND', `Cannot run sandbox: image "${PAUSE_IMAGE}" is not in the store`);
  }
  await context.engine.create({
    id,
    spec: buildSandboxSpec(id, config, {
      isForeign: handler.runtimePath !== undefined,
      minOomScore: minOomScore(context, handler),
    }),
    rootfs: { kind: 'path', path: rootfs },
    annotations: config.annotations,
    parentResources: buildPodCgroup(config),
    runtimePath: handler.runtimePath,
  });
  await context.engine.start(id);
}

async function abandonSandbox(context: RuntimeContext, id: string): Promise<void> {
  try {
    await stopSandbox(context, id);
    await removeSandbox(context, id);
  } catch (error) {
    context.log.warn('failed sandbox not removed', { id, error: formatError(error) });
  }
}

/** Ends the sandbox's containers, then its network and its pause container; what is ended stays so. */
export async function stopSandbox(context: RuntimeContext, id: string): Promise<void> {
  const record = context.sandboxes.get(id);
  if (record === undefined) return;
  await Promise.all(containersOf(context, id).map((container) => stopContainer(context, container.id, 0)));
  // Not ready before its network goes, so that a runtime that dies meanwhile goes on from here.
  const stopped = { ...record, isReady: false };
  if (record.isReady) await context.sandboxes.put(stopped);
  if (record.network !== undefined) {
    await context.cni.del(record.network, id, netnsPath(context, id));
    await context.sandboxes.put({ ...stopped, network: undefined });
  }
  const status = context.engine.status(id);
  if (status !== undefined && status.state !== 'exited') await context.engine.stop(id, { graceMs: 0 });
  unmountShm(context, id);
  if (record.isReady) publishEvent(context, 'CONTAINER_STOPPED_EVENT', id, id);
}

/** Removes a stopped sandbox with its containers. */
export async function removeSandbox(context: RuntimeContext, id: string): Promise<void> {
  for (const container of containersOf(context, id)) await removeContainer(context, container.id);
  if (context.engine.status(id) !== undefined) await context.engine.delete(id, { force: true });
  await context.sandboxes.remove(id);
  publishEvent(context, 'CONTAINER_DELETED_EVENT', id, id);
}
