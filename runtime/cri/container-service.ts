import { formatError, isTkadmError, TkadmError } from '../base/errors.ts';
import { removeContainer, stopContainer } from './container-lifecycle.ts';
import { buildContainer, buildContainerStatus } from './container-status.ts';
import { createContainer } from './create-container.ts';
import { runSync } from './exec-sync.ts';
import type { CriHandlers } from './handlers.ts';
import type { Container, ContainerFilter } from './messages/container.ts';
import { setOomScore } from './oom-score.ts';
import type { ContainerRecord } from './records.ts';
import { buildResources, mergeResources } from './resources.ts';
import {
  getContainer,
  getSandbox,
  matchesLabels,
  publishEvent,
  type RuntimeContext,
  toNanos,
  verboseInfo,
} from './runtime-context.ts';

type ContainerHandlers = Pick<
  CriHandlers,
  | 'createContainer'
  | 'startContainer'
  | 'stopContainer'
  | 'removeContainer'
  | 'listContainers'
  | 'streamContainers'
  | 'containerStatus'
  | 'updateContainerResources'
  | 'reopenContainerLog'
  | 'execSync'
  | 'checkpointContainer'
>;

export function createContainerHandlers(context: RuntimeContext): ContainerHandlers {
  const list = (filter: ContainerFilter | undefined) =>
    context.containers
      .list()
      .map((record) => buildContainer(context, record))
      .filter((container) => matchesFilter(container, filter));
  return {
    async createContainer({ podSandboxId, config, sandboxConfig }) {
      const sandbox = getSandbox(context, podSandboxId);
      if (config?.metadata === undefined) {
        throw new TkadmError('CRI_INVALID', 'Cannot create container: it has no metadata');
      }
      const { name, attempt } = config.metadata;
      const create = () =>
        createContainer(context, { sandbox, config, sandboxConfig: sandboxConfig ?? sandbox.config });
      return { containerId: await context.locks.run(`${sandbox.id}/${name}/${attempt}`, create) };
    },
    async startContainer({ containerId }) {
      const record = getContainer(context, containerId);
      await context.locks.run(record.id, () => startContainer(context, record.id));
      return {};
    },
    async stopContainer({ containerId, timeout }) {
      const record = context.containers.find(containerId);
      if (record !== undefined) await stopContainer(context, record.id, timeout * 1000);
      return {};
    },
    async removeContainer({ containerId }) {
      const record = context.containers.find(containerId);
      if (record !== undefined) await context.locks.run(record.id, () => removeContainer(context, record.id));
      return {};
    },
    listContainers: async ({ filter }) => ({ containers: list(filter) }),
    async *streamContainers({ filter }) {
      for (const container of list(filter)) yield { containers: [container] };
    },
    async containerStatus({ containerId, verbose }) {
      const record = getContainer(context, containerId);
      return {
        status: buildContainerStatus(context, record),
        info: verboseInfo(verbose, () => containerInfo(context, record)),
      };
    },
    async updateContainerResources({ containerId, linux, annotations }) {
      const record = getContainer(context, containerId);
      if (Object.keys(annotations).length > 0) {
        throw new TkadmError(
          'UNSUPPORTED',
          `Cannot update container "${record.id}": "annotations": this runtime has no resources that they would name`,
        );
      }
      if (linux === undefined) return {};
      await context.locks.run(record.id, async () => {
        await context.engine.update(record.id, buildResources(linux));
        const latest = getContainer(context, record.id);
        await setOomScore(context, record.id, linux.oomScoreAdj);
        const resources = mergeResources(latest.config.linux?.resources, linux);
        const config = { ...latest.config, linux: { ...latest.config.linux, resources } };
        await context.containers.put({ ...latest, config });
      });
      return {};
    },
    async reopenContainerLog({ containerId }) {
      const record = getContainer(context, containerId);
      if (context.engine.status(record.id)?.state !== 'running') {
        throw new TkadmError(
          'CRI_STATE',
          `Cannot reopen the log of container "${record.id}": it is not running`,
        );
      }
      await context.engine.reopenLog(record.id);
      return {};
    },
    execSync: ({ containerId, cmd, timeout }) =>
      runSync(context, getContainer(context, containerId), cmd, timeout * 1000),
    async checkpointContainer() {
      throw new TkadmError('UNSUPPORTED', 'Cannot call CheckpointContainer: it is not supported');
    },
  };
}

async function startContainer(context: RuntimeContext, id: string): Promise<void> {
  const record = getContainer(context, id);
  try {
    await context.engine.start(id);
  } catch (error) {
    if (!isTkadmError(error, 'CONTAINER_LAUNCH')) throw error;
    // As with containerd: a container that cannot start has ended, with the reason.
    const now = String(toNanos(context.now()));
    const end = { startedAt: '0', finishedAt: now, exitCode: 128, isOomKilled: false };
    await context.engine.stop(id, { graceMs: 0 }).catch(() => {});
    const latest = context.containers.get(id) ?? record;
    await context.containers.put({
      ...latest,
      end: { ...end, reason: 'StartError', message: formatError(error) },
    });
    throw error;
  }
  publishEvent(context, 'CONTAINER_STARTED_EVENT', id, record.sandboxId);
}

function matchesFilter(container: Container, filter: ContainerFilter | undefined): boolean {
  if (filter === undefined) return true;
  return (
    container.id.startsWith(filter.id) &&
    container.podSandboxId.startsWith(filter.podSandboxId) &&
    (filter.state === undefined || filter.state.state === container.state) &&
    matchesLabels(container.labels, filter.labelSelector)
  );
}

function containerInfo(context: RuntimeContext, record: ContainerRecord) {
  const { sandboxId, config, process, imageId } = record;
  return { pid: context.engine.status(record.id)?.pid ?? 0, sandboxId, imageId, config, process };
}
