import { rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Cgroup } from './cgroup/cgroup.ts';
import { buildCgroupMounts, moveToCgroup, openCgroup } from './cgroup/open-cgroup.ts';
import type { ContainerContext } from './container.ts';
import { type StoredContainer, writeState } from './container-state.ts';
import type { CreateContainerOptions } from './engine.ts';
import { buildForeignSpec, isBornInCgroup, launchForeign } from './foreign-runtime.ts';
import { type HookTarget, hasHooks, runHooks } from './hooks.ts';
import { SLOT_FILES } from './launch-bundle.ts';
import { type LaunchedContainer, launchContainer } from './launch-container.ts';
import { readStartTime } from './monitor.ts';
import { openContainerCgroup } from './systemd/scope-cgroup.ts';

export interface MakeContainerOptions {
  readonly request: CreateContainerOptions;
  /** The container's own, which is there already. */
  readonly directory: string;
  /** Where its monitor goes on cgroup v2. */
  readonly monitorCgroup: string | undefined;
}

/**
 * Makes a container that waits for its start: its spec, its cgroup, its processes and, when all are there, its
 * record. Of what fails nothing is left.
 * @throws CONTAINER_LAUNCH and what the parts of the spec throw
 */
export async function makeContainer(
  context: ContainerContext,
  options: MakeContainerOptions,
): Promise<StoredContainer> {
  const { request, directory } = options;
  const { id, spec } = request;
  const path = spec.linux?.cgroupsPath;
  const isScope = request.hasSystemdScope ?? false;
  const cgroup = path === undefined ? undefined : openContainerCgroup(context, { path, isScope });
  const target: HookTarget = {
    id,
    spec,
    pid: undefined,
    bundle: request.bundle ?? '',
    annotations: annotationsOf(request),
    cgroupJoinFiles: cgroup?.joinFiles ?? [],
  };
  let release: (() => void) | undefined;
  try {
    writeSpec(request, directory);
    if (path !== undefined && request.parentResources !== undefined)
      await openCgroup(context.cgroups, dirname(path)).create(request.parentResources);
    const isOurs = request.runtimePath === undefined || isBornInCgroup(request.runtimePath);
    if (isOurs) release = await cgroup?.create(spec.linux?.resources);
    const launched = await launch(context, options, { target, cgroup });
    for (const warning of launched.warnings) context.log.warn(`limit not applied: ${warning}`, { id });
    const { host } = context.cgroups;
    if (options.monitorCgroup !== undefined) moveToCgroup(host, options.monitorCgroup, launched.monitorPid);
    const state = buildState(request, launched, context.now());
    writeState(directory, state);
    return state;
  } catch (error) {
    const hasNoMemory = (cgroup?.oomKills() ?? 0) > 0;
    rmSync(directory, { recursive: true, force: true });
    await cgroup?.remove().catch(() => {});
    if (hasHooks(spec, 'deleted')) await runHooks(context, 'deleted', target);
    if (error instanceof TkadmError) throw error;
    const reason = hasNoMemory ? '"memory.limit" is too low to start a process' : (error as Error).message;
    throw new TkadmError('CONTAINER_LAUNCH', `Cannot create container "${id}": ${reason}`, { cause: error });
  } finally {
    release?.();
  }
}

function writeSpec({ spec, runtimePath }: CreateContainerOptions, directory: string): void {
  const written = runtimePath === undefined ? spec : buildForeignSpec(spec, runtimePath);
  writeFileSync(join(directory, SLOT_FILES.config), JSON.stringify(written), { mode: 0o600 });
}

function launch(
  context: ContainerContext,
  { request, directory }: MakeContainerOptions,
  { target, cgroup }: { readonly target: HookTarget; readonly cgroup: Cgroup | undefined },
): Promise<LaunchedContainer> {
  const { performer, filters, cgroups } = context;
  const { spec } = request;
  const cgroupJoinFiles = cgroup?.joinFiles ?? [];
  if (request.runtimePath !== undefined)
    return launchForeign(performer, { request, directory, cgroupJoinFiles });
  return launchContainer(context, {
    request,
    directory,
    stagingDir: join(directory, SLOT_FILES.staging),
    cgroupJoinFiles,
    cgroupMounts: buildCgroupMounts(cgroups.host),
    seccomp: filters.get(spec),
    atStage: hasHooks(spec, 'stage') ? (pid) => runHooks(context, 'stage', { ...target, pid }) : undefined,
  });
}

function buildState(
  request: CreateContainerOptions,
  { pid, monitorPid, monitorStart, startAddress }: LaunchedContainer,
  now: Date,
): StoredContainer {
  const { spec, runtimePath, logPath, logLimit, bundle } = request;
  const cgroupPath = spec.linux?.cgroupsPath;
  return {
    id: request.id,
    createdAt: now.toISOString(),
    pid,
    pidStart: readStartTime(pid) ?? '',
    monitorPid,
    monitorStart,
    startAddress,
    ...(runtimePath === undefined ? {} : { runtimePath }),
    ...(cgroupPath === undefined ? {} : { cgroupPath }),
    ...(request.hasSystemdScope ? { isScope: true } : {}),
    ...(logPath === undefined ? {} : { logPath }),
    ...(logLimit === undefined ? {} : { logLimit }),
    terminal: spec.process?.terminal ?? false,
    stdin: request.stdin ?? false,
    stdinOnce: request.stdinOnce ?? false,
    hasOwnPidNamespace: (spec.linux?.namespaces ?? []).some(({ type, path }) => type === 'pid' && !path),
    hasInheritedStreams: request.inheritStreams ?? false,
    isReapedByCaller: request.traits?.reaper === 'caller',
    preservedCount: request.traits?.preserved?.fds.length ?? 0,
    ...(bundle === undefined ? {} : { bundle }),
    annotations: annotationsOf(request),
  };
}

function annotationsOf({ annotations, spec }: CreateContainerOptions): Readonly<Record<string, string>> {
  return annotations ?? spec.annotations ?? {};
}
