import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { makeContainerFiles, rootfsOf } from '../image/container-files.ts';
import { releaseLayers, retainLayers } from './container-lifecycle.ts';
import { checkHandler, findImage } from './image-service.ts';
import type { ContainerConfig } from './messages/container.ts';
import { type CreateOptions, planContainer } from './plan-container.ts';
import { publishEvent, type RuntimeContext } from './runtime-context.ts';
import { findHandler } from './runtime-handlers.ts';
import { findVolumeLayers } from './volumes.ts';

/** Makes a container that waits for its start; returns its id. Of one that fails nothing is left. */
export async function createContainer(
  context: RuntimeContext,
  { sandbox, config, sandboxConfig }: Pick<CreateOptions, 'sandbox' | 'config' | 'sandboxConfig'>,
): Promise<string> {
  requireFreeName(context, sandbox.id, config);
  checkHandler(context, config.image);
  const image = findImage(context, config.image);
  if (image === undefined) {
    throw new TkadmError(
      'IMAGE_NOT_FOUND',
      `Cannot create container: image "${config.image?.image}" is not there`,
    );
  }
  const id = context.newId();
  const { runtimePath } = findHandler(context.handlers, sandbox.runtimeHandler);
  const volumeLayers = findVolumeLayers(context, config.mounts);
  const layers = { id, lowerDirs: context.images.lowerDirs(image), volumeLayers };
  retainLayers(context, layers);
  try {
    const record = await planContainer(context, { id, sandbox, config, sandboxConfig, image });
    const directory = context.containers.directory(id);
    const [upperDir, workDir] = [join(directory, 'upper'), join(directory, 'work')];
    const files = { lowerDirs: record.lowerDirs, upperDir, workDir };
    await makeContainerFiles(files, context.storageDriver, context.inodes);
    if (record.logPath !== '') await mkdir(dirname(record.logPath), { recursive: true, mode: 0o755 });
    await context.engine.create({
      id,
      spec: record.spec,
      rootfs: rootfsOf(files, record.spec.linux?.uidMappings !== undefined),
      runtimePath,
      logPath: record.logPath === '' ? undefined : record.logPath,
      stdin: config.stdin,
      stdinOnce: config.stdinOnce,
      annotations: config.annotations,
    });
    const { spec: _spec, ...stored } = record;
    await context.containers.put({ ...stored, ...(volumeLayers.length > 0 && { volumeLayers }) });
  } catch (error) {
    if (context.engine.status(id) !== undefined) await context.engine.delete(id, { force: true });
    await context.containers.remove(id);
    await releaseLayers(context, layers);
    throw error;
  }
  publishEvent(context, 'CONTAINER_CREATED_EVENT', id, sandbox.id);
  return id;
}

/** Name and attempt are unique within a sandbox (CRI ContainerMetadata). */
function requireFreeName(context: RuntimeContext, sandboxId: string, { metadata }: ContainerConfig): void {
  const holder = context.containers
    .list()
    .find(
      (record) =>
        record.sandboxId === sandboxId &&
        record.config.metadata?.name === metadata?.name &&
        record.config.metadata?.attempt === metadata?.attempt,
    );
  if (holder === undefined) return;
  const name = `container "${metadata?.name}", attempt ${metadata?.attempt}`;
  throw new TkadmError('CRI_EXISTS', `Cannot create ${name}: it exists as "${holder.id}"`);
}
