import { statSync } from 'node:fs';
import { release } from 'node:os';
import { TkadmError } from '../base/errors.ts';
import { buildCapabilities } from '../container/capability-sets.ts';
import { buildDefaultSpec } from '../container/defaults.ts';
import { listHostDevices, resolveDevices } from '../container/host-devices.ts';
import type { OciMount, OciResources, OciSpec } from '../container/oci-spec.ts';
import { buildDefaultSeccomp } from '../container/seccomp/default-profile.ts';
import type { OciSeccomp } from '../container/seccomp/oci-seccomp.ts';
import { parseSeccompProfile } from '../container/seccomp/profile-file.ts';
import { type CtrContext, containerPaths, engineId, getContainer } from './ctr-context.ts';
import { buildProcess } from './ctr-process.ts';
import type { CtrMount, CtrOptions, CtrRecord, ResourceWish } from './ctr-record.ts';
import { injectedMounts } from './injected-files.ts';

const DEFAULT_SHM_BYTES = 64 * 1024 * 1024;

/** The OCI runtime-spec of a container's next run. @throws CTR_STATE when a container that it joins does not run. */
export async function buildCtrSpec(context: CtrContext, record: CtrRecord): Promise<OciSpec> {
  const { options, config } = record;
  const { isPrivileged } = options;
  const capabilities = buildCapabilities(
    { addCapabilities: options.capAdd, dropCapabilities: options.capDrop },
    isPrivileged,
    context.capabilities,
  );
  const [process_, asked, host] = await Promise.all([
    buildProcess(context, record, capabilities),
    resolveDevices(options.devices),
    isPrivileged ? listHostDevices() : [],
  ]);
  const base = buildDefaultSpec({ args: config.args, cgroupsPath: `${context.cgroupParent}/${record.id}` });
  const { maskedPaths, readonlyPaths, ...linux } = base.linux!;
  return {
    ...base,
    process: process_,
    root: { path: 'rootfs', readonly: options.isReadonly },
    ...(options.utsMode !== 'host' && { hostname: config.hostname }),
    ...(options.domainname && options.utsMode !== 'host' && { domainname: options.domainname }),
    mounts: buildMounts(context, record, base.mounts ?? []),
    linux: {
      ...linux,
      namespaces: buildNamespaces(context, record),
      resources: {
        ...buildResources(options.resources),
        devices: isPrivileged
          ? [{ allow: true, access: 'rwm' }]
          : [{ allow: false, access: 'rwm' }, ...asked.rules],
      },
      devices: [...host, ...asked.devices],
      ...(!isPrivileged && !options.hasOpenPaths && { maskedPaths, readonlyPaths }),
      ...(Object.keys(options.sysctls).length > 0 && { sysctl: options.sysctls }),
      ...buildSeccomp(context, options, capabilities.bounding ?? []),
    },
  };
}

type Namespaces = NonNullable<NonNullable<OciSpec['linux']>['namespaces']>;

function buildNamespaces(context: CtrContext, record: CtrRecord): Namespaces {
  const { options, networkMode } = record;
  const joined = (mode: string | undefined, kind: string) =>
    mode?.startsWith('container:') ? `/proc/${joinedPid(context, mode)}/ns/${kind}` : undefined;
  const rows = [
    { type: 'network', mode: networkMode, path: joined(networkMode, 'net') },
    { type: 'pid', mode: options.pidMode, path: joined(options.pidMode, 'pid') },
    { type: 'ipc', mode: options.ipcMode, path: joined(options.ipcMode, 'ipc') },
    { type: 'uts', mode: options.utsMode, path: undefined },
    { type: 'cgroup', mode: options.isPrivileged ? 'host' : undefined, path: undefined },
  ] as const;
  const namespaces = rows
    .filter(({ mode }) => mode !== 'host')
    .map(({ type, path }) => (path === undefined ? { type } : { type, path }));
  return [{ type: 'mount' }, ...namespaces];
}

/** Host pid of the container that a mode names. @throws CTR_STATE */
function joinedPid(context: CtrContext, mode: string): number {
  const record = getContainer(context, mode.slice('container:'.length));
  const pid = context.engine.status(engineId(record.id))?.pid;
  if (pid !== undefined && record.state.pid === pid) return pid;
  throw new TkadmError('CTR_STATE', `Cannot join container "${record.name}": it is not running`, {
    hint: `tkadm ctr start ${record.name}`,
  });
}

function buildMounts(
  context: CtrContext,
  record: CtrRecord,
  defaults: readonly OciMount[],
): readonly OciMount[] {
  const { options, networkMode } = record;
  const owner = networkMode.startsWith('container:')
    ? getContainer(context, networkMode.slice('container:'.length)).id
    : record.id;
  const system = defaults
    .filter(({ destination }) => destination !== '/dev/shm' || options.ipcMode !== 'none')
    .map((mount) => (mount.destination === '/dev/shm' ? sharedMemory(context, record, mount) : mount))
    .map((mount) =>
      options.isPrivileged
        ? { ...mount, options: (mount.options ?? []).map((option) => (option === 'ro' ? 'rw' : option)) }
        : mount,
    );
  const own = record.mounts.map(toOciMount);
  const taken = new Set(own.map(({ destination }) => destination));
  const depth = ({ destination }: OciMount) => destination.split('/').length;
  const others = [...system, ...injectedMounts(context, owner)].filter(
    ({ destination }) => !taken.has(destination),
  );
  return [...others, ...own.toSorted((a, b) => depth(a) - depth(b))];
}

function sharedMemory(context: CtrContext, record: CtrRecord, mount: OciMount): OciMount {
  const mode = record.options.ipcMode ?? 'private';
  const bind = (source: string) => ({
    destination: mount.destination,
    type: 'bind',
    source,
    options: ['rbind', 'rprivate', 'rw'],
  });
  if (mode === 'host') return bind('/dev/shm');
  if (mode === 'shareable') return bind(containerPaths(context, record.id).shm);
  if (mode.startsWith('container:')) {
    const other = getContainer(context, mode.slice('container:'.length));
    return bind(containerPaths(context, other.id).shm);
  }
  const size = `size=${record.options.shmSizeBytes ?? DEFAULT_SHM_BYTES}`;
  const options = (mount.options ?? []).filter((option) => !option.startsWith('size='));
  return { ...mount, options: [...options, size] };
}

/** The size of the shared memory of a container, as an option of tmpfs. */
export function shmData(options: CtrOptions): string {
  return `mode=1777,size=${options.shmSizeBytes ?? DEFAULT_SHM_BYTES}`;
}

function toOciMount({ type, source, target, isReadonly, propagation, options }: CtrMount): OciMount {
  const access = isReadonly ? 'ro' : 'rw';
  if (type === 'tmpfs') {
    const defaults = ['nosuid', 'nodev', 'noexec'];
    return {
      destination: target,
      type: 'tmpfs',
      source: 'tmpfs',
      options: [...defaults, ...options, access],
    };
  }
  return { destination: target, type: 'bind', source, options: ['rbind', propagation, access] };
}

/** Limits in the runtime-spec's form. */
export function buildResources(wish: ResourceWish): OciResources {
  const cpu = {
    ...(wish.cpuShares !== undefined && { shares: wish.cpuShares }),
    ...(wish.cpuQuotaUs !== undefined && { quota: wish.cpuQuotaUs }),
    ...(wish.cpuPeriodUs !== undefined && { period: wish.cpuPeriodUs }),
    ...(wish.cpusetCpus !== undefined && { cpus: wish.cpusetCpus }),
    ...(wish.cpusetMems !== undefined && { mems: wish.cpusetMems }),
  };
  const memory = {
    ...(wish.memoryBytes !== undefined && { limit: wish.memoryBytes }),
    ...(wish.memorySwapBytes !== undefined && { swap: wish.memorySwapBytes }),
    ...(wish.memoryReservationBytes !== undefined && { reservation: wish.memoryReservationBytes }),
  };
  return {
    ...(Object.keys(cpu).length > 0 && { cpu }),
    ...(Object.keys(memory).length > 0 && { memory }),
    ...(wish.pidsLimit !== undefined && { pids: { limit: wish.pidsLimit } }),
  };
}

function buildSeccomp(
  { architecture }: CtrContext,
  { seccomp, isPrivileged }: CtrOptions,
  capabilities: readonly string[],
): { readonly seccomp?: OciSeccomp } {
  if (isPrivileged || seccomp === 'unconfined') return {};
  if (seccomp === undefined) return { seccomp: buildDefaultSeccomp(capabilities) };
  const host = { architecture, capabilities, kernelRelease: release() };
  return { seccomp: parseSeccompProfile(seccomp.path, seccomp.text, host) };
}

/** True for a directory of the host; what is not there counts as a file. */
export function isDirectory(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false;
}
