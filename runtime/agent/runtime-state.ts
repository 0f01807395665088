import type { CriClient } from '../cri/client.ts';
import { criErrorCode } from '../cri/client.ts';
import type { ContainerStatus as CriContainerStatus } from '../cri/messages/container.ts';
import type { PodSandboxStatus as CriSandboxStatus } from '../cri/messages/sandbox.ts';

/** Labels and annotations with which the kubelet marks what belongs to a pod. */
export const LABELS = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
} as const;

export const ANNOTATIONS = {
  hash: 'io.kubernetes.container.hash',
  restartCount: 'io.kubernetes.container.restartCount',
  terminationMessagePath: 'io.kubernetes.container.terminationMessagePath',
  terminationMessagePolicy: 'io.kubernetes.container.terminationMessagePolicy',
  terminationMessageFile: 'io.tkadm.container.terminationMessageFile',
  gracePeriod: 'io.kubernetes.pod.terminationGracePeriod',
  ports: 'io.kubernetes.container.ports',
} as const;

export interface SandboxState {
  readonly id: string;
  readonly attempt: number;
  readonly isReady: boolean;
  readonly createdAtMs: number;
  readonly ips: readonly string[];
  /** The runtime handler; "" is the default. */
  readonly handler: string;
}

export interface ContainerState {
  readonly id: string;
  readonly name: string;
  readonly sandboxId: string;
  readonly state: 'created' | 'running' | 'exited' | 'unknown';
  readonly restartCount: number;
  readonly hash: string;
  readonly createdAtMs: number;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
  readonly exitCode: number;
  readonly reason: string;
  readonly message: string;
  /** The name asked for and what the runtime calls the image. */
  readonly image: string;
  readonly imageId: string;
  readonly logPath: string;
  readonly terminationMessageFile: string | undefined;
  readonly terminationMessagePolicy: string;
  /** Seconds between the stop request and SIGKILL that the pod had at the start. */
  readonly gracePeriodSeconds: number;
  readonly user:
    | { readonly uid: number; readonly gid: number; readonly groups: readonly number[] }
    | undefined;
  /** Paths in the container of the mounts that are read-only all the way down. */
  readonly recursiveMounts: readonly string[];
}

/** What the runtime has of one pod; sandboxes and containers newest first. */
export interface PodState {
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly sandboxes: readonly SandboxState[];
  readonly containers: readonly ContainerState[];
}

const STATES = {
  CONTAINER_CREATED: 'created',
  CONTAINER_RUNNING: 'running',
  CONTAINER_EXITED: 'exited',
  CONTAINER_UNKNOWN: 'unknown',
} as const;

/** Reads pods from the runtime; remembers the statuses of containers that have exited for good. */
export class RuntimeReader {
  readonly #cri: CriClient;
  readonly #exited = new Map<string, ContainerState>();

  constructor(cri: CriClient) {
    this.#cri = cri;
  }

  /** Everything that the runtime has under this pod UID. */
  async readPod(uid: string): Promise<PodState> {
    const labelSelector = { [LABELS.podUid]: uid };
    const [sandboxes, containers] = await Promise.all([
      this.#cri.listPodSandbox({ filter: { labelSelector } }),
      this.#cri.listContainers({ filter: { labelSelector } }),
    ]);
    const [sandboxStates, containerStates] = await Promise.all([
      Promise.all(sandboxes.items.map((item) => this.#readSandbox(item.id))),
      Promise.all(containers.containers.map((item) => this.#readContainer(item.id, item.podSandboxId))),
    ]);
    const first = sandboxes.items[0];
    return {
      uid,
      name: first?.metadata?.name ?? '',
      namespace: first?.metadata?.namespace ?? '',
      sandboxes: sandboxStates.filter(isDefined).sort((a, b) => b.createdAtMs - a.createdAtMs),
      containers: containerStates.filter(isDefined).sort((a, b) => b.createdAtMs - a.createdAtMs),
    };
  }

  /** UIDs of all pods that have a sandbox or a container, with a text that changes when any of them does. */
  async readFingerprints(): Promise<Map<string, string>> {
    const [sandboxes, containers] = await Promise.all([
      this.#cri.listPodSandbox({}),
      this.#cri.listContainers({}),
    ]);
    const parts = new Map<string, string[]>();
    const add = (uid: string | undefined, text: string) => {
      if (uid) parts.set(uid, [...(parts.get(uid) ?? []), text]);
    };
    for (const item of sandboxes.items) add(item.metadata?.uid, `${item.id}:${item.state}`);
    for (const item of containers.containers) add(item.labels[LABELS.podUid], `${item.id}:${item.state}`);
    const present = new Set(containers.containers.map((item) => item.id));
    for (const id of this.#exited.keys()) if (!present.has(id)) this.#exited.delete(id);
    return new Map([...parts].map(([uid, texts]) => [uid, texts.sort().join(' ')]));
  }

  async #readSandbox(id: string): Promise<SandboxState | undefined> {
    const status = await orGone(this.#cri.podSandboxStatus({ podSandboxId: id }));
    return status?.status && toSandboxState(status.status);
  }

  async #readContainer(id: string, sandboxId: string): Promise<ContainerState | undefined> {
    const known = this.#exited.get(id);
    if (known) return known;
    const status = await orGone(this.#cri.containerStatus({ containerId: id }));
    if (!status?.status) return undefined;
    const state = toContainerState(status.status, sandboxId);
    if (state.state === 'exited') this.#exited.set(id, state);
    return state;
  }
}

function toSandboxState(status: CriSandboxStatus): SandboxState {
  const network = status.network;
  const ips = network ? [network.ip, ...network.additionalIps.map((address) => address.ip)] : [];
  return {
    id: status.id,
    attempt: status.metadata?.attempt ?? 0,
    isReady: status.state === 'SANDBOX_READY',
    createdAtMs: toMs(status.createdAt),
    ips: ips.filter((ip) => ip !== ''),
    handler: status.runtimeHandler,
  };
}

function toContainerState(status: CriContainerStatus, sandboxId: string): ContainerState {
  const user = status.user?.linux;
  return {
    id: status.id,
    name: status.labels[LABELS.containerName] || (status.metadata?.name ?? ''),
    sandboxId,
    state: STATES[status.state],
    restartCount: Number(status.annotations[ANNOTATIONS.restartCount] ?? status.metadata?.attempt ?? 0),
    hash: status.annotations[ANNOTATIONS.hash] ?? '',
    createdAtMs: toMs(status.createdAt),
    startedAtMs: toMs(status.startedAt),
    finishedAtMs: toMs(status.finishedAt),
    exitCode: status.exitCode,
    reason: status.reason,
    message: status.message,
    image: status.image?.image ?? '',
    imageId: status.imageRef || status.imageId,
    logPath: status.logPath,
    terminationMessageFile: status.annotations[ANNOTATIONS.terminationMessageFile],
    terminationMessagePolicy: status.annotations[ANNOTATIONS.terminationMessagePolicy] ?? 'File',
    gracePeriodSeconds: Number(status.annotations[ANNOTATIONS.gracePeriod] ?? 30),
    recursiveMounts: status.mounts
      .filter(({ recursiveReadOnly }) => recursiveReadOnly)
      .map(({ containerPath }) => containerPath),
    user: user && { uid: user.uid, gid: user.gid, groups: user.supplementalGroups },
  };
}

/** The newest container of each name, over all sandboxes. */
export function newestByName(state: PodState): Map<string, ContainerState> {
  const result = new Map<string, ContainerState>();
  for (const container of state.containers)
    if (!result.has(container.name)) result.set(container.name, container);
  return result;
}

/** Nanoseconds since the epoch as milliseconds. */
function toMs(nanos: bigint): number {
  return Number(nanos / 1000n) / 1000;
}

async function orGone<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (criErrorCode(error) === 'NOT_FOUND') return undefined;
    throw error;
  }
}

function isDefined<T>(value: T | undefined): value is T {
  return value !== undefined;
}
