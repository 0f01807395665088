import { hostname } from 'node:os';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { buildCapabilities } from '../container/capability-sets.ts';
import { listHostDevices, resolveDevices } from '../container/host-devices.ts';
import type { OciMount } from '../container/oci-spec.ts';
import { readAccounts, resolveUser } from '../image/process-user.ts';
import type { ImageRecord } from '../image/store.ts';
import { resolveCdi } from './cdi.ts';
import { applyCdiEdits } from './cdi-edits.ts';
import { buildContainerSpec } from './container-spec.ts';
import { imageNames } from './image-service.ts';
import type { ContainerConfig } from './messages/container.ts';
import type { LinuxContainerSecurityContext } from './messages/linux.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import { Signal } from './messages/signal.ts';
import { minOomScore } from './oom-score.ts';
import type { SandboxRecord } from './records.ts';
import { checkContainer } from './refusals.ts';
import { getContainer, type RuntimeContext, toNanos } from './runtime-context.ts';
import { findHandler } from './runtime-handlers.ts';
import { isSandboxReady } from './sandbox-status.ts';
import { parseProfilePath, resolveSeccomp } from './seccomp.ts';
import { readUserNamespace } from './user-namespaces.ts';
import { resolveVolumes } from './volumes.ts';

/** A kernel without SELinux gives labels no meaning, so they are left away, as by other runtimes. */
function warnOfLabels(
  context: RuntimeContext,
  id: string,
  security: LinuxContainerSecurityContext | undefined,
): void {
  if (security?.selinuxOptions === undefined) return;
  context.log.warn('SELinux label has no effect: this kernel has no SELinux', { id });
}

export interface CreateOptions {
  readonly id: string;
  readonly sandbox: SandboxRecord;
  readonly config: ContainerConfig;
  readonly sandboxConfig: PodSandboxConfig;
  readonly image: ImageRecord;
}

/**
 * The record of a container to be made, with its spec.
 * @throws CRI_STATE, CRI_INVALID, UNSUPPORTED and what its parts throw
 */
export async function planContainer(context: RuntimeContext, options: CreateOptions) {
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
