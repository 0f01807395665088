import { chmod, chown, lstat, mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { quantityToInteger } from '../../api/quantity.ts';
import { TkadmError } from '../../base/errors.ts';
import { isImageVolume } from '../image-volumes.ts';
import { type AgentPod, computeQosClass } from '../pod.ts';
import { type PodPaths, volumePath } from '../pod-paths.ts';
import { writeAtomically } from './atomic-writer.ts';
import { prepareHostPath } from './host-path.ts';
import { listMounts, mountTmpfs, unmount } from './mounts.ts';
import { buildPayload, isPayloadVolume, type PayloadContext } from './payload.ts';

export interface VolumeContext extends PayloadContext {
  readonly paths: PodPaths;
  readonly now: Date;
}

const PLUGINS = [
  ['configMap', 'configmap'],
  ['secret', 'secret'],
  ['projected', 'projected'],
  ['downwardAPI', 'downward-api'],
  ['emptyDir', 'empty-dir'],
] as const;

/**
 * Makes every volume of the pod that a container mounts, and brings the files of API volumes up to date.
 * Returns the host directory of each. Safe to call again and again.
 * @throws AGENT_VOLUME, AGENT_VOLUME_UNSUPPORTED, AGENT_OBJECT_MISSING naming the volume.
 */
export async function setUpVolumes(context: VolumeContext): Promise<Map<string, string>> {
  const result = new Map<string, string>();
  await mkdir(context.paths.pod, { recursive: true, mode: 0o750 });
  const used = mountedNames(context.pod);
  await Promise.all(
    (context.pod.spec.volumes ?? [])
      .filter((volume) => used.has(volume.name) && !isImageVolume(volume))
      .map(async (volume) => {
        try {
          result.set(volume.name, await setUp(volume, context));
        } catch (error) {
          const code = error instanceof TkadmError ? error.code : 'AGENT_VOLUME';
          throw new TkadmError(
            code,
            `MountVolume.SetUp failed for volume "${volume.name}" : ${(error as Error).message}`,
            { cause: error },
          );
        }
      }),
  );
  return result;
}

/** True when the pod has volumes whose files follow the API: they are refreshed at every round. */
export function hasPayloadVolumes(pod: AgentPod): boolean {
  return (pod.spec.volumes ?? []).some(isPayloadVolume);
}

function mountedNames(pod: AgentPod): Set<string> {
  const containers = [
    ...(pod.spec.initContainers ?? []),
    ...pod.spec.containers,
    ...(pod.spec.ephemeralContainers ?? []),
  ];
  const devices = containers.flatMap((container) => container.volumeDevices ?? []).map(({ name }) => name);
  return new Set([
    ...containers.flatMap((container) => container.volumeMounts ?? []).map(({ name }) => name),
    ...devices,
  ]);
}

async function setUp(volume: core.Volume, context: VolumeContext): Promise<string> {
  if (volume.hostPath) {
    await prepareHostPath(volume.hostPath.path, volume.hostPath.type);
    return volume.hostPath.path;
  }
  const row = PLUGINS.find(([field]) => volume[field] !== undefined);
  if (!row) {
    const kind = Object.keys(volume).find((key) => key !== 'name') ?? 'nothing';
    throw new TkadmError('AGENT_VOLUME_UNSUPPORTED', `volumes of kind "${kind}" are not supported`);
  }
  const path = volumePath(context.paths, row[1], volume.name);
  if (volume.emptyDir) await setUpEmptyDir(volume.emptyDir, path, context.pod);
  else await setUpPayload(volume, path, context);
  return path;
}

async function setUpEmptyDir(source: core.EmptyDirVolumeSource, path: string, pod: AgentPod): Promise<void> {
  const isNew = (await mkdir(path, { recursive: true, mode: 0o777 })) !== undefined;
  const isMemory = source.medium === 'Memory';
  if (source.medium && !isMemory) {
    throw new TkadmError('AGENT_VOLUME_UNSUPPORTED', `emptyDir medium "${source.medium}" is not supported`);
  }
  if (isMemory && !(await listMounts(path)).includes(path)) {
    await mountTmpfs(path, tmpfsOptions(source, pod));
  } else if (!isNew) return;
  await chmod(path, 0o777);
  await applyFsGroup(path, pod.spec.securityContext?.fsGroup);
}

function tmpfsOptions(source: core.EmptyDirVolumeSource, pod: AgentPod): string[] {
  const limits =
    computeQosClass(pod) === 'BestEffort'
      ? []
      : pod.spec.containers.map(({ resources }) => quantityToInteger(resources?.limits?.['memory']));
  const memory = limits.length > 0 && limits.every((limit) => limit > 0) ? limits.reduce((a, b) => a + b) : 0;
  const sizes = [quantityToInteger(source.sizeLimit), memory].filter((size) => size > 0);
  return sizes.length > 0 ? [`size=${Math.min(...sizes)}`] : [];
}

/** Secret and token files live in memory: a tmpfs below the volume's directory. */
async function setUpPayload(volume: core.Volume, path: string, context: VolumeContext): Promise<void> {
  const payload = await buildPayload(volume, context);
  await mkdir(path, { recursive: true, mode: 0o755 });
  const isSecret = volume.secret !== undefined || volume.projected !== undefined;
  if (isSecret && !(await listMounts(path)).includes(path)) {
    await mountTmpfs(path, ['mode=0755', 'size=64m', 'nosuid', 'nodev']);
  }
  const gid = context.pod.spec.securityContext?.fsGroup;
  await writeAtomically(path, payload, { now: context.now, gid });
  if (gid !== undefined) await chown(path, 0, gid);
}

/** Gives a volume to the group: owner group, setgid directories, group may read and write what the owner may. */
async function applyFsGroup(path: string, gid: number | undefined): Promise<void> {
  if (gid === undefined) return;
  const found = await lstat(path);
  if (found.isSymbolicLink()) return;
  await chown(path, found.uid, gid);
  await chmod(path, (found.mode & 0o7777) | (found.isDirectory() ? 0o2770 : 0o660));
  if (!found.isDirectory()) return;
  for (const name of await readdir(path)) await applyFsGroup(join(path, name), gid);
}

/** Unmounts and removes everything of a pod; what is mounted inside is never entered. */
export async function tearDownVolumes(paths: PodPaths): Promise<void> {
  for (const path of await listMounts(paths.pod)) await unmount(path);
  const left = await listMounts(paths.pod);
  if (left.length > 0)
    throw new TkadmError('AGENT_VOLUME', `Cannot remove "${paths.pod}": "${left[0]}" is still mounted`);
  await rm(paths.pod, { recursive: true, force: true });
}
