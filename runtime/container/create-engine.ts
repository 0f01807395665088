import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { buildCgroupMounts, moveToCgroup, openCgroup } from './cgroup.ts';
import { parseCgroupHost } from './cgroup-host.ts';
import { Container, type ContainerContext, loadContainer } from './container.ts';
import { listDirectory, type StoredContainer, writeState } from './container-state.ts';
import type { ContainerEngine, ContainerStatus, CreateContainerOptions } from './engine.ts';
import { startPlainExec } from './exec-plain.ts';
import { startExec } from './exec-session.ts';
import { ExitFeed } from './exit-feed.ts';
import { buildForeignSpec, isBornInCgroup, launchForeign } from './foreign-runtime.ts';
import { hasHooks, runHooks } from './hooks.ts';
import { endsWithin, waitForKilled } from './kill-wait.ts';
import { SLOT_FILES } from './launch-bundle.ts';
import { launchContainer } from './launch-container.ts';
import { loadLibc } from './libc.ts';
import {
  describeOwner,
  findMonitor,
  isOwnerAlive,
  killTree,
  makeDirectory,
  readStartTime,
} from './monitor.ts';
import type { OciSpec } from './oci-spec.ts';
import { Performer } from './performer/performer.ts';
import { FilterStore } from './seccomp/stored-filter.ts';
import { checkSpec } from './spec-check.ts';
import { openContainerCgroup } from './systemd/scope-cgroup.ts';
import { fillMappings } from './user-mappings.ts';

export interface ContainerEngineOptions {
  /** Containers are kept below this directory. */
  readonly stateDir: string;
  /**
   * Where monitors go on cgroup v2, "/tkadm/monitors": out of the cgroup of the service that opened the engine, which
   * its init system takes for the service's own. They stay there without it.
   */
  readonly monitorCgroup?: string | undefined;
  readonly log: Logger;
  readonly now: () => Date;
  /** Looks at this container alone of those that are there, when given. */
  readonly only?: string | undefined;
  /** False when other engines over the directory read the output of the containers that are there. */
  readonly followsOutput?: boolean;
  /** How long the end of a process may take that got SIGKILL, 30 s when not given. */
  readonly killTimeoutMs?: number | undefined;
  /** Closes the engine. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens the engine over `stateDir`: finds the containers of an earlier engine, reports the exits that
 * happened meanwhile, and removes what a creation left half done.
 */
export async function createContainerEngine(options: ContainerEngineOptions): Promise<ContainerEngine> {
  const { stateDir, log, now } = options;
  const libc = loadLibc();
  const performer = new Performer(libc);
  const filters = new FilterStore(performer.machine);
  const containersDir = join(stateDir, 'containers');
  mkdirSync(containersDir, { recursive: true, mode: 0o700 });
  const owner = describeOwner();
  const host = parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'));
  const containers = new Map<string, Container>();
  const feed = new ExitFeed();
  const context: ContainerContext = {
    libc,
    performer,
    filters,
    log,
    now,
    cgroups: { host, libc, log },
    onExit: (container) => feed.publish(container.status()),
  };
  for (const id of listDirectory(containersDir)) {
    if (options.only !== undefined && options.only !== id) continue;
    const container = loadContainer(context, join(containersDir, id));
    if (container === undefined) await removeUnfinished(context, join(containersDir, id));
    else containers.set(id, container);
  }
  for (const container of containers.values()) {
    container.follow({ hasOutput: options.followsOutput ?? true });
  }

  const find = (id: string): Container => {
    const container = containers.get(id);
    if (container === undefined) {
      throw new TkadmError('CONTAINER_NOT_FOUND', `Cannot find container "${id}": it does not exist`);
    }
    return container;
  };

  const findIn = (states: readonly ContainerStatus['state'][], id: string): Container => {
    const container = find(id);
    if (states.includes(container.status().state)) return container;
    throw new TkadmError('CONTAINER_STATE', `Cannot run a process in container "${id}": it is not running`);
  };

  const killAndWait = async (container: Container) => {
    await container.cgroup?.freeze(false).catch(() => {});
    container.kill('SIGKILL');
    await waitForKilled(container, { host, timeoutMs: options.killTimeoutMs });
  };

  let isClosed = false;
  const engine: ContainerEngine = {
    async create(asked) {
      const { id } = asked;
      checkSpec(asked);
      const request = { ...asked, spec: fillMappings(asked.spec, id) };
      const directory = join(containersDir, id);
      claimDirectory(id, () => makeDirectory(libc, directory, owner));
      const state = await launch(request, directory);
      const container = new Container(context, directory, state, request.spec);
      containers.set(id, container);
      container.follow();
      return container.status();
    },
    async start(id) {
      await find(id).start();
      return find(id).status();
    },
    async kill(id, signal, killOptions) {
      const container = find(id);
      if (container.isExited) {
        throw new TkadmError('CONTAINER_STATE', `Cannot signal container "${id}": it has exited`);
      }
      if (killOptions?.all) container.killAll(signal);
      else container.kill(signal);
    },
    async stop(id, { graceMs, signal }) {
      const container = find(id);
      if (container.isExited) return container.status();
      // A container that was not started has no program that could handle a signal.
      if (container.state.startedAt !== undefined && graceMs > 0) {
        container.kill(signal ?? 'SIGTERM');
        if (await endsWithin(container.exited, graceMs)) return container.status();
      }
      await killAndWait(container);
      return container.status();
    },
    async delete(id, deleteOptions) {
      const container = find(id);
      if (!container.isExited) {
        if (container.state.startedAt !== undefined && !deleteOptions?.force) {
          throw new TkadmError('CONTAINER_STATE', `Cannot delete container "${id}": it is running`, {
            hint: 'Stop it first',
          });
        }
        await killAndWait(container);
      }
      await container.remove();
      containers.delete(id);
    },
    status: (id) => containers.get(id)?.status(),
    list: () => [...containers.values()].map((container) => container.status()),
    async wait(id) {
      const container = find(id);
      await container.exited;
      return container.status();
    },
    exits: (signal) => feed.subscribe(signal),
    async exec(id, execOptions) {
      return await startExec(context, findIn(['running'], id), execOptions);
    },
    async execPlain(id, process_, traits = {}) {
      return await startPlainExec(context, findIn(['created', 'running'], id), { process: process_, traits });
    },
    attach: (id) => find(id).attach(),
    spec: (id) => find(id).spec,
    cgroup: (id) => find(id).cgroup,
    stats: async (id) => find(id).cgroup?.stats(),
    pids: (id) => find(id).cgroup?.pids() ?? [],
    async update(id, resources) {
      await find(id).cgroup?.update(resources);
    },
    async updateParent(id, resources) {
      const { cgroupPath } = find(id).state;
      if (cgroupPath !== undefined) await openCgroup(context.cgroups, dirname(cgroupPath)).update(resources);
    },
    pause: async (id) => await find(id).cgroup?.freeze(true),
    resume: async (id) => await find(id).cgroup?.freeze(false),
    reopenLog: async (id) => await find(id).reopenLog(),
    async close() {
      if (isClosed) return;
      isClosed = true;
      performer.close();
      await Promise.all([...containers.values()].map((container) => container.close()));
    },
  };
  options.signal?.addEventListener('abort', () => void engine.close(), { once: true });
  return engine;

  async function launch(request: CreateContainerOptions, directory: string): Promise<StoredContainer> {
    const { id, spec } = request;
    const cgroupPath = spec.linux?.cgroupsPath;
    const isScope = request.hasSystemdScope ?? false;
    const cgroup =
      cgroupPath === undefined ? undefined : openContainerCgroup(context, { path: cgroupPath, isScope });
    const annotations = request.annotations ?? spec.annotations ?? {};
    const bundle = request.bundle ?? '';
    const target = {
      id,
      spec,
      pid: undefined,
      bundle,
      annotations,
      cgroupJoinFiles: cgroup?.joinFiles ?? [],
    };
    let release: (() => void) | undefined;
    try {
      const written = request.runtimePath === undefined ? spec : buildForeignSpec(spec, request.runtimePath);
      writeFileSync(join(directory, SLOT_FILES.config), JSON.stringify(written), { mode: 0o600 });
      if (cgroupPath !== undefined && request.parentResources !== undefined)
        await openCgroup(context.cgroups, dirname(cgroupPath)).create(request.parentResources);
      const isOurs = request.runtimePath === undefined || isBornInCgroup(request.runtimePath);
      if (isOurs) release = await cgroup?.create(spec.linux?.resources);
      const cgroupJoinFiles = cgroup?.joinFiles ?? [];
      const launched =
        request.runtimePath === undefined
          ? await launchContainer(
              { libc, performer },
              {
                request,
                directory,
                stagingDir: join(directory, SLOT_FILES.staging),
                cgroupJoinFiles,
                cgroupMounts: buildCgroupMounts(host),
                seccomp: filters.get(spec),
                atStage: hasHooks(spec, 'stage')
                  ? (pid) => runHooks(context, 'stage', { ...target, pid })
                  : undefined,
              },
            )
          : await launchForeign(performer, { request, directory, cgroupJoinFiles });
      for (const warning of launched.warnings) log.warn(`limit not applied: ${warning}`, { id });
      const { pid, monitorPid, monitorStart, startAddress } = launched;
      if (options.monitorCgroup !== undefined) moveToCgroup(host, options.monitorCgroup, monitorPid);
      const state: StoredContainer = {
        id,
        createdAt: now().toISOString(),
        pid,
        pidStart: readStartTime(pid) ?? '',
        monitorPid,
        monitorStart,
        startAddress,
        ...(request.runtimePath === undefined ? {} : { runtimePath: request.runtimePath }),
        ...(cgroupPath === undefined ? {} : { cgroupPath }),
        ...(isScope ? { isScope } : {}),
        ...(request.logPath === undefined ? {} : { logPath: request.logPath }),
        ...(request.logLimit === undefined ? {} : { logLimit: request.logLimit }),
        terminal: spec.process?.terminal ?? false,
        stdin: request.stdin ?? false,
        stdinOnce: request.stdinOnce ?? false,
        hasOwnPidNamespace: hasOwnPid(request),
        hasInheritedStreams: request.inheritStreams ?? false,
        isReapedByCaller: request.traits?.reaper === 'caller',
        preservedCount: request.traits?.preserved?.fds.length ?? 0,
        ...(request.bundle === undefined ? {} : { bundle }),
        annotations,
      };
      writeState(directory, state);
      return state;
    } catch (error) {
      const hasNoMemory = (cgroup?.oomKills() ?? 0) > 0;
      rmSync(directory, { recursive: true, force: true });
      await cgroup?.remove().catch(() => {});
      if (hasHooks(spec, 'deleted')) await runHooks(context, 'deleted', target);
      if (error instanceof TkadmError) throw error;
      const reason = hasNoMemory ? '"memory.limit" is too low to start a process' : (error as Error).message;
      throw new TkadmError('CONTAINER_LAUNCH', `Cannot create container "${id}": ${reason}`, {
        cause: error,
      });
    } finally {
      release?.();
    }
  }
}

function hasOwnPid(request: CreateContainerOptions): boolean {
  return (request.spec.linux?.namespaces ?? []).some(({ type, path }) => type === 'pid' && !path);
}

/** Makes the container's directory; its name decides who of two creators wins. */
function claimDirectory(id: string, make: () => void): void {
  try {
    make();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    throw new TkadmError('CONTAINER_EXISTS', `Cannot create container "${id}": it exists`);
  }
}

/** What engines that have gone left behind before a container was recorded: processes, cgroup and files. */
async function removeUnfinished(context: ContainerContext, directory: string): Promise<void> {
  if (isOwnerAlive(directory)) return;
  const monitor = findMonitor(directory);
  if (monitor !== undefined) killTree(monitor);
  const cgroupPath = readCgroupPath(directory);
  if (cgroupPath !== undefined) await openCgroup(context.cgroups, cgroupPath).remove();
  rmSync(directory, { recursive: true, force: true });
}

/** The spec is written before the cgroup is made. */
function readCgroupPath(directory: string): string | undefined {
  try {
    const spec = JSON.parse(readFileSync(join(directory, SLOT_FILES.config), 'utf8')) as OciSpec;
    return spec.linux?.cgroupsPath;
  } catch {
    return undefined;
  }
}
