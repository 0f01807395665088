import { mkdir } from 'node:fs/promises';
import { hostname } from 'node:os';
import { dirname, join } from 'node:path';
import { formatError, isTkadmError, TkadmError } from '../base/errors.ts';
import { buildCapabilities } from '../container/capability-sets.ts';
import { listHostDevices, resolveDevices } from '../container/host-devices.ts';
import type { OciMount } from '../container/oci-spec.ts';
import { makeContainerFiles, rootfsOf } from '../image/container-files.ts';
import { readAccounts, resolveUser } from '../image/process-user.ts';
import type { ImageRecord } from '../image/store.ts';
import { resolveCdi } from './cdi.ts';
import { applyCdiEdits } from './cdi-edits.ts';
import { releaseLayers, removeContainer, retainLayers, stopContainer } from './container-lifecycle.ts';
import { buildContainerSpec } from './container-spec.ts';
import { buildContainer, buildContainerStatus } from './container-status.ts';
import { runSync } from './exec-sync.ts';
import type { CriHandlers } from './handlers.ts';
import { checkHandler, findImage, imageNames } from './image-service.ts';
import type { Container, ContainerConfig, ContainerFilter } from './messages/container.ts';
import type { LinuxContainerSecurityContext } from './messages/linux.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import { Signal } from './messages/signal.ts';
import { minOomScore, setOomScore } from './oom-score.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import { checkContainer } from './refusals.ts';
import { buildResources, mergeResources } from './resources.ts';
import type { RuntimeContext } from './runtime-context.ts';
import {
  getContainer,
  getSandbox,
  matchesLabels,
  publishEvent,
  toNanos,
  verboseInfo,
} from './runtime-context.ts';
import { findHandler } from './runtime-handlers.ts';
import { isSandboxReady } from './sandbox-service.ts';
import { parseProfilePath, resolveSeccomp } from './seccomp.ts';
import { readUserNamespace } from './user-namespaces.ts';
import { findVolumeLayers, resolveVolumes } from './volumes.ts';

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
      const create = () => createContainer(context, sandbox, config, sandboxConfig ?? sandbox.config);
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

async function createContainer(
  context: RuntimeContext,
  sandbox: SandboxRecord,
  config: ContainerConfig,
  sandboxConfig: PodSandboxConfig,
): Promise<string> {
  requireFreeName(context, sandbox.id, config);
  checkHandler(context, config.image);
  const image = findImage(context, config.image);
  if (image === undefined) {
    throw new TkadmError(
      'IMAGE_NOT_FOUND',
      `Cannot create container: image "${config.image?.image}" is not there`,
    );
  }
  const id = context.newId();
  const { runtimePath } = findHandler(context.handlers, sandbox.runtimeHandler);
  const volumeLayers = findVolumeLayers(context, config.mounts);
  const layers = { id, lowerDirs: context.images.lowerDirs(image), volumeLayers };
  retainLayers(context, layers);
  try {
    const record = await planContainer(context, { id, sandbox, config, sandboxConfig, image });
    const directory = context.containers.directory(id);
    const [upperDir, workDir] = [join(directory, 'upper'), join(directory, 'work')];
    const files = { lowerDirs: record.lowerDirs, upperDir, workDir };
    await makeContainerFiles(files, context.storageDriver, context.inodes);
    if (record.logPath !== '') await mkdir(dirname(record.logPath), { recursive: true, mode: 0o755 });
    await context.engine.create({
      id,
      spec: record.spec,
      rootfs: rootfsOf(files, record.spec.linux?.uidMappings !== undefined),
      runtimePath,
      logPath: record.logPath === '' ? undefined : record.logPath,
      stdin: config.stdin,
      stdinOnce: config.stdinOnce,
      annotations: config.annotations,
    });
    const { spec: _spec, ...stored } = record;
    await context.containers.put({ ...stored, ...(volumeLayers.length > 0 && { volumeLayers }) });
  } catch (error) {
    if (context.engine.status(id) !== undefined) await context.engine.delete(id, { force: true });
    await context.containers.remove(id);
    await releaseLayers(context, layers);
    throw error;
  }
  publishEvent(context, 'CONTAINER_CREATED_EVENT', id, sandbox.id);
  return id;
}

/** Name and attempt are unique within a sandbox (CRI ContainerMetadata). */
function requireFreeName(context: RuntimeContext, sandboxId: string, { metadata }: ContainerConfig): void {
  const holder = context.containers
    .list()
    .find(
      (record) =>
        record.sandboxId === sandboxId &&
        record.config.metadata?.name === metadata?.name &&
        record.config.metadata?.attempt === metadata?.attempt,
    );
  if (holder === undefined) return;
  const name = `container "${metadata?.name}", attempt ${metadata?.attempt}`;
  throw new TkadmError('CRI_EXISTS', `Cannot create ${name}: it exists as "${holder.id}"`);
}

/** A kernel without SELinux gives labels no meaning, so they are left away, as by other runtimes. */
function warnOfLabels(
  context: RuntimeContext,
  id: string,
  security: LinuxContainerSecurityContext | undefined,
): void {
  if (security?.selinuxOptions === undefined) return;
  context.log.warn('SELinux label has no effect: this kernel has no SELinux', { id });
}

interface CreateOptions {
  readonly id: string;
  readonly sandbox: SandboxRecord;
  readonly config: ContainerConfig;
  readonly sandboxConfig: PodSandboxConfig;
  readonly image: ImageRecord;
}

async function planContainer(context: RuntimeContext, options: CreateOptions) {
  const { id, sandbox, config, sandboxConfig, image } = options;
  const security = config.linux?.securityContext;
  const handler = findHandler(context.handlers, sandbox.runtimeHandler);
  checkContainer({ container: config, config: sandbox.config, kernel: context.kernel, handler });
  warnOfLabels(context, id, config.linux?.securityContext);
  const lowerDirs = context.images.lowerDirs(image);
  const imageConfig = context.images.config(image).config ?? {};
  const sandboxPid = context.engine.status(sandbox.id)?.pid;
  if (!isSandboxReady(context, sandbox) || sandboxPid === undefined) {
    throw new TkadmError('CRI_STATE', `Cannot create container: sandbox "${sandbox.id}" is not ready`);
  }
  const isPrivileged = security?.privileged ?? false;
  const userNamespace = readUserNamespace(sandbox.config.linux?.securityContext?.namespaceOptions);
  const capabilities = buildCapabilities(security?.capabilities, isPrivileged, context.capabilities);
  const [accounts, volumes, asked, host, seccomp, cdi] = await Promise.all([
    readAccounts(lowerDirs),
    resolveVolumes(context, id, { mounts: config.mounts, userNamespace }),
    resolveDevices(config.devices),
    isPrivileged ? listHostDevices() : [],
    resolveSeccomp({
      profile: security?.seccomp ?? parseProfilePath(security?.seccompProfilePath ?? ''),
      isPrivileged,
      capabilities: capabilities.bounding ?? [],
    }),
    resolveCdi(
      config.cdiDevices.map(({ name }) => name),
      context.cdiDirs,
    ),
  ]);
  const built = buildContainerSpec({
    id,
    config,
    image: imageConfig,
    user: resolveUser(accounts, security, imageConfig.User ?? ''),
    sandboxPid,
    userNamespace,
    minOomScore: minOomScore(context, handler),
    targetPid: targetPid(context, sandbox.id, config),
    hostname: sandboxConfig.hostname || hostname(),
    cgroupParent: sandboxConfig.linux?.cgroupParent ?? '',
    sandboxFiles: sandboxFiles(context, sandbox, config),
    volumes,
    devices: [...host, ...asked.devices],
    deviceRules: asked.rules,
    capabilities,
    seccomp,
  });
  const spec = await applyCdiEdits(built, cdi);
  const { logDirectory } = sandboxConfig;
  return {
    id,
    sandboxId: sandbox.id,
    config,
    imageId: image.id,
    ...imageNames(image, config.image),
    createdAt: String(toNanos(context.now())),
    logPath: logDirectory === '' || config.logPath === '' ? '' : join(logDirectory, config.logPath),
    process: spec.process!,
    stopSignal: stopSignal(config, imageConfig.StopSignal),
    lowerDirs,
    spec,
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

function targetPid(context: RuntimeContext, sandboxId: string, config: ContainerConfig): number | undefined {
  const options = config.linux?.securityContext?.namespaceOptions;
  if (options?.pid !== 'TARGET') return undefined;
  const target = getContainer(context, options.targetId);
  if (target.sandboxId !== sandboxId) {
    throw new TkadmError(
      'CRI_INVALID',
      `Cannot join the pid namespace of container "${target.id}": it is of another sandbox`,
    );
  }
  const pid = context.engine.status(target.id)?.pid;
  if (pid === undefined) {
    throw new TkadmError(
      'CRI_STATE',
      `Cannot join the pid namespace of container "${target.id}": it has ended`,
    );
  }
  return pid;
}

function sandboxFiles(
  context: RuntimeContext,
  sandbox: SandboxRecord,
  config: ContainerConfig,
): readonly OciMount[] {
  const directory = context.sandboxes.directory(sandbox.id);
  const security = config.linux?.securityContext;
  const access = security?.readonlyRootfs ? 'ro' : 'rw';
  const bind = (name: string) => ({
    destination: `/etc/${name}`,
    type: 'bind',
    source: join(directory, name),
    options: ['rbind', 'rprivate', access],
  });
  const isHostIpc = security?.namespaceOptions?.ipc === 'NODE';
  return [
    {
      destination: '/dev/shm',
      type: 'bind',
      source: isHostIpc ? '/dev/shm' : join(directory, 'shm'),
      options: ['rbind', 'rprivate', 'rw'],
    },
    bind('hostname'),
    bind('hosts'),
    bind('resolv.conf'),
  ];
}

/** The container's own, else the image's, "SIGTERM", "TERM" or "15"; unknown names count as not given. */
function stopSignal(config: ContainerConfig, imageSignal: string | undefined): Signal {
  if (config.stopSignal !== 'RUNTIME_DEFAULT') return config.stopSignal;
  const text = (imageSignal ?? '').toUpperCase().replace('+', 'PLUS').replace('RTMAX-', 'RTMAXMINUS');
  const name = SIGNAL_NUMBERS[text] ?? (text.startsWith('SIG') ? text : `SIG${text}`);
  return (Signal.names as readonly string[]).includes(name) ? (name as Signal) : 'RUNTIME_DEFAULT';
}

const SIGNAL_NUMBERS: Readonly<Record<string, string>> = {
  '1': 'SIGHUP',
  '2': 'SIGINT',
  '3': 'SIGQUIT',
  '9': 'SIGKILL',
  '10': 'SIGUSR1',
  '12': 'SIGUSR2',
  '15': 'SIGTERM',
  '28': 'SIGWINCH',
};

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
