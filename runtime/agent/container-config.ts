import { createHash } from 'node:crypto';
import { join, normalize } from 'node:path';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../base/errors.ts';
import { writeFileAtomic } from '../base/files.ts';
import type { InitOf } from '../base/protobuf.ts';
import type { ContainerConfig, Mount } from '../cri/messages/container.ts';
import { hashContainer } from './container-hash.ts';
import type { DeviceGrant } from './devices/grant.ts';
import { expandVariables } from './environment.ts';
import type { ImageVolumes } from './image-volumes.ts';
import { buildContainerResources } from './linux-resources.ts';
import { type AgentPod, type Container, gracePeriodSeconds } from './pod.ts';
import type { PodPaths } from './pod-paths.ts';
import { isRecursiveReadOnly } from './recursive-read-only.ts';
import { ANNOTATIONS, LABELS } from './runtime-state.ts';
import { buildContainerSecurity, type ImageUser } from './security.ts';
import { buildMappings, type IdRange } from './user-namespaces.ts';
import { mountSubPath } from './volumes/sub-path.ts';

export interface ContainerConfigOptions {
  readonly pod: AgentPod;
  readonly container: Container;
  readonly restartCount: number;
  readonly imageRef: string;
  readonly imageUser: ImageUser;
  readonly environment: ReadonlyMap<string, string>;
  /** What the container's devices bring along. */
  readonly grant: DeviceGrant;
  /** Host directory of each mounted volume. */
  readonly volumes: ReadonlyMap<string, string>;
  readonly imageVolumes: ImageVolumes;
  readonly paths: PodPaths;
  readonly rootDir: string;
  /** `seccompDefault` of the agent's configuration. */
  readonly isSeccompDefault: boolean;
  readonly nodeMemoryBytes: number;
  /** For an ephemeral container: the container whose processes it sees. */
  readonly targetContainerId?: string | undefined;
  /** The ids of a pod with a user namespace. */
  readonly idRange?: IdRange | undefined;
  /** The runtime can make mounts read-only all the way down. */
  readonly canMountRecursively: boolean;
  /** cgroup v2: the kernel kills all of a container when its memory ends, as the kubelet asks for. */
  readonly hasOomGroups: boolean;
}

type MountInit = InitOf<typeof Mount>;

/**
 * The CRI description of a container; creates its termination log.
 * @throws AGENT_CONTAINER_CONFIG naming what cannot be done.
 */
export async function buildContainerConfig(
  options: ContainerConfigOptions,
): Promise<InitOf<typeof ContainerConfig>> {
  const { pod, container, restartCount, environment, idRange, grant } = options;
  const expand = (text: string) => expandVariables(text, (name) => environment.get(name));
  const { mount, file } = await makeTerminationLog(options);
  const security = buildContainerSecurity(options);
  const namespaceOptions = options.targetContainerId
    ? { ...security.namespaceOptions, pid: 'TARGET' as const, targetId: options.targetContainerId }
    : security.namespaceOptions;
  return {
    metadata: { name: container.name, attempt: restartCount },
    image: { image: options.imageRef, userSpecifiedImage: container.image ?? '' },
    command: (container.command ?? []).map(expand),
    args: (container.args ?? []).map(expand),
    workingDir: container.workingDir ?? '',
    envs: [...new Map([...Object.entries(grant.envs), ...environment])].map(([key, value]) => ({
      key,
      value,
    })),
    devices: grant.devices,
    cdiDevices: grant.cdiDevices,
    mounts: [...(await buildMounts(options, expand)), mount, ...grant.mounts].map((one) => ({
      ...one,
      ...(idRange && { uidMappings: buildMappings(idRange), gidMappings: buildMappings(idRange) }),
    })),
    labels: {
      [LABELS.containerName]: container.name,
      [LABELS.podName]: pod.metadata.name,
      [LABELS.podNamespace]: pod.metadata.namespace,
      [LABELS.podUid]: pod.metadata.uid,
    },
    annotations: { ...grant.annotations, ...buildAnnotations(options, file) },
    logPath: `${container.name}/${restartCount}.log`,
    stdin: container.stdin ?? false,
    stdinOnce: container.stdinOnce ?? false,
    tty: container.tty ?? false,
    linux: {
      resources: {
        ...buildContainerResources(pod, container, options.nodeMemoryBytes),
        ...(options.hasOomGroups && { unified: { 'memory.oom.group': '1' } }),
      },
      securityContext: { ...security, namespaceOptions },
    },
  };
}

function buildAnnotations({ pod, container, restartCount }: ContainerConfigOptions, logFile: string) {
  return {
    [ANNOTATIONS.hash]: hashContainer(container),
    [ANNOTATIONS.restartCount]: String(restartCount),
    [ANNOTATIONS.terminationMessagePath]: container.terminationMessagePath ?? '/dev/termination-log',
    [ANNOTATIONS.terminationMessagePolicy]: container.terminationMessagePolicy ?? 'File',
    [ANNOTATIONS.terminationMessageFile]: logFile,
    [ANNOTATIONS.gracePeriod]: String(gracePeriodSeconds(pod)),
    ...(container.ports ? { [ANNOTATIONS.ports]: JSON.stringify(container.ports) } : {}),
  };
}

async function makeTerminationLog(
  options: ContainerConfigOptions,
): Promise<{ mount: MountInit; file: string }> {
  const { container, restartCount, paths } = options;
  const id = createHash('sha1').update(`${container.name}/${restartCount}`).digest('hex').slice(0, 8);
  const file = join(paths.pod, 'containers', container.name, id);
  await writeFileAtomic(file, '', { mode: 0o666, sync: false });
  const containerPath = container.terminationMessagePath ?? '/dev/termination-log';
  return { file, mount: { containerPath, hostPath: file, readonly: false } };
}

async function buildMounts(
  options: ContainerConfigOptions,
  expand: (text: string) => string,
): Promise<MountInit[]> {
  const { container, paths } = options;
  if (container.volumeDevices?.length) {
    throw invalid(
      `Cannot use volumeDevices of container "${container.name}": block volumes are not supported`,
    );
  }
  const mounts: MountInit[] = [];
  for (const [index, mount] of (container.volumeMounts ?? []).entries()) {
    mounts.push({
      containerPath: mount.mountPath.startsWith('/') ? mount.mountPath : `/${mount.mountPath}`,
      ...(await resolveSource(options, { mount, index, expand })),
      readonly: mount.readOnly ?? false,
      propagation: PROPAGATIONS[mount.mountPropagation ?? 'None'] ?? 'PROPAGATION_PRIVATE',
      recursiveReadOnly: isRecursiveReadOnly(mount, options.canMountRecursively),
    });
  }
  const hasOwnHosts = mounts.some((mount) => normalize(mount.containerPath ?? '') === '/etc/hosts');
  if (!hasOwnHosts) mounts.push({ containerPath: '/etc/hosts', hostPath: paths.hosts });
  return mounts;
}

const PROPAGATIONS: Readonly<
  Record<string, 'PROPAGATION_PRIVATE' | 'PROPAGATION_HOST_TO_CONTAINER' | 'PROPAGATION_BIDIRECTIONAL'>
> = {
  None: 'PROPAGATION_PRIVATE',
  HostToContainer: 'PROPAGATION_HOST_TO_CONTAINER',
  Bidirectional: 'PROPAGATION_BIDIRECTIONAL',
};

interface MountSource {
  readonly mount: core.VolumeMount;
  /** Of the mount among those of its container. */
  readonly index: number;
  readonly expand: (text: string) => string;
}

/** What is mounted: an image, a volume on the host, or where a part of one has been mounted for this container. */
async function resolveSource(
  options: ContainerConfigOptions,
  { mount, index, expand }: MountSource,
): Promise<Pick<MountInit, 'hostPath' | 'image' | 'imageSubPath'>> {
  const subPath = mount.subPathExpr ? expand(mount.subPathExpr) : (mount.subPath ?? '');
  const image = options.imageVolumes.get(mount.name);
  if (image) return { image, imageSubPath: subPath };
  const root = options.volumes.get(mount.name);
  if (root === undefined) throw invalid(`Cannot mount volume "${mount.name}": the pod has no such volume`);
  if (!subPath) return { hostPath: root };
  const { container, paths } = options;
  const target = join(paths.pod, 'volume-subpaths', mount.name, container.name, String(index));
  await mountSubPath({ root, subPath, target });
  return { hostPath: target };
}

function invalid(message: string): TkadmError {
  return new TkadmError('AGENT_CONTAINER_CONFIG', message);
}
