import type { Readable } from 'node:stream';
import { isTkadmError, TkadmError } from '../base/errors.ts';
import { layerDescriptor, putImage } from '../image/archive.ts';
import { applyConfigInstruction } from '../image/build/config-instructions.ts';
import { SCRATCH, type StageState, variablesOf } from '../image/build/state.ts';
import { resolveDirectory } from '../image/build/workdir-step.ts';
import { readContainerChanges } from '../image/container-files.ts';
import { type Instruction, parseDockerfile } from '../image/dockerfile.ts';
import type { OciExecutionConfig, OciImageConfig } from '../image/oci-image.ts';
import { packFiles } from '../image/pack.ts';
import type { ImageRecord } from '../image/store.ts';
import { type CtrContext, containerFiles, publishContainer } from './ctr-context.ts';
import { whilePaused } from './ctr-lifecycle.ts';
import type { CommitRequest, ImportRequest } from './ctr-messages.ts';
import type { CtrRecord } from './ctr-record.ts';

/**
 * Makes an image of a container: its image's layers and one with what the container has changed. What is mounted, the
 * init layer and the volumes are not part of it.
 * @throws CTR_CONFLICT when the container's image is gone, DOCKERFILE_INVALID for a change
 */
export async function commitContainer(
  context: CtrContext,
  record: CtrRecord,
  request: CommitRequest,
): Promise<ImageRecord> {
  const base = context.images.resolve(record.imageId);
  if (base === undefined) {
    throw new TkadmError('CTR_CONFLICT', `Cannot commit container "${record.name}": its image is gone`);
  }
  if (base.layers.some(({ directory }) => directory !== undefined)) {
    throw new TkadmError(
      'CTR_CONFLICT',
      `Cannot commit container "${record.name}": the files of its image belong to the node bundle`,
    );
  }
  const config = applyChanges(
    buildExecutionConfig(context.images.config(base).config ?? {}, record),
    request.changes,
  );
  const files = containerFiles(context, record);
  const pack = () => context.images.importLayer(packFiles(readContainerChanges(files, context.inodes)));
  const layer = request.pauses ? await whilePaused(context, record, pack) : await pack();
  const image = await putCommit(context, { base, layer: layer.diffId, config, request, record });
  publishContainer(context, record, 'commit', { imageID: image.id });
  return image;
}

/** Makes an image of one layer from the tar of a root file system. @throws IMAGE_INVALID, DOCKERFILE_INVALID */
export async function importImage(
  context: CtrContext,
  { image, comment, changes }: ImportRequest,
  tar: Readable,
): Promise<ImageRecord> {
  const config = applyChanges({}, changes);
  const layer = await context.images.importLayer(tar);
  const created = context.now().toISOString();
  const document: OciImageConfig = {
    architecture: context.architecture,
    os: 'linux',
    created,
    config,
    rootfs: { type: 'layers', diff_ids: [layer.diffId] },
    history: [{ created, comment: comment || 'imported' }],
  };
  return putImage(context.images, {
    config: Buffer.from(JSON.stringify(document)),
    layers: [layerDescriptor(layer)],
    names: image === undefined ? [] : [image],
  });
}

interface Commit {
  readonly base: ImageRecord;
  readonly layer: string;
  readonly config: OciExecutionConfig;
  readonly request: CommitRequest;
  readonly record: CtrRecord;
}

async function putCommit(
  context: CtrContext,
  { base, layer, config, request, record }: Commit,
): Promise<ImageRecord> {
  const created = context.now().toISOString();
  const before = context.images.config(base);
  const diffIds = [...before.rootfs.diff_ids, layer];
  const step = {
    created,
    created_by: record.config.args.join(' '),
    ...(request.author && { author: request.author }),
    ...(request.comment && { comment: request.comment }),
  };
  const document: OciImageConfig = {
    architecture: before.architecture,
    os: before.os,
    created,
    ...(request.author && { author: request.author }),
    config,
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: [...(before.history ?? []), step],
  };
  const layers = await Promise.all(
    diffIds.map(async (diffId) => {
      const found = await context.images.layer(diffId);
      if (found !== undefined) return layerDescriptor(found);
      throw new TkadmError(
        'CTR_CONFLICT',
        `Cannot commit container "${record.name}": layer "${diffId}" is gone`,
      );
    }),
  );
  const names = request.image === undefined ? [] : [request.image];
  return putImage(context.images, { config: Buffer.from(JSON.stringify(document)), layers, names });
}

/** The image's configuration with what the container was run with. */
function buildExecutionConfig(image: OciExecutionConfig, { config }: CtrRecord): OciExecutionConfig {
  const ports = Object.fromEntries(config.exposedPorts.map((port) => [port, {}]));
  return {
    ...image,
    Env: config.env,
    Entrypoint: config.entrypoint.length > 0 ? config.entrypoint : null,
    Cmd: config.command,
    Labels: config.labels,
    ...(config.user !== '' && { User: config.user }),
    ...(config.workingDir !== '' && { WorkingDir: config.workingDir }),
    ...(config.exposedPorts.length > 0 && { ExposedPorts: ports }),
    StopSignal: config.stopSignal,
  };
}

/** @throws DOCKERFILE_INVALID */
function applyChanges(config: OciExecutionConfig, changes: readonly string[]): OciExecutionConfig {
  // An own CMD is not dropped by an ENTRYPOINT behind it.
  const start: StageState = { ...SCRATCH, config, hasOwnCmd: true };
  return changes.reduce(applyChange, start).config;
}

function applyChange(state: StageState, change: string): StageState {
  try {
    const rows = parseDockerfile(`FROM scratch\n${change}`).stages[0]?.instructions ?? [];
    return rows.reduce(applyInstruction, state);
  } catch (error) {
    if (!isTkadmError(error, 'DOCKERFILE_INVALID')) throw error;
    throw new TkadmError('DOCKERFILE_INVALID', `Cannot apply change "${change}": ${error.message}`, {
      hint: 'CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME or WORKDIR',
      cause: error,
    });
  }
}

function applyInstruction(state: StageState, row: Instruction): StageState {
  if (row.name !== 'WORKDIR') return applyConfigInstruction(row, state, variablesOf(state));
  return { ...state, config: { ...state.config, WorkingDir: resolveDirectory(row, state) } };
}
