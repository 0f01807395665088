import { TkadmError } from '../base/errors.ts';
import { buildContainerStatus } from './container-status.ts';
import type { CriHandlers } from './handlers.ts';
import type { LinuxPodSandboxConfig, PodSandbox, PodSandboxFilter } from './messages/sandbox.ts';
import type { SandboxRecord } from './records.ts';
import { checkSandbox } from './refusals.ts';
import { mergeResources } from './resources.ts';
import { getSandbox, matchesLabels, type RuntimeContext, toNanos, verboseInfo } from './runtime-context.ts';
import { findHandler } from './runtime-handlers.ts';
import { removeSandbox, runSandbox, stopSandbox } from './sandbox-lifecycle.ts';
import { buildPodCgroup } from './sandbox-spec.ts';
import {
  buildSandbox,
  buildSandboxStatus,
  containersOf,
  isSandboxReady,
  sandboxName,
} from './sandbox-status.ts';
import { checkSysctls } from './sysctls.ts';

type SandboxHandlers = Pick<
  CriHandlers,
  | 'runPodSandbox'
  | 'stopPodSandbox'
  | 'removePodSandbox'
  | 'podSandboxStatus'
  | 'listPodSandbox'
  | 'streamPodSandboxes'
  | 'updatePodSandboxResources'
>;

export function createSandboxHandlers(context: RuntimeContext): SandboxHandlers {
  const list = (filter: PodSandboxFilter | undefined) =>
    context.sandboxes
      .list()
      .map((record) => buildSandbox(context, record))
      .filter((sandbox) => matchesFilter(sandbox, filter));
  return {
    async runPodSandbox({ config, runtimeHandler }) {
      if (config?.metadata === undefined) {
        throw new TkadmError('CRI_INVALID', 'Cannot run sandbox: it has no metadata');
      }
      const handler = findHandler(context.handlers, runtimeHandler);
      checkSandbox({ config, kernel: context.kernel, handler });
      checkSysctls(config.linux?.sysctls ?? {}, config.linux?.securityContext?.namespaceOptions);
      const run = () => runSandbox(context, config, handler);
      return { podSandboxId: await context.locks.run(sandboxName(config), run) };
    },
    async stopPodSandbox({ podSandboxId }) {
      const record = context.sandboxes.find(podSandboxId);
      if (record !== undefined) await context.locks.run(record.id, () => stopSandbox(context, record.id));
      return {};
    },
    async removePodSandbox({ podSandboxId }) {
      const record = context.sandboxes.find(podSandboxId);
      if (record === undefined) return {};
      await context.locks.run(record.id, async () => {
        await stopSandbox(context, record.id);
        await removeSandbox(context, record.id);
      });
      return {};
    },
    async podSandboxStatus({ podSandboxId, verbose }) {
      const record = getSandbox(context, podSandboxId);
      return {
        status: buildSandboxStatus(context, record),
        containersStatuses: containersOf(context, record.id).map((container) =>
          buildContainerStatus(context, container),
        ),
        timestamp: toNanos(context.now()),
        info: verboseInfo(verbose, () => sandboxInfo(context, record)),
      };
    },
    listPodSandbox: async ({ filter }) => ({ items: list(filter) }),
    async *streamPodSandboxes({ filter }) {
      for (const sandbox of list(filter)) yield { podSandboxes: [sandbox] };
    },
    async updatePodSandboxResources({ podSandboxId, overhead, resources }) {
      const { id } = getSandbox(context, podSandboxId);
      await context.locks.run(id, () => updateSandbox(context, id, { overhead, resources }));
      return {};
    },
  };
}

/** Follows a kubelet that has resized a pod: the pod's cgroup gets the sums, the pause container its overhead. */
async function updateSandbox(
  context: RuntimeContext,
  id: string,
  { overhead, resources }: Pick<LinuxPodSandboxConfig, 'overhead' | 'resources'>,
): Promise<void> {
  const record = getSandbox(context, id);
  const linux = record.config.linux;
  const merged = {
    ...linux,
    ...(overhead && { overhead: mergeResources(linux?.overhead, overhead) }),
    ...(resources && { resources: mergeResources(linux?.resources, resources) }),
  };
  const config = { ...record.config, linux: merged as LinuxPodSandboxConfig };
  if (resources !== undefined && isSandboxReady(context, record)) {
    await context.engine.updateParent(id, buildPodCgroup(config) ?? {});
  }
  await context.sandboxes.put({ ...record, config });
}

function matchesFilter(sandbox: PodSandbox, filter: PodSandboxFilter | undefined): boolean {
  if (filter === undefined) return true;
  return (
    sandbox.id.startsWith(filter.id) &&
    (filter.state === undefined || filter.state.state === sandbox.state) &&
    matchesLabels(sandbox.labels, filter.labelSelector)
  );
}

function sandboxInfo(context: RuntimeContext, record: SandboxRecord) {
  return {
    pid: context.engine.status(record.id)?.pid ?? 0,
    config: record.config,
    cniResult: record.network?.result,
  };
}
