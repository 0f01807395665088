import { TkadmError } from '../base/errors.ts';
import { DEFAULT_MASKED_PATHS, DEFAULT_MOUNTS, DEFAULT_READONLY_PATHS } from '../container/defaults.ts';
import type { OciDevice, OciDeviceRule } from '../container/host-devices.ts';
import type { IdMappings } from '../container/id-mappings.ts';
import type { OciMount, OciProcess, OciSpec } from '../container/oci-spec.ts';
import type { OciSeccomp } from '../container/seccomp/oci-seccomp.ts';
import type { OciExecutionConfig } from '../image/oci-image.ts';
import type { ProcessUser } from '../image/process-user.ts';
import { readAppArmor } from './apparmor.ts';
import type { ContainerConfig } from './messages/container.ts';
import type { NamespaceOption } from './messages/linux.ts';
import { buildResources } from './resources.ts';

export const OCI_VERSION = '1.2.0';
const MIN_OOM_SCORE = -1000;
const DEFAULT_PATH = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** Everything that was found out for a container before its spec is built. */
export interface ContainerPlan {
  readonly id: string;
  readonly config: ContainerConfig;
  readonly image: OciExecutionConfig;
  readonly user: ProcessUser;
  /** Host pid of the sandbox's first process, whose namespaces are joined. */
  readonly sandboxPid: number;
  /** The pod's own user namespace. */
  readonly userNamespace?: IdMappings | undefined;
  /** The lowest oom_score_adj that can be given. */
  readonly minOomScore?: number;
  /** Host pid whose pid namespace is joined with NamespaceMode TARGET. */
  readonly targetPid?: number | undefined;
  readonly hostname: string;
  readonly cgroupParent: string;
  /** Files of the sandbox that containers see unless a volume takes the place. */
  readonly sandboxFiles: readonly OciMount[];
  /** The volumes, checked and resolved. */
  readonly volumes: readonly OciMount[];
  readonly devices: readonly OciDevice[];
  readonly deviceRules: readonly OciDeviceRule[];
  readonly capabilities: NonNullable<OciProcess['capabilities']>;
  readonly seccomp?: OciSeccomp | undefined;
}

/** The OCI runtime-spec of a container. @throws CRI_INVALID when there is no command. */
export function buildContainerSpec(plan: ContainerPlan): OciSpec {
  const { config } = plan;
  const security = config.linux?.securityContext;
  const isPrivileged = security?.privileged ?? false;
  const mounts = buildMounts(plan, isPrivileged);
  return {
    ociVersion: OCI_VERSION,
    process: buildProcess(plan),
    root: { path: 'rootfs', readonly: security?.readonlyRootfs ?? false },
    mounts,
    annotations: config.annotations,
    linux: {
      namespaces: buildNamespaces(plan, security?.namespaceOptions),
      ...plan.userNamespace,
      cgroupsPath: cgroupPath(plan.cgroupParent, plan.id),
      resources: {
        ...buildResources(config.linux?.resources),
        devices: isPrivileged
          ? [{ allow: true, access: 'rwm' }]
          : [{ allow: false, access: 'rwm' }, ...plan.deviceRules],
      },
      devices: plan.devices,
      ...(!isPrivileged && {
        maskedPaths: security === undefined ? DEFAULT_MASKED_PATHS : security.maskedPaths,
        readonlyPaths: security === undefined ? DEFAULT_READONLY_PATHS : security.readonlyPaths,
      }),
      rootfsPropagation: rootPropagation(mounts),
      ...(plan.seccomp && { seccomp: plan.seccomp }),
    },
  };
}

/** "/kubepods/burstable/podUID" + id; a parent is always given by the kubelet, crictl gives none. */
export function cgroupPath(parent: string, id: string): string {
  return `${parent === '' ? '/tkadm' : parent.replace(/\/+$/, '')}/${id}`;
}

/**
 * The command line: config's command and args over the image's entrypoint and cmd, as the table in the
 * Kubernetes documentation of `command` and `args` has it.
 * @throws CRI_INVALID when nothing is left.
 */
function buildArgs(config: ContainerConfig, image: OciExecutionConfig): readonly string[] {
  const command = config.command.length > 0 ? config.command : (image.Entrypoint ?? []);
  const isImageCmd = config.command.length === 0 && config.args.length === 0;
  const args = [...command, ...(isImageCmd ? (image.Cmd ?? []) : config.args)];
  if (args.length === 0) {
    throw new TkadmError('CRI_INVALID', `Cannot create container: neither it nor its image has a command`);
  }
  return args;
}

function buildProcess(plan: ContainerPlan): OciProcess {
  const { config, image, user } = plan;
  const security = config.linux?.securityContext;
  const oomScoreAdj = oomScore(plan);
  const apparmor = readAppArmor(security);
  return {
    terminal: config.tty,
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: buildArgs(config, image),
    env: buildEnv(plan),
    cwd: config.workingDir || image.WorkingDir || '/',
    capabilities: plan.capabilities,
    noNewPrivileges: security?.noNewPrivs ?? false,
    ...(typeof apparmor === 'object' && { apparmorProfile: apparmor.profile }),
    ...(oomScoreAdj !== 0 && { oomScoreAdj }),
  };
}

function oomScore({ config, minOomScore = MIN_OOM_SCORE }: ContainerPlan): number {
  return Math.max(minOomScore, config.linux?.resources?.oomScoreAdj ?? 0);
}

function buildEnv(plan: ContainerPlan): readonly string[] {
  const env = new Map<string, string>();
  const set = (entry: string) => env.set(entry.split('=', 1)[0] ?? '', entry);
  for (const entry of [DEFAULT_PATH, `HOSTNAME=${plan.hostname}`, `HOME=${plan.user.home}`]) set(entry);
  if (plan.config.tty) set('TERM=xterm');
  for (const entry of plan.image.Env ?? []) set(entry);
  for (const { key, value } of plan.config.envs) set(`${key}=${value}`);
  return [...env.values()];
}

type Namespaces = NonNullable<NonNullable<OciSpec['linux']>['namespaces']>;

function buildNamespaces(plan: ContainerPlan, options: NamespaceOption | undefined): Namespaces {
  const path = (pid: number, name: string) => `/proc/${pid}/ns/${name}`;
  const isHostNetwork = options?.network === 'NODE';
  const isPrivileged = plan.config.linux?.securityContext?.privileged ?? false;
  const namespaces: Namespaces[number][] = [{ type: 'mount' }];
  if (!isPrivileged) namespaces.push({ type: 'cgroup' });
  if (!isHostNetwork) {
    namespaces.push({ type: 'network', path: path(plan.sandboxPid, 'net') });
    namespaces.push({ type: 'uts', path: path(plan.sandboxPid, 'uts') });
  }
  if (options?.ipc !== 'NODE') namespaces.push({ type: 'ipc', path: path(plan.sandboxPid, 'ipc') });
  const pidMode = options?.pid ?? 'POD';
  if (pidMode === 'CONTAINER') namespaces.push({ type: 'pid' });
  if (pidMode === 'POD') namespaces.push({ type: 'pid', path: path(plan.sandboxPid, 'pid') });
  if (plan.userNamespace !== undefined) {
    namespaces.push({ type: 'user', path: path(plan.sandboxPid, 'user') });
  }
  if (pidMode === 'TARGET') namespaces.push({ type: 'pid', path: path(plan.targetPid ?? 0, 'pid') });
  return namespaces;
}

function buildMounts(plan: ContainerPlan, isPrivileged: boolean): readonly OciMount[] {
  // /dev/shm is the sandbox's, and comes with its files.
  const system = DEFAULT_MOUNTS.filter((mount) => mount.destination !== '/dev/shm').map((mount: OciMount) =>
    isPrivileged ? { ...mount, options: writable(mount.options ?? []) } : mount,
  );
  const taken = new Set(plan.volumes.map((mount) => mount.destination));
  const own = [...system, ...plan.sandboxFiles].filter((mount) => !taken.has(mount.destination));
  const depth = (mount: OciMount) => mount.destination.split('/').length;
  return [...own, ...plan.volumes.toSorted((a, b) => depth(a) - depth(b))];
}

/** The root must pass on what the volumes are to see: rshared before rslave before rprivate. */
function rootPropagation(mounts: readonly OciMount[]): string {
  const has = (name: string) => mounts.some((mount) => mount.options?.includes(name));
  if (has('rshared')) return 'rshared';
  return has('rslave') ? 'rslave' : 'rprivate';
}

function writable(options: readonly string[]): readonly string[] {
  return options.map((option) => (option === 'ro' ? 'rw' : option));
}
