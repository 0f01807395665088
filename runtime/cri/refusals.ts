import { type ErrorCode, TkadmError } from '../base/errors.ts';
import { readAppArmor } from './apparmor.ts';
import type { KernelSecurity } from './kernel-security.ts';
import type { ContainerConfig } from './messages/container.ts';
import type { PodSandboxConfig } from './messages/sandbox.ts';
import type { RuntimeHandler } from './runtime-handlers.ts';
import { areEqualMappings, readUserNamespace } from './user-namespaces.ts';

/** A wish that is not fulfilled: the field by its CRI name, and what is wrong with it. */
interface Refusal<T> {
  readonly field: string;
  readonly state: string;
  readonly code: Extract<ErrorCode, 'CRI_INVALID' | 'UNSUPPORTED'>;
  readonly isAsked: (subject: T) => boolean;
}

interface SandboxWish {
  readonly config: PodSandboxConfig;
  readonly kernel: KernelSecurity;
  readonly handler: RuntimeHandler;
}

interface ContainerWish extends SandboxWish {
  readonly container: ContainerConfig;
}

/** The node's pid namespace may be joined by a container of any sandbox. */
const NAMESPACES = ['network', 'ipc'] as const;
const MAX_PORT = 65_535;

const optionsOf = ({ config }: SandboxWish) => config.linux?.securityContext?.namespaceOptions;

const hasUserNamespace = (wish: SandboxWish) => readUserNamespace(optionsOf(wish)) !== undefined;

/** What RunPodSandbox refuses. */
const SANDBOX_REFUSALS: readonly Refusal<SandboxWish>[] = [
  ...NAMESPACES.map((name) => ({
    field: `namespace_options.${name}`,
    state: 'a namespace that is neither POD nor NODE is not supported',
    code: 'UNSUPPORTED' as const,
    isAsked: (wish: SandboxWish) => !['POD', 'NODE'].includes(optionsOf(wish)?.[name] ?? 'POD'),
  })),
  {
    field: 'namespace_options.userns_options',
    state: 'a user namespace that is neither POD nor NODE is not supported',
    code: 'UNSUPPORTED',
    isAsked: (wish) => ['CONTAINER', 'TARGET'].includes(optionsOf(wish)?.usernsOptions?.mode ?? 'POD'),
  },
  {
    field: 'namespace_options.userns_options',
    state: 'the runtime handler, or this kernel, has no user namespaces with mapped mounts',
    code: 'UNSUPPORTED',
    isAsked: (wish) => hasUserNamespace(wish) && !wish.handler.features.userNamespaces,
  },
  {
    field: 'namespace_options.userns_options',
    state: "it cannot be had with the node's network, pid or ipc namespace",
    code: 'UNSUPPORTED',
    isAsked: (wish) =>
      hasUserNamespace(wish) &&
      (['network', 'pid', 'ipc'] as const).some((name) => optionsOf(wish)?.[name] === 'NODE'),
  },
  {
    field: 'run_as_group',
    state: 'it needs run_as_user',
    code: 'CRI_INVALID',
    isAsked: ({ config }) => {
      const security = config.linux?.securityContext;
      return security?.runAsGroup !== undefined && security.runAsUser === undefined;
    },
  },
  {
    field: 'selinux_options',
    state: 'labels are not supported on a kernel with SELinux',
    code: 'UNSUPPORTED',
    isAsked: ({ config, kernel }) =>
      kernel.hasSelinux && config.linux?.securityContext?.selinuxOptions !== undefined,
  },
  {
    field: 'apparmor',
    state: 'profile "Localhost" is not supported',
    code: 'UNSUPPORTED',
    isAsked: ({ config }) => config.linux?.securityContext?.apparmor?.profileType === 'Localhost',
  },
  {
    field: 'port_mappings',
    state: 'a port is not between 1 and 65535',
    code: 'CRI_INVALID',
    isAsked: ({ config }) =>
      config.portMappings.some(({ hostPort, containerPort }) =>
        [hostPort, containerPort].some((port) => port < 0 || port > MAX_PORT),
      ),
  },
];

const securityOf = ({ container }: ContainerWish) => container.linux?.securityContext;
const appArmorOf = (wish: ContainerWish) => readAppArmor(securityOf(wish));

/** What CreateContainer refuses. */
const CONTAINER_REFUSALS: readonly Refusal<ContainerWish>[] = [
  {
    field: 'privileged',
    state: 'the sandbox is not privileged',
    code: 'CRI_INVALID',
    isAsked: (wish) =>
      (securityOf(wish)?.privileged ?? false) && !wish.config.linux?.securityContext?.privileged,
  },
  ...NAMESPACES.map((name) => ({
    field: `namespace_options.${name}`,
    state: "the sandbox does not have the node's",
    code: 'CRI_INVALID' as const,
    isAsked: (wish: ContainerWish) =>
      securityOf(wish)?.namespaceOptions?.[name] === 'NODE' && optionsOf(wish)?.[name] !== 'NODE',
  })),
  {
    field: 'namespace_options.userns_options',
    state: 'the sandbox has another user namespace',
    code: 'CRI_INVALID',
    isAsked: (wish) => {
      const own = readUserNamespace(securityOf(wish)?.namespaceOptions);
      return own !== undefined && !areEqualMappings(own, readUserNamespace(optionsOf(wish)));
    },
  },
  {
    field: 'mounts.recursive_read_only',
    state: 'the runtime handler cannot',
    code: 'UNSUPPORTED',
    isAsked: ({ container, handler }) =>
      !handler.features.recursiveReadOnlyMounts &&
      container.mounts.some(({ recursiveReadOnly }) => recursiveReadOnly),
  },
  {
    field: 'mounts.propagation',
    state: 'another runtime than our own mounts where the host does not see it',
    code: 'UNSUPPORTED',
    isAsked: ({ container, handler }) =>
      handler.runtimePath !== undefined &&
      container.mounts.some(({ propagation }) => propagation === 'PROPAGATION_BIDIRECTIONAL'),
  },
  {
    field: 'run_as_username',
    state: 'run_as_user is set as well',
    code: 'CRI_INVALID',
    isAsked: (wish) =>
      securityOf(wish)?.runAsUser !== undefined && (securityOf(wish)?.runAsUsername ?? '') !== '',
  },
  {
    field: 'apparmor',
    state: 'profile "Localhost" needs AppArmor, which this kernel does not have or has switched off',
    code: 'UNSUPPORTED',
    isAsked: (wish) => typeof appArmorOf(wish) === 'object' && !wish.kernel.hasAppArmor,
  },
  {
    field: 'apparmor',
    state: 'profile "Localhost" names no profile',
    code: 'CRI_INVALID',
    isAsked: (wish) => {
      const asked = appArmorOf(wish);
      return typeof asked === 'object' && asked.profile === '';
    },
  },
  {
    field: 'apparmor',
    state: 'profile "RuntimeDefault" is not there: this runtime has no profile of its own',
    code: 'UNSUPPORTED',
    isAsked: (wish) =>
      appArmorOf(wish) === 'runtime-default' && wish.kernel.hasAppArmor && !securityOf(wish)?.privileged,
  },
  {
    field: 'selinux_options',
    state: 'labels are not supported on a kernel with SELinux',
    code: 'UNSUPPORTED',
    isAsked: (wish) => wish.kernel.hasSelinux && securityOf(wish)?.selinuxOptions !== undefined,
  },
  {
    field: 'mounts.selinux_relabel',
    state: 'labels are not supported on a kernel with SELinux',
    code: 'UNSUPPORTED',
    isAsked: ({ kernel, container }) =>
      kernel.hasSelinux && container.mounts.some(({ selinuxRelabel }) => selinuxRelabel),
  },
];

/** @throws CRI_INVALID, UNSUPPORTED with the field's name. */
export function checkSandbox(wish: SandboxWish): void {
  const { name = '' } = wish.config.metadata ?? {};
  check(SANDBOX_REFUSALS, wish, `Cannot run sandbox "${name}"`);
}

/** @throws CRI_INVALID, UNSUPPORTED with the field's name. */
export function checkContainer(wish: ContainerWish): void {
  const { name = '' } = wish.container.metadata ?? {};
  check(CONTAINER_REFUSALS, wish, `Cannot create container "${name}"`);
}

function check<T>(refusals: readonly Refusal<T>[], wish: T, what: string): void {
  const refusal = refusals.find(({ isAsked }) => isAsked(wish));
  if (refusal === undefined) return;
  throw new TkadmError(refusal.code, `${what}: "${refusal.field}": ${refusal.state}`);
}
