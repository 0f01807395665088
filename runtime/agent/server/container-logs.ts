import type * as core from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../../base/errors.ts';
import { type LogQuery, readLogs } from '../../container/read-logs.ts';
import { allContainers } from '../pod.ts';
import { ephemeralContainers } from '../pod-actions.ts';
import type { PodManager } from '../pod-manager.ts';
import type { PodWorker } from '../pod-worker.ts';

/** A request that is wrong in itself: answered with this HTTP code and the message as text. */
export class RequestError extends TkadmError {
  readonly httpStatus: number;

  constructor(httpStatus: number, message: string) {
    super('AGENT_REQUEST', message);
    this.httpStatus = httpStatus;
  }
}

/** The worker of a pod, or a 404. */
export function requirePod(manager: PodManager, namespace: string, name: string): PodWorker {
  const worker = manager.findByKey(`${namespace}/${name}`);
  if (!worker) throw new RequestError(404, `pod "${name}" not found`);
  return worker;
}

/** The id of a pod's running container, or a 404. */
export function requireContainerId(worker: PodWorker, name: string): string {
  const found = worker.state?.containers.find((container) => container.name === name);
  if (!found) throw new RequestError(404, `container not found ("${name}")`);
  return found.id;
}

/**
 * The query of a log request (core/v1 PodLogOptions).
 * @throws RequestError 422 naming a bad value.
 */
export function parseLogQuery(query: URLSearchParams, now: Date): LogQuery {
  const number = (name: string, min: number): number | undefined => {
    const text = query.get(name);
    if (text === null || text === '') return undefined;
    const value = Number(text);
    if (!Number.isInteger(value) || value < min) {
      throw new RequestError(422, `invalid value "${text}" of ${name}: must be a number of at least ${min}`);
    }
    return value;
  };
  const seconds = number('sinceSeconds', 1);
  const time = query.get('sinceTime');
  if (time && Number.isNaN(Date.parse(time)))
    throw new RequestError(422, `invalid value "${time}" of sinceTime`);
  const stream = query.get('stream') || 'All';
  if (stream !== 'All' && stream !== 'Stdout' && stream !== 'Stderr') {
    throw new RequestError(422, `invalid value "${stream}" of stream`);
  }
  const since =
    seconds === undefined ? (time ? new Date(time) : undefined) : new Date(now.getTime() - seconds * 1000);
  return {
    isFollowing: isTrue(query.get('follow')),
    tailLines: number('tailLines', 0),
    since,
    hasTimestamps: isTrue(query.get('timestamps')),
    limitBytes: number('limitBytes', 1),
    stream,
  };
}

/** "true", "1" and their like; absent is false. */
export function isTrue(text: string | null): boolean {
  return text !== null && /^(1|t|true)$/i.test(text);
}

export interface ContainerLogsOptions {
  readonly worker: PodWorker;
  readonly containerName: string;
  readonly isPrevious: boolean;
  readonly query: LogQuery;
  readonly signal: AbortSignal;
}

/** Opens the logs of a container. @throws RequestError when there are none yet. */
export function openContainerLogs(options: ContainerLogsOptions): AsyncGenerator<Buffer> {
  const { worker, containerName: name, isPrevious, query, signal } = options;
  const { pod, state } = worker;
  const isKnown = [...allContainers(pod), ...ephemeralContainers(pod)].some(
    (container) => container.name === name,
  );
  if (!isKnown) throw new RequestError(400, `container ${name} is not valid for pod ${pod.metadata.name}`);
  const status = findStatus(worker, name);
  const id = chooseContainerId(status, isPrevious);
  const found = state?.containers.find((container) => container.id === id);
  if (!found?.logPath && isPrevious) {
    throw new RequestError(
      400,
      `previous terminated container "${name}" in pod "${pod.metadata.name}" not found`,
    );
  }
  if (!found?.logPath) {
    const reason = status?.state?.waiting?.reason ?? 'ContainerCreating';
    throw new RequestError(
      400,
      `container "${name}" in pod "${pod.metadata.name}" is waiting to start: ${reason}`,
    );
  }
  const isRunning = async () =>
    worker.state?.containers.find((container) => container.id === found.id)?.state === 'running';
  return readLogs({ path: found.logPath, isRunning, signal }, query);
}

/** The instance that is shown: the one before the present one, or the present one, or else the last that ran. */
function chooseContainerId(
  status: core.ContainerStatus | undefined,
  isPrevious: boolean,
): string | undefined {
  const last = status?.lastState?.terminated?.containerID;
  const isPresent = status?.state?.running ?? status?.state?.terminated;
  const full = isPrevious ? last : isPresent ? status?.containerID : last;
  return full?.replace(/^[^:]*:\/\//, '');
}

function findStatus(worker: PodWorker, name: string): core.ContainerStatus | undefined {
  const {
    initContainerStatuses = [],
    containerStatuses = [],
    ephemeralContainerStatuses = [],
  } = worker.status ?? {};
  const all = [...initContainerStatuses, ...containerStatuses, ...ephemeralContainerStatuses];
  return all.find((candidate) => candidate.name === name);
}
