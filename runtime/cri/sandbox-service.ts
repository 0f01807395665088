import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError, TkadmError } from '../base/errors.ts';
import { PAUSE_IMAGE } from '../image/builtin-images.ts';
import { cniAddresses } from './cni.ts';
import { removeContainer, stopContainer } from './container-lifecycle.ts';
import { buildContainerStatus } from './container-status.ts';
import type { CriHandlers } from './handlers.ts';
import type {
  LinuxPodSandboxConfig,
  PodSandbox,
  PodSandboxConfig,
  PodSandboxFilter,
  PodSandboxStatus,
} from './messages/sandbox.ts';
import { minOomScore } from './oom-score.ts';
import type { SandboxRecord } from './records.ts';
import { checkSandbox } from './refusals.ts';
import { mergeResources } from './resources.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { getSandbox, matchesLabels, publishEvent, toNanos, verboseInfo } from './runtime-context.ts';
import { findHandler, type RuntimeHandler } from './runtime-handlers.ts';
import {
  buildCniArgs,
  buildCniRuntimeConfig,
  buildPodCgroup,
  buildSandboxSpec,
  formatResolvConf,
} from './sandbox-spec.ts';
import { checkSysctls } from './sysctls.ts';

/** MS_NOSUID | MS_NODEV | MS_NOEXEC */
const SHM_FLAGS = 2 | 4 | 8;
const SHM_OPTIONS = 'mode=1777,size=65536k';

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
      return { podSandboxId: await context.locks.run(nameOf(config), run) };
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

/** True while the pause container runs and nobody stopped the sandbox. */
export function isSandboxReady(context: RuntimeContext, record: SandboxRecord): boolean {
  return record.isReady && context.engine.status(record.id)?.state === 'running';
}

export function buildSandboxStatus(context: RuntimeContext, record: SandboxRecord): PodSandboxStatus {
  const { config } = record;
  const options = config.linux?.securityContext?.namespaceOptions;
  const [ip = '', ...others] = cniAddresses(record.network?.result);
  return {
    id: record.id,
    metadata: config.metadata,
    state: isSandboxReady(context, record) ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY',
    createdAt: BigInt(record.createdAt),
    network: { ip, additionalIps: others.map((other) => ({ ip: other })) },
    linux: options === undefined ? undefined : { namespaces: { options } },
    labels: config.labels,
    annotations: config.annotations,
    runtimeHandler: record.runtimeHandler,
  };
}

/** What an earlier runtime left: a sandbox whose id nobody was told is removed, a stop is finished. */
export async function recoverSandboxes(context: RuntimeContext): Promise<void> {
  const records = context.sandboxes.list();
  for (const record of records) {
    if (record.isHalfMade) await abandonSandbox(context, record.id);
    if (record.isReady || context.engine.status(record.id) === undefined) continue;
    await stopSandbox(context, record.id).catch((error: unknown) => {
      context.log.warn('sandbox not stopped', { id: record.id, error: formatError(error) });
    });
  }
  void checkRecovered(
    context,
    records.filter(({ isReady }) => isReady),
  );
}

/** Sandboxes that ran before: says what has changed under them. Nobody waits for it. */
async function checkRecovered(context: RuntimeContext, records: readonly SandboxRecord[]): Promise<void> {
  for (const { id, network } of records) {
    if (context.engine.status(id)?.state !== 'running') {
      context.log.info('sandbox has ended', { id });
      continue;
    }
    if (network === undefined) continue;
    await context.cni.check(network, id, netnsPath(context, id)).catch((error: unknown) => {
      context.log.warn('network of sandbox is not as it was', { id, error: formatError(error) });
    });
  }
}

async function runSandbox(
  context: RuntimeContext,
  config: PodSandboxConfig,
  handler: RuntimeHandler,
): Promise<string> {
  requireFreeName(context, config);
  const id = context.newId();
  const record: SandboxRecord = {
    id,
    config,
    runtimeHandler: handler.name,
    createdAt: String(toNanos(context.now())),
    isReady: false,
    isHalfMade: true,
  };
  try {
    // The record comes before what it describes, so that a runtime that dies meanwhile can undo it.
    const planned = await planNetwork(context, id, config);
    await context.sandboxes.put({ ...record, network: planned });
    await writeSandboxFiles(context, id, config);
    await startPause(context, record, handler);
    const network = planned && (await context.cni.add(planned, id, netnsPath(context, id)));
    const { isHalfMade: _, ...made } = record;
    await context.sandboxes.put({ ...made, network, isReady: true });
  } catch (error) {
    await abandonSandbox(context, id);
    throw error;
  }
  publishEvent(context, 'CONTAINER_CREATED_EVENT', id, id);
  publishEvent(context, 'CONTAINER_STARTED_EVENT', id, id);
  return id;
}

/** What makes a sandbox unique (CRI PodSandboxMetadata). */
function nameOf({ metadata }: PodSandboxConfig): string {
  const { namespace = '', name = '', uid = '', attempt = 0 } = metadata ?? {};
  return `sandbox "${namespace}/${name}", uid "${uid}", attempt ${attempt}`;
}

function requireFreeName(context: RuntimeContext, config: PodSandboxConfig): void {
  const name = nameOf(config);
  const holder = context.sandboxes.list().find((record) => nameOf(record.config) === name);
  if (holder !== undefined) {
    throw new TkadmError('CRI_EXISTS', `Cannot run ${name}: it exists as "${holder.id}"`);
  }
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

async function startPause(
  context: RuntimeContext,
  { id, config }: SandboxRecord,
  handler: RuntimeHandler,
): Promise<void> {
  const image = context.images.resolve(PAUSE_IMAGE);
  const [rootfs] = image === undefined ? [] : context.images.lowerDirs(image);
  if (rootfs === undefined) {
    throw new TkadmError('IMAGE_NOT_FOUND', `Cannot run sandbox: image "${PAUSE_IMAGE}" is not in the store`);
  }
  await context.engine.create({
    id,
    spec: buildSandboxSpec(id, config, {
      isForeign: handler.runtimePath !== undefined,
      minOomScore: minOomScore(context, handler),
    }),
    rootfs: { kind: 'path', path: rootfs },
    annotations: config.annotations,
    parentResources: buildPodCgroup(config),
    runtimePath: handler.runtimePath,
  });
  await context.engine.start(id);
}

/** How CNI will be run; undefined with the host's network. */
async function planNetwork(context: RuntimeContext, id: string, config: PodSandboxConfig) {
  if (config.linux?.securityContext?.namespaceOptions?.network === 'NODE') return undefined;
  const attachment = await context.cni.prepare({
    args: buildCniArgs(id, config),
    runtimeConfig: buildCniRuntimeConfig(config),
  });
  const has = (name: string) => attachment.list.plugins.some((plugin) => plugin.capabilities?.[name]);
  const { portMappings, bandwidth } = attachment.runtimeConfig;
  if (portMappings !== undefined && !has('portMappings')) {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot map host ports of ${nameOf(config)}: no plugin of CNI network "${attachment.list.name}" can`,
      { hint: 'Add the plugin "portmap" with the capability "portMappings" to the network' },
    );
  }
  if (bandwidth !== undefined && !has('bandwidth')) {
    context.log.warn('bandwidth annotations have no effect: no CNI plugin for them', { id });
  }
  return attachment;
}

/** The network namespace, "" when the pause container has ended. */
function netnsPath(context: RuntimeContext, id: string): string {
  const pid = context.engine.status(id)?.pid;
  return pid === undefined ? '' : `/proc/${pid}/ns/net`;
}

async function abandonSandbox(context: RuntimeContext, id: string): Promise<void> {
  try {
    await stopSandbox(context, id);
    await removeSandbox(context, id);
  } catch (error) {
    context.log.warn('failed sandbox not removed', { id, error: formatError(error) });
  }
}

async function stopSandbox(context: RuntimeContext, id: string): Promise<void> {
  const record = context.sandboxes.get(id);
  if (record === undefined) return;
  await Promise.all(containersOf(context, id).map((container) => stopContainer(context, container.id, 0)));
  // Not ready before its network goes, so that a runtime that dies meanwhile goes on from here.
  const stopped = { ...record, isReady: false };
  if (record.isReady) await context.sandboxes.put(stopped);
  if (record.network !== undefined) {
    await context.cni.del(record.network, id, netnsPath(context, id));
    await context.sandboxes.put({ ...stopped, network: undefined });
  }
  const status = context.engine.status(id);
  if (status !== undefined && status.state !== 'exited') await context.engine.stop(id, { graceMs: 0 });
  unmountShm(context, id);
  if (record.isReady) publishEvent(context, 'CONTAINER_STOPPED_EVENT', id, id);
}

async function removeSandbox(context: RuntimeContext, id: string): Promise<void> {
  for (const container of containersOf(context, id)) await removeContainer(context, container.id);
  if (context.engine.status(id) !== undefined) await context.engine.delete(id, { force: true });
  await context.sandboxes.remove(id);
  publishEvent(context, 'CONTAINER_DELETED_EVENT', id, id);
}

/** hostname, hosts and resolv.conf for the containers, and their shared memory. */
async function writeSandboxFiles(
  context: RuntimeContext,
  id: string,
  config: PodSandboxConfig,
): Promise<void> {
  const directory = context.sandboxes.directory(id);
  const options = config.linux?.securityContext?.namespaceOptions;
  const isHostNetwork = options?.network === 'NODE';
  const hostFile = (path: string) => readFile(path, 'utf8').catch(() => '');
  const hostname =
    isHostNetwork || config.hostname === '' ? await hostFile('/etc/hostname') : `${config.hostname}\n`;
  const resolvConf = formatResolvConf(config.dnsConfig) ?? (await hostFile('/etc/resolv.conf'));
  await writeFile(join(directory, 'hostname'), hostname, { mode: 0o644 });
  await writeFile(join(directory, 'hosts'), await hostFile('/etc/hosts'), { mode: 0o644 });
  await writeFile(join(directory, 'resolv.conf'), resolvConf, { mode: 0o644 });
  if (options?.ipc === 'NODE') return;
  const shm = join(directory, 'shm');
  await mkdir(shm, { mode: 0o1777 });
  context.mounter.mount('shm', shm, 'tmpfs', SHM_FLAGS, SHM_OPTIONS);
}

function unmountShm(context: RuntimeContext, id: string): void {
  try {
    context.mounter.unmount(join(context.sandboxes.directory(id), 'shm'));
  } catch (error) {
    context.log.debug('shared memory was not mounted', { id, error: formatError(error) });
  }
}

function containersOf(context: RuntimeContext, sandboxId: string) {
  return context.containers.list().filter((container) => container.sandboxId === sandboxId);
}

function buildSandbox(context: RuntimeContext, record: SandboxRecord): PodSandbox {
  const { id, metadata, state, createdAt, labels, annotations, runtimeHandler } = buildSandboxStatus(
    context,
    record,
  );
  return { id, metadata, state, createdAt, labels, annotations, runtimeHandler };
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
