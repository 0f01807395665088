import { mkdirSync, readFileSync, readlinkSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { buildCgroupMounts, moveToCgroup, openCgroup } from './cgroup.ts';
import { parseCgroupHost } from './cgroup-host.ts';
import { Container, type ContainerContext, loadContainer } from './container.ts';
import { listDirectory, type StoredContainer, writeState } from './container-state.ts';
import type { ContainerEngine, CreateContainerOptions } from './engine.ts';
import { startExec } from './exec-session.ts';
import { ExitFeed } from './exit-feed.ts';
import { type ContainerBundle, SLOT_FILES } from './launch-bundle.ts';
import { type ContainerLauncher, discardLauncher, LauncherPool } from './launcher-pool.ts';
import { loadLibc } from './libc.ts';
import { isOwnerAlive, killTree, readStartTime } from './monitor.ts';
import { storeFilter } from './seccomp/stored-filter.ts';
import { checkSpec } from './spec-check.ts';

export interface ContainerEngineOptions {
  /** Containers and waiting launchers are kept below this directory. */
  readonly stateDir: string;
  /** The Node.js binary for launchers. */
  readonly nodePath: string;
  /** The bundled `tkadm-launcher.cjs`. */
  readonly launcherPath: string;
  /** Launchers that wait for a container; 0 starts each on demand. */
  readonly poolSize: number;
  /**
   * Where monitors go on cgroup v2, "/tkadm/monitors": out of the cgroup of the service that opened the engine, which
   * its init system takes for the service's own. They stay there without it.
   */
  readonly monitorCgroup?: string | undefined;
  /** Launchers that wait for an exec; default 1 when there is a pool, else 0. */
  readonly execPoolSize?: number;
  readonly log: Logger;
  readonly now: () => Date;
  /** Closes the engine. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens the engine over `stateDir`: finds the containers of an earlier engine, reports the exits that
 * happened meanwhile, removes what a creation left half done, and starts the launchers.
 */
export async function createContainerEngine(options: ContainerEngineOptions): Promise<ContainerEngine> {
  const { stateDir, log, now, launcherPath } = options;
  const libc = loadLibc();
  const containersDir = join(stateDir, 'containers');
  const slotsDir = join(stateDir, 'slots');
  for (const path of [containersDir, slotsDir]) mkdirSync(path, { recursive: true, mode: 0o700 });
  const host = parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'));
  const containers = new Map<string, Container>();
  const feed = new ExitFeed();
  const context: ContainerContext = {
    libc,
    log,
    now,
    cgroups: { host, libc, log },
    onExit: (container) => feed.publish(container.status()),
  };
  for (const name of listDirectory(slotsDir)) removeUnfinished(join(slotsDir, name));
  for (const id of listDirectory(containersDir)) {
    const container = loadContainer(context, join(containersDir, id), launcherPath);
    if (container === undefined) removeUnfinished(join(containersDir, id));
    else containers.set(id, container);
  }
  for (const container of containers.values()) container.follow();
  const pool = new LauncherPool({
    libc,
    slotsDir,
    nodePath: options.nodePath,
    launcherPath,
    size: options.poolSize,
    execSize: options.execPoolSize ?? Math.min(options.poolSize, 1),
  });

  const find = (id: string): Container => {
    const container = containers.get(id);
    if (container === undefined) {
      throw new TkadmError('CONTAINER_NOT_FOUND', `Cannot find container "${id}"`);
    }
    return container;
  };

  const engine: ContainerEngine = {
    async create(request) {
      const { id } = request;
      checkSpec(request);
      const directory = join(containersDir, id);
      const launcher = takeLauncher(pool, request);
      claimDirectory(launcher, directory, id);
      const state = await launch(request, launcher, directory);
      const container = new Container(context, directory, state);
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
      if (container.state.startedAt === undefined || graceMs <= 0) container.kill('SIGKILL');
      else {
        container.kill(signal ?? 'SIGTERM');
        const timer = setTimeout(() => container.kill('SIGKILL'), graceMs);
        await container.exited;
        clearTimeout(timer);
      }
      await container.exited;
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
        await container.cgroup?.freeze(false).catch(() => {});
        container.kill('SIGKILL');
        await container.exited;
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
      const container = find(id);
      if (container.status().state !== 'running') {
        throw new TkadmError(
          'CONTAINER_STATE',
          `Cannot run a process in container "${id}": it is not running`,
        );
      }
      return await startExec(libc, container, pool.takeExec(), execOptions);
    },
    attach: (id) => find(id).attach(),
    stats: async (id) => find(id).cgroup?.stats(),
    async update(id, resources) {
      find(id).cgroup?.update(resources);
    },
    pause: async (id) => await find(id).cgroup?.freeze(true),
    resume: async (id) => await find(id).cgroup?.freeze(false),
    reopenLog: async (id) => await find(id).reopenLog(),
    async close() {
      pool.close();
      for (const container of containers.values()) container.release();
    },
  };
  options.signal?.addEventListener('abort', () => void engine.close(), { once: true });
  return engine;

  async function launch(
    request: CreateContainerOptions,
    launcher: ContainerLauncher,
    directory: string,
  ): Promise<StoredContainer> {
    const { id, spec } = request;
    const cgroupPath = spec.linux?.cgroupsPath;
    const cgroup = cgroupPath === undefined ? undefined : openCgroup(context.cgroups, cgroupPath);
    try {
      writeFileSync(join(directory, SLOT_FILES.config), JSON.stringify(spec), { mode: 0o600 });
      if (cgroupPath !== undefined && request.parentResources !== undefined)
        openCgroup(context.cgroups, dirname(cgroupPath)).create(request.parentResources);
      cgroup?.create(spec.linux?.resources);
      const bundle: ContainerBundle = {
        kind: 'container',
        spec,
        rootfs: request.rootfs,
        stagingDir: join(directory, SLOT_FILES.staging),
        cgroupJoinFiles: cgroup?.joinFiles ?? [],
        cgroupMounts: buildCgroupMounts(host),
        stdin: request.stdin ?? false,
        inheritStreams: request.inheritStreams ?? false,
        seccomp: storeFilter(spec),
      };
      launcher.channel.send(bundle);
      const report = await launcher.channel.next();
      if (report?.kind !== 'ready') {
        const reason = report?.kind === 'error' ? report.message : 'the launcher ended';
        throw new TkadmError('CONTAINER_LAUNCH', `Cannot create container "${id}": ${reason}`);
      }
      for (const warning of report.warnings) log.warn(`limit not applied: ${warning}`, { id });
      const monitorPid = launcher.monitor.pid ?? 0;
      if (options.monitorCgroup !== undefined) moveToCgroup(host, options.monitorCgroup, monitorPid);
      const state: StoredContainer = {
        id,
        createdAt: now().toISOString(),
        pid: report.pid,
        pidStart: readStartTime(report.pid) ?? '',
        monitorPid,
        monitorStart: readStartTime(monitorPid) ?? '',
        ...(cgroupPath === undefined ? {} : { cgroupPath }),
        ...(request.logPath === undefined ? {} : { logPath: request.logPath }),
        terminal: spec.process?.terminal ?? false,
        stdin: request.stdin ?? false,
        stdinOnce: request.stdinOnce ?? false,
        hasOwnPidNamespace: hasOwnPid(request),
        hasInheritedStreams: request.inheritStreams ?? false,
        annotations: request.annotations ?? spec.annotations ?? {},
      };
      writeState(directory, state);
      launcher.channel.close();
      return state;
    } catch (error) {
      discardLauncher(launcher, directory);
      await cgroup?.remove().catch(() => {});
      throw error;
    }
  }
}

function hasOwnPid(request: CreateContainerOptions): boolean {
  return (request.spec.linux?.namespaces ?? []).some(({ type, path }) => type === 'pid' && !path);
}

function takeLauncher(pool: LauncherPool, request: CreateContainerOptions): ContainerLauncher {
  const terminal = request.spec.process?.terminal ?? false;
  const inheritStreams = request.inheritStreams ?? false;
  const pid = (request.spec.linux?.namespaces ?? []).find(({ type }) => type === 'pid');
  if (pid !== undefined && !pid.path && !terminal && !inheritStreams) return pool.takeContainer();
  const pidNamespace = pid === undefined ? 'host' : pid.path ? { path: pid.path } : 'new';
  return pool.startContainer({ pidNamespace, terminal, inheritStreams, isPooled: false });
}

/** Moves the slot to the container's place; its name decides who of two creators wins. */
function claimDirectory(launcher: ContainerLauncher, directory: string, id: string): void {
  try {
    renameSync(launcher.directory, directory);
  } catch (error) {
    discardLauncher(launcher, launcher.directory);
    const { code } = error as NodeJS.ErrnoException;
    if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    throw new TkadmError('CONTAINER_EXISTS', `Cannot create container "${id}": it exists`);
  }
}

/** What engines that have gone left behind before a container was recorded: processes and files. */
function removeUnfinished(directory: string): void {
  if (isOwnerAlive(directory)) return;
  const monitor = findMonitor(directory);
  if (monitor !== undefined) killTree(monitor);
  rmSync(directory, { recursive: true, force: true });
}

/** The living monitor of a slot: a monitor's working directory is its slot. */
function findMonitor(directory: string): number | undefined {
  try {
    const pid = Number(readFileSync(join(directory, SLOT_FILES.monitor), 'utf8'));
    return readlinkSync(`/proc/${pid}/cwd`) === directory ? pid : undefined;
  } catch {
    return undefined;
  }
}
