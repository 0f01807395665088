import { mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { parseCgroupHost } from './cgroup/cgroup-host.ts';
import { openCgroup } from './cgroup/open-cgroup.ts';
import { Container, type ContainerContext, loadContainer } from './container.ts';
import { listDirectory } from './container-state.ts';
import type { ContainerEngine, ContainerStatus } from './engine.ts';
import { startPlainExec } from './exec-plain.ts';
import { startExec } from './exec-session.ts';
import { ExitFeed } from './exit-feed.ts';
import { endsWithin, waitForKilled } from './kill-wait.ts';
import { loadLibc } from './libc.ts';
import { makeContainer } from './make-container.ts';
import { describeOwner, makeDirectory } from './monitor.ts';
import { Performer } from './performer/performer.ts';
import { FilterStore } from './seccomp/stored-filter.ts';
import { checkSpec } from './spec-check.ts';
import { removeUnfinished } from './unfinished.ts';
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
    if (container === undefined) await removeUnfinished(context.cgroups, join(containersDir, id));
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
      const state = await makeContainer(context, {
        request,
        directory,
        monitorCgroup: options.monitorCgroup,
      });
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
