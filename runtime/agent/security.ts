import type * as core from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../base/errors.ts';
import type { InitOf } from '../base/protobuf.ts';
import { DEFAULT_MASKED_PATHS, DEFAULT_READONLY_PATHS } from '../container/defaults.ts';
import type {
  LinuxContainerSecurityContext,
  NamespaceOption,
  SecurityProfile,
} from '../cri/messages/linux.ts';
import type { LinuxSandboxSecurityContext } from '../cri/messages/sandbox.ts';
import type { AgentPod, Container } from './pod.ts';
import { buildUserNamespace, type IdRange } from './user-namespaces.ts';

/** Where Localhost seccomp profiles lie, below the root directory. */
const SECCOMP_DIR = 'seccomp';

/** Which namespaces a pod's containers share, by hostNetwork, hostPID, hostIPC and shareProcessNamespace. */
function buildNamespaces(pod: AgentPod, idRange: IdRange | undefined): InitOf<typeof NamespaceOption> {
  const { hostNetwork, hostPID, hostIPC, shareProcessNamespace } = pod.spec;
  return {
    network: hostNetwork ? 'NODE' : 'POD',
    pid: hostPID ? 'NODE' : shareProcessNamespace ? 'POD' : 'CONTAINER',
    ipc: hostIPC ? 'NODE' : 'POD',
    usernsOptions: buildUserNamespace(idRange),
  };
}

/** Security of the sandbox; `idRange` are the ids of a pod with a user namespace. */
export function buildSandboxSecurity(
  pod: AgentPod,
  idRange: IdRange | undefined,
): InitOf<typeof LinuxSandboxSecurityContext> {
  const context = pod.spec.securityContext ?? {};
  const containers = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  return {
    namespaceOptions: buildNamespaces(pod, idRange),
    privileged: containers.some((container) => container.securityContext?.privileged),
    ...(context.runAsUser === undefined ? {} : { runAsUser: { value: context.runAsUser } }),
    // CRI has no group without a user.
    ...(context.runAsUser === undefined || context.runAsGroup === undefined
      ? {}
      : { runAsGroup: { value: context.runAsGroup } }),
    supplementalGroups: buildGroups(context),
    ...readGroupsPolicy(context),
    seccomp: { profileType: 'RuntimeDefault' },
  };
}

export interface ImageUser {
  readonly uid: number | undefined;
  readonly username: string;
}

export interface ContainerSecurityOptions {
  readonly pod: AgentPod;
  readonly container: Container;
  readonly imageUser: ImageUser;
  /** "/var/lib/kubelet" */
  readonly rootDir: string;
  /** Containers that name no seccomp profile get the runtime's. */
  readonly isSeccompDefault: boolean;
  readonly idRange?: IdRange | undefined;
}

/**
 * Security of a container: its own settings over the pod's.
 * @throws AGENT_CONTAINER_CONFIG when runAsNonRoot does not hold or a profile is of no known kind.
 */
export function buildContainerSecurity(
  options: ContainerSecurityOptions,
): InitOf<typeof LinuxContainerSecurityContext> {
  const { pod, container } = options;
  const own = container.securityContext ?? {};
  const shared = pod.spec.securityContext ?? {};
  const runAsUser = own.runAsUser ?? shared.runAsUser;
  const runAsGroup = own.runAsGroup ?? shared.runAsGroup;
  if (own.runAsNonRoot ?? shared.runAsNonRoot) verifyNonRoot(options, runAsUser);
  const isPrivileged = own.privileged ?? false;
  const isUnmasked = own.procMount === 'Unmasked' || isPrivileged;
  const selinux = own.seLinuxOptions ?? shared.seLinuxOptions;
  const apparmor = readAppArmor(options);
  return {
    privileged: isPrivileged,
    namespaceOptions: buildNamespaces(pod, options.idRange),
    capabilities: {
      addCapabilities: own.capabilities?.add ?? [],
      dropCapabilities: own.capabilities?.drop ?? [],
    },
    ...chooseUser(runAsUser, runAsGroup, options.imageUser),
    readonlyRootfs: own.readOnlyRootFilesystem ?? false,
    noNewPrivs: own.allowPrivilegeEscalation === false,
    supplementalGroups: buildGroups(shared),
    ...readGroupsPolicy(shared),
    maskedPaths: isUnmasked ? [] : DEFAULT_MASKED_PATHS,
    readonlyPaths: isUnmasked ? [] : DEFAULT_READONLY_PATHS,
    seccomp: buildSeccomp(own.seccompProfile ?? shared.seccompProfile, options),
    ...(apparmor ? { apparmor } : {}),
    ...(selinux ? { selinuxOptions: selinux } : {}),
  };
}

/** The user as asked for; the image's when a group alone is asked for, as CRI takes none without a user. */
function chooseUser(
  runAsUser: number | undefined,
  runAsGroup: number | undefined,
  { uid, username }: ImageUser,
): InitOf<typeof LinuxContainerSecurityContext> {
  if (runAsGroup === undefined) return runAsUser === undefined ? {} : { runAsUser: { value: runAsUser } };
  const group = { runAsGroup: { value: runAsGroup } };
  if (runAsUser === undefined && username !== '') return { ...group, runAsUsername: username };
  return { ...group, runAsUser: { value: runAsUser ?? uid ?? 0 } };
}

function readGroupsPolicy(context: core.PodSecurityContext): {
  readonly supplementalGroupsPolicy?: 'Merge' | 'Strict';
} {
  const { supplementalGroupsPolicy } = context as { readonly supplementalGroupsPolicy?: 'Merge' | 'Strict' };
  return supplementalGroupsPolicy === undefined ? {} : { supplementalGroupsPolicy };
}

function buildGroups(context: core.PodSecurityContext): number[] {
  const groups = context.fsGroup === undefined ? [] : [context.fsGroup];
  return [...groups, ...(context.supplementalGroups ?? [])];
}

function buildSeccomp(
  asked: core.SeccompProfile | undefined,
  { rootDir, isSeccompDefault }: Pick<ContainerSecurityOptions, 'rootDir' | 'isSeccompDefault'>,
): InitOf<typeof SecurityProfile> {
  const profile = asked ?? { type: isSeccompDefault ? 'RuntimeDefault' : 'Unconfined' };
  if (profile.type === 'Unconfined') return { profileType: 'Unconfined' };
  if (profile.type === 'RuntimeDefault') return { profileType: 'RuntimeDefault' };
  if (profile.type === 'Localhost' && profile.localhostProfile) {
    return {
      profileType: 'Localhost',
      localhostRef: `${rootDir}/${SECCOMP_DIR}/${profile.localhostProfile}`,
    };
  }
  throw invalid(`seccomp profile "${profile.type}" is not supported`);
}

function readAppArmor({
  pod,
  container,
}: ContainerSecurityOptions): InitOf<typeof SecurityProfile> | undefined {
  type Holder = { readonly appArmorProfile?: { readonly type: string; readonly localhostProfile?: string } };
  const profile =
    (container.securityContext as Holder | undefined)?.appArmorProfile ??
    (pod.spec.securityContext as Holder | undefined)?.appArmorProfile;
  if (!profile) return undefined;
  if (profile.type === 'RuntimeDefault' || profile.type === 'Unconfined')
    return { profileType: profile.type };
  return { profileType: 'Localhost', localhostRef: profile.localhostProfile ?? '' };
}

function verifyNonRoot(
  { imageUser, container }: ContainerSecurityOptions,
  runAsUser: number | undefined,
): void {
  if (runAsUser === 0) {
    throw invalid(`container's runAsUser breaks non-root policy (container: ${container.name})`);
  }
  if (runAsUser !== undefined) return;
  if (imageUser.uid === 0 || (imageUser.uid === undefined && imageUser.username === '')) {
    throw invalid('container has runAsNonRoot and image will run as root');
  }
  if (imageUser.uid === undefined) {
    throw invalid(
      `container has runAsNonRoot and image has non-numeric user (${imageUser.username}), cannot verify user is non-root`,
    );
  }
}

function invalid(message: string): TkadmError {
  return new TkadmError('AGENT_CONTAINER_CONFIG', message);
}
