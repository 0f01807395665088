import { existsSync } from 'node:fs';
import { mkdir, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { InitOf } from '../base/protobuf.ts';
import type { PodSandboxConfig } from '../cri/messages/sandbox.ts';
import { buildContainerConfig } from './container-config.ts';
import { hashContainer } from './container-hash.ts';
import type { StartFailure } from './container-status.ts';
import type { FieldContext } from './downward-api.ts';
import { buildEnvironment, buildServiceVariables } from './environment.ts';
import type { EventTarget, EventText } from './events.ts';
import { ensureImageVolumes } from './image-volumes.ts';
import { ImageError } from './images.ts';
import { runHook } from './lifecycle-hooks.ts';
import { type AgentPod, type Container, isStaticPod } from './pod.ts';
import type { PodPaths } from './pod-paths.ts';
import type { PodServices } from './pod-services.ts';
import { asksIfPossible, canMountRecursively } from './recursive-read-only.ts';
import { type ContainerState, newestByName, type PodState, type SandboxState } from './runtime-state.ts';
import { claimIdRange } from './user-namespaces.ts';

export interface StartOptions {
  readonly pod: AgentPod;
  readonly container: Container;
  readonly state: PodState;
  readonly sandbox: SandboxState;
  readonly sandboxConfig: InitOf<typeof PodSandboxConfig>;
  readonly volumes: ReadonlyMap<string, string>;
  readonly paths: PodPaths;
  readonly fields: FieldContext;
  readonly signal: AbortSignal;
}

/** How a start ended: undefined when the container runs. */
export interface StartProblem extends StartFailure {
  /** When to try again, ms from now. */
  readonly retryMs: number;
}

const RETRY_MS = 3000;
/** There on a machine whose limits are cgroup v2's. */
const CGROUP_V2 = '/sys/fs/cgroup/cgroup.controllers';

/** Pulls, creates and starts one container, with crash back-off, events and its postStart hook. */
export async function startContainer(
  services: PodServices,
  options: StartOptions,
): Promise<StartProblem | undefined> {
  const { pod, container, state, signal } = options;
  const previous = newestByName(state).get(container.name);
  const record = containerRecorder(services, pod, container.name);
  const waitMs = checkRestart(services, options, previous);
  if (waitMs) return waitMs;
  let stage = 'CreateContainerConfigError';
  try {
    const { objects } = services;
    const asked = { pod, container, objects, sandboxConfig: options.sandboxConfig, record, signal };
    const image = await services.images.ensure(asked);
    const imageVolumes = await ensureImageVolumes(services.images, asked);
    signal.throwIfAborted();
    const config = await buildContainerConfig({
      pod,
      container,
      restartCount: previous ? previous.restartCount + 1 : 0,
      imageRef: image.ref,
      imageUser: image.user,
      environment: await readEnvironment(services, options),
      grant: await services.devices.prepareStart(pod.metadata.uid, container.name),
      volumes: options.volumes,
      imageVolumes,
      paths: options.paths,
      rootDir: services.rootDir,
      isSeccompDefault: services.config.isSeccompDefault,
      nodeMemoryBytes: services.nodeMemoryBytes,
      targetContainerId: findTarget(options),
      idRange: claimIdRange(pod, options.paths.pod),
      canMountRecursively:
        asksIfPossible(container) && (await canMountRecursively(services.cri, options.sandbox.handler)),
      hasOomGroups: existsSync(CGROUP_V2),
    });
    await mkdir(join(options.paths.logs, container.name), { recursive: true, mode: 0o755 });
    stage = 'CreateContainerError';
    const { containerId } = await services.cri.createContainer({
      podSandboxId: options.sandbox.id,
      config,
      sandboxConfig: options.sandboxConfig,
    });
    record({ type: 'Normal', reason: 'Created', message: `Created container: ${container.name}` });
    stage = 'RunContainerError';
    await services.cri.startContainer({ containerId });
    record({ type: 'Normal', reason: 'Started', message: `Started container ${container.name}` });
    await linkLog(services, options, { containerId, logPath: config.logPath ?? '' });
    return await runPostStart(services, options, containerId);
  } catch (error) {
    signal.throwIfAborted();
    if (error instanceof ImageError) {
      return { reason: error.reason, message: error.message, retryMs: Math.max(error.retryAfterMs, 100) };
    }
    const { message } = error as Error;
    record({ type: 'Warning', reason: 'Failed', message: `Error: ${message}` });
    return { reason: stage, message, retryMs: RETRY_MS };
  }
}

function checkRestart(
  services: PodServices,
  { pod, container }: StartOptions,
  previous: ContainerState | undefined,
): StartProblem | undefined {
  if (previous?.state !== 'exited') return undefined;
  const { name, namespace, uid } = pod.metadata;
  const key = `${uid}/${container.name}/${hashContainer(container)}`;
  const retryMs = services.restarts.remainingMs(key, previous.finishedAtMs);
  if (retryMs === 0) {
    services.restarts.next(key, previous.finishedAtMs);
    return undefined;
  }
  const where = `${container.name} in pod ${name}_${namespace}(${uid})`;
  containerRecorder(
    services,
    pod,
    container.name,
  )({ type: 'Warning', reason: 'BackOff', message: `Back-off restarting failed container ${where}` });
  const delay = formatDelay(services.restarts.delayMs(key));
  const message = `back-off ${delay} restarting failed container=${container.name} pod=${name}_${namespace}(${uid})`;
  return { reason: 'CrashLoopBackOff', message, retryMs };
}

/** Milliseconds as Go prints a duration: "10s", "1m20s", "5m0s". */
export function formatDelay(ms: number): string {
  const seconds = Math.round(ms / 1000);
  return seconds < 60 ? `${seconds}s` : `${Math.floor(seconds / 60)}m${seconds % 60}s`;
}

async function readEnvironment(services: PodServices, options: StartOptions): Promise<Map<string, string>> {
  const { pod, container, fields } = options;
  // A static pod starts before there is an API server to ask.
  const known = isStaticPod(pod) ? [] : await services.services();
  return buildEnvironment({
    pod,
    container,
    objects: services.objects,
    fields,
    serviceVariables: buildServiceVariables(known, {
      namespace: pod.metadata.namespace,
      enableServiceLinks: pod.spec.enableServiceLinks ?? true,
    }),
  });
}

function findTarget({ pod, container, state }: StartOptions): string | undefined {
  const ephemeral = pod.spec.ephemeralContainers?.find(({ name }) => name === container.name);
  if (!ephemeral?.targetContainerName) return undefined;
  return newestByName(state).get(ephemeral.targetContainerName)?.id;
}

/** "/var/log/containers/<pod>_<namespace>_<container>-<id>.log" → the log, as log collectors expect. */
async function linkLog(
  services: PodServices,
  { pod, container, paths }: StartOptions,
  { containerId, logPath }: { readonly containerId: string; readonly logPath: string },
): Promise<void> {
  const link = logLinkPath(services.containerLogsDir, pod, { name: container.name, id: containerId });
  try {
    await mkdir(services.containerLogsDir, { recursive: true });
    await rm(link, { force: true });
    await symlink(join(paths.logs, logPath), link);
  } catch (error) {
    services.log.debug(`Cannot link log "${link}": ${(error as Error).message}`);
  }
}

/** The link of a container's log for log collectors. */
export function logLinkPath(
  directory: string,
  pod: AgentPod,
  container: { readonly name: string; readonly id: string },
): string {
  const base = `${pod.metadata.name}_${pod.metadata.namespace}_${container.name}`.slice(
    0,
    251 - container.id.length - 5,
  );
  return join(directory, `${base}-${container.id}.log`);
}

async function runPostStart(
  services: PodServices,
  { pod, container, fields, signal }: StartOptions,
  containerId: string,
): Promise<StartProblem | undefined> {
  const handler = container.lifecycle?.postStart;
  if (!handler) return undefined;
  try {
    await runHook(services.cri, handler, {
      container,
      containerId,
      podIp: fields.podIps[0] ?? '',
      timeoutMs: 10 * 60_000,
      signal,
    });
    return undefined;
  } catch (error) {
    signal.throwIfAborted();
    const record = containerRecorder(services, pod, container.name);
    record({ type: 'Warning', reason: 'FailedPostStartHook', message: 'PostStartHook failed' });
    record({ type: 'Normal', reason: 'Killing', message: 'FailedPostStartHook' });
    await services.cri.stopContainer({ containerId, timeout: pod.spec.terminationGracePeriodSeconds ?? 30 });
    return { reason: 'PostStartHookError', message: (error as Error).message, retryMs: 100 };
  }
}

/** The event target of a pod, or of one of its containers. */
export function podEventTarget(pod: AgentPod, containerName?: string): EventTarget {
  const { name, namespace, uid } = pod.metadata;
  const isInit = pod.spec.initContainers?.some((container) => container.name === containerName);
  const isEphemeral = pod.spec.ephemeralContainers?.some((container) => container.name === containerName);
  const list = isInit ? 'initContainers' : isEphemeral ? 'ephemeralContainers' : 'containers';
  return {
    kind: 'Pod',
    name,
    namespace,
    uid,
    ...(containerName ? { fieldPath: `spec.${list}{${containerName}}` } : {}),
  };
}

function containerRecorder(services: PodServices, pod: AgentPod, name: string): (text: EventText) => void {
  const target = podEventTarget(pod, name);
  return (text) => services.recorder.record(target, text);
}
