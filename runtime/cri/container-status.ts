import type { InitOf } from '../base/protobuf.ts';
import type { ContainerStatus as EngineStatus } from '../container/engine.ts';
import type { Container, ContainerState, ContainerStatus } from './messages/container.ts';
import type { ContainerEnd, ContainerRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { toNanos } from './runtime-context.ts';

const ENGINE_STATES = {
  created: 'CONTAINER_CREATED',
  running: 'CONTAINER_RUNNING',
  exited: 'CONTAINER_EXITED',
} as const satisfies Record<EngineStatus['state'], ContainerState>;

/** The state of a container: its recorded end wins, then what the engine sees. */
export function containerState(context: RuntimeContext, record: ContainerRecord): ContainerState {
  if (record.end !== undefined) return 'CONTAINER_EXITED';
  const status = context.engine.status(record.id);
  return status === undefined ? 'CONTAINER_UNKNOWN' : ENGINE_STATES[status.state];
}

/** The end of an exited container as the engine saw it. */
export function buildEnd(status: EngineStatus, now: Date): ContainerEnd {
  return {
    startedAt: String(status.startedAt === undefined ? 0n : toNanos(status.startedAt)),
    finishedAt: String(toNanos(status.finishedAt ?? now)),
    exitCode: status.exitCode ?? 255,
    isOomKilled: status.isOomKilled ?? false,
  };
}

export function buildContainer(context: RuntimeContext, record: ContainerRecord): Container {
  const { id, sandboxId, config, imageRef, imageId } = record;
  return {
    id,
    podSandboxId: sandboxId,
    metadata: config.metadata,
    image: imageSpec(record),
    imageRef,
    imageId,
    state: containerState(context, record),
    createdAt: BigInt(record.createdAt),
    labels: config.labels,
    annotations: config.annotations,
  };
}

export function buildContainerStatus(context: RuntimeContext, record: ContainerRecord): ContainerStatus {
  const { id, config, process } = record;
  const status = context.engine.status(id);
  const end = record.end ?? (status?.state === 'exited' ? buildEnd(status, context.now()) : undefined);
  const startedAt = status?.startedAt === undefined ? 0n : toNanos(status.startedAt);
  return {
    id,
    metadata: config.metadata,
    state: end === undefined ? containerState(context, record) : 'CONTAINER_EXITED',
    createdAt: BigInt(record.createdAt),
    startedAt: end === undefined ? startedAt : BigInt(end.startedAt),
    finishedAt: BigInt(end?.finishedAt ?? 0),
    exitCode: end?.exitCode ?? 0,
    image: imageSpec(record),
    imageRef: record.imageRef,
    imageId: record.imageId,
    reason: end === undefined ? '' : endReason(end),
    message: end?.message ?? '',
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts,
    logPath: record.logPath,
    resources: config.linux?.resources === undefined ? undefined : { linux: config.linux.resources },
    user: {
      linux: {
        uid: process.user?.uid ?? 0,
        gid: process.user?.gid ?? 0,
        supplementalGroups: process.user?.additionalGids ?? [],
      },
    },
    stopSignal: record.stopSignal,
  };
}

function endReason(end: ContainerEnd): string {
  if (end.reason !== undefined) return end.reason;
  if (end.isOomKilled) return 'OOMKilled';
  return end.exitCode === 0 ? 'Completed' : 'Error';
}

function imageSpec(record: ContainerRecord) {
  const { image } = record.config;
  return {
    image: record.imageName,
    annotations: image?.annotations ?? {},
    userSpecifiedImage: image?.userSpecifiedImage ?? '',
    runtimeHandler: image?.runtimeHandler ?? '',
    imageRef: image?.imageRef ?? '',
  } satisfies InitOf<typeof import('./messages/image.ts').ImageSpec>;
}
