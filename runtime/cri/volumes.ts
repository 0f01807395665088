import { mkdir, realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { isSystemError, TkadmError } from '../base/errors.ts';
import type { IdMappings } from '../container/id-mappings.ts';
import type { OciMount } from '../container/oci-spec.ts';
import { buildMergedMount } from '../image/merged-mount.ts';
import { MergedTree } from '../image/merged-tree.ts';
import { findImage } from './image-service.ts';
import type { Mount } from './messages/container.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { buildMappings } from './user-namespaces.ts';

const PROPAGATIONS = {
  PROPAGATION_PRIVATE: 'rprivate',
  PROPAGATION_HOST_TO_CONTAINER: 'rslave',
  PROPAGATION_BIDIRECTIONAL: 'rshared',
} as const;

export interface VolumesOptions {
  readonly mounts: readonly Mount[];
  readonly userNamespace: IdMappings | undefined;
}

/**
 * The CRI mounts of a container as OCI mounts. Links on the host are followed; a host path that is not there is made as a directory,
 * as containerd and CRI-O do.
 * @throws CRI_INVALID, UNSUPPORTED
 */
export async function resolveVolumes(
  context: RuntimeContext,
  id: string,
  { mounts, userNamespace }: VolumesOptions,
): Promise<readonly OciMount[]> {
  const directory = join(context.containers.directory(id), 'image-volumes');
  return Promise.all(
    mounts.map((mount, index) =>
      mount.image === undefined
        ? resolveHostPath(mount, userNamespace)
        : resolveImage(context, mount, join(directory, String(index))),
    ),
  );
}

/** The layers of each image that a container has as a volume: they stay as long as the container. */
export function findVolumeLayers(
  context: RuntimeContext,
  mounts: readonly Mount[],
): readonly (readonly string[])[] {
  return mounts
    .map(({ image }) => image && findImage(context, image))
    .filter((image) => image !== undefined)
    .map((image) => context.images.lowerDirs(image));
}

async function resolveHostPath(mount: Mount, userNamespace: IdMappings | undefined): Promise<OciMount> {
  const { containerPath, hostPath } = mount;
  if (!containerPath.startsWith('/') || !hostPath.startsWith('/')) {
    throw new TkadmError(
      'CRI_INVALID',
      `Cannot mount "${hostPath}" at "${containerPath}": a path is not absolute`,
    );
  }
  if (mount.recursiveReadOnly && (!mount.readonly || mount.propagation !== 'PROPAGATION_PRIVATE')) {
    throw new TkadmError(
      'CRI_INVALID',
      `Cannot mount "${hostPath}": recursive_read_only needs readonly and private propagation`,
    );
  }
  const access = mount.recursiveReadOnly ? 'rro' : mount.readonly ? 'ro' : 'rw';
  return {
    destination: containerPath,
    type: 'bind',
    source: await realSource(hostPath),
    options: ['rbind', PROPAGATIONS[mount.propagation], access],
    ...buildMapping(mount, userNamespace),
  };
}

/** Mapped ids: as those of the pod's user namespace, or others. @throws CRI_INVALID for half a mapping. */
function buildMapping(mount: Mount, userNamespace: IdMappings | undefined): Partial<IdMappings> {
  if (mount.uidMappings.length + mount.gidMappings.length === 0) return {};
  if (mount.uidMappings.length === 0 || mount.gidMappings.length === 0) {
    throw new TkadmError('CRI_INVALID', `Cannot mount "${mount.hostPath}": it has uid or gid mappings alone`);
  }
  if (userNamespace === undefined) {
    throw new TkadmError(
      'CRI_INVALID',
      `Cannot map ids of "${mount.hostPath}": the pod has no user namespace`,
    );
  }
  return { uidMappings: buildMappings(mount.uidMappings), gidMappings: buildMappings(mount.gidMappings) };
}

async function realSource(hostPath: string): Promise<string> {
  try {
    return await realpath(hostPath);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
    await mkdir(hostPath, { recursive: true, mode: 0o755 });
    return realpath(hostPath);
  }
}

/**
 * An image volume: its layers read-only, or what they have at the sub path.
 * @throws IMAGE_NOT_FOUND when there is no such image, or nothing at the sub path
 */
async function resolveImage(context: RuntimeContext, mount: Mount, copyDir: string): Promise<OciMount> {
  const { image: spec, imageSubPath, containerPath: destination } = mount;
  const image = findImage(context, spec);
  if (image === undefined) {
    throw new TkadmError('IMAGE_NOT_FOUND', `Cannot mount image "${spec?.image}": it is not there`);
  }
  if (mount.hostPath !== '') {
    throw new TkadmError('CRI_INVALID', `Cannot mount image "${spec?.image}": a host path is given as well`);
  }
  const tree = new MergedTree(context.images.lowerDirs(image), context.inodes);
  const entry = await tree.lookup(imageSubPath);
  if (entry === undefined) {
    throw new TkadmError(
      'IMAGE_NOT_FOUND',
      `Cannot mount image "${spec?.image}": it has nothing at "${imageSubPath}"`,
    );
  }
  const { storageDriver: driver, inodes } = context;
  return { destination, ...(await buildMergedMount(entry, { driver, copyDir, inodes })) };
}
