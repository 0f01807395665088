import { mkdir, realpath } from 'node:fs/promises';
import { parseIp } from '../base/cidr.ts';
import { isSystemError, TkadmError } from '../base/errors.ts';
import { isCapability } from '../container/capability-sets.ts';
import { makeContainerFiles } from '../image/container-files.ts';
import { MergedTree } from '../image/merged-tree.ts';
import type { OciExecutionConfig } from '../image/oci-image.ts';
import { packFiles } from '../image/pack.ts';
import type { ImageRecord } from '../image/store.ts';
import { unpackLayer } from '../image/unpack.ts';
import { inventName } from './container-names.ts';
import {
  type CtrContext,
  containerFiles,
  containerPaths,
  getContainer,
  publishContainer,
} from './ctr-context.ts';
import {
  type CtrConfig,
  type CtrMount,
  type CtrOptions,
  type CtrRecord,
  type MountWish,
  NAME_PATTERN,
  type NetworkMode,
} from './ctr-record.ts';
import { isDirectory } from './ctr-spec.ts';
import { makeInitLayer, mountPointsOf } from './init-layer.ts';
import { defaultHostname } from './injected-files.ts';
import { parseSignal } from './signals.ts';
import { readTree } from './tree-files.ts';

/**
 * Makes a container: its record, its layers and its volumes. Nothing runs yet.
 * @throws CTR_NAME_TAKEN, CTR_REQUEST_INVALID, IMAGE_NOT_FOUND
 */
export async function createContainer(context: CtrContext, options: CtrOptions): Promise<CtrRecord> {
  const image = context.images.resolve(options.image);
  if (image === undefined) {
    throw new TkadmError(
      'IMAGE_NOT_FOUND',
      `Cannot create container: image "${options.image}" is not there`,
      {
        hint: `tkadm ctr pull ${options.image}`,
      },
    );
  }
  checkOptions(options);
  const id = context.newId();
  // Names are claimed one after the other.
  return context.locks.run('create', async () => {
    const name = chooseName(context, options.name);
    const paths = containerPaths(context, id);
    const lowerDirs = [paths.init, ...context.images.lowerDirs(image)];
    context.images.retain(paths.directory, lowerDirs.slice(1));
    try {
      const networkMode = resolveNetwork(context, options.network);
      const config = buildConfig(context, { id, options, networkMode, image });
      const modes = resolveModes(context, options);
      const mounts = await makeMounts(context, options, image);
      await makeFiles(context, { id, config, mounts, image });
      const record: CtrRecord = {
        id,
        name,
        createdAt: context.now().toISOString(),
        imageId: image.id,
        options: { ...options, ...modes, name },
        config,
        mounts,
        lowerDirs,
        networkMode,
        state: NEVER_RAN,
      };
      await makeContainerFiles(containerFiles(context, record), context.storageDriver, context.inodes);
      await context.records.put(record);
      publishContainer(context, record, 'create');
      return record;
    } catch (error) {
      await context.records.remove(id);
      await context.images.release(paths.directory);
      throw error;
    }
  });
}

const NEVER_RAN = {
  status: 'created',
  pid: 0,
  exitCode: 0,
  isOomKilled: false,
  error: '',
  startedAt: '',
  finishedAt: '',
  restartCount: 0,
  isStopped: false,
} as const satisfies CtrRecord['state'];

function refuse(message: string, hint?: string): TkadmError {
  return new TkadmError('CTR_REQUEST_INVALID', `Cannot create container: ${message}`, hint ? { hint } : {});
}

/** @throws CTR_REQUEST_INVALID for options that exclude each other or make no sense. */
function checkOptions(options: CtrOptions): void {
  const { network, hostname, ports, restart, isAutoRemoved, extraHosts, utsMode } = options;
  const joins = network.startsWith('container:');
  if (isAutoRemoved && restart.name !== 'no') throw refuse('--rm and --restart exclude each other');
  if (joins && hostname !== undefined) throw refuse('--hostname and --network container: exclude each other');
  if (utsMode === 'host' && hostname !== undefined)
    throw refuse('--hostname and --uts host exclude each other');
  if (ports.length > 0 && network !== 'bridge')
    throw refuse(`--publish needs --network bridge, not "${network}"`);
  if (joins && extraHosts.length > 0) throw refuse('--add-host and --network container: exclude each other');
  for (const { target } of options.mounts) {
    if (!target.startsWith('/') || target === '/')
      throw refuse(`a mount at "${target}", which is no path below "/"`);
  }
  if (options.workingDir !== undefined && !options.workingDir.startsWith('/')) {
    throw refuse(`the working directory "${options.workingDir}" is not absolute`);
  }
  for (const name of [...options.capAdd, ...options.capDrop]) {
    if (!isCapability(name)) throw refuse(`there is no capability "${name}"`);
  }
  for (const address of options.dns) {
    if (parseIp(address) === undefined) throw refuse(`--dns "${address}" is no address`);
  }
}

function chooseName(context: CtrContext, wanted: string | undefined): string {
  const taken = (name: string) => context.records.list().find((record) => record.name === name);
  if (wanted === undefined) return inventName((name) => taken(name) !== undefined);
  checkName(context, wanted);
  return wanted;
}

/** @throws CTR_NAME_TAKEN, CTR_REQUEST_INVALID */
export function checkName(context: Pick<CtrContext, 'records'>, name: string): void {
  if (!NAME_PATTERN.test(name)) {
    throw new TkadmError(
      'CTR_REQUEST_INVALID',
      `Cannot use name "${name}": a name has letters, digits, "_", "." and "-", two at least`,
    );
  }
  const other = context.records.list().find((record) => record.name === name);
  if (other === undefined) return;
  throw new TkadmError(
    'CTR_NAME_TAKEN',
    `Cannot use name "${name}": container ${other.id.slice(0, 12)} has it`,
    { hint: `tkadm ctr rm ${name}` },
  );
}

/** Names of containers become ids, which stay when a name changes. @throws CTR_REQUEST_INVALID, CTR_NOT_FOUND */
function resolveNetwork(context: CtrContext, network: string): NetworkMode {
  if (network === 'none' || network === 'host' || network === 'bridge') return network;
  if (network.startsWith('container:')) {
    return `container:${getContainer(context, network.slice('container:'.length)).id}`;
  }
  throw refuse(`there is no network "${network}"`, '--network none, host, bridge or container:NAME');
}

function resolveModes(context: CtrContext, options: CtrOptions): Partial<CtrOptions> {
  const resolve = (flag: string, mode: string | undefined, known: readonly string[]) => {
    if (mode === undefined || known.includes(mode)) return mode;
    const name = /^container:(.+)$/.exec(mode)?.[1];
    if (name === undefined || flag === '--uts') throw refuse(`${flag} "${mode}" is not supported`);
    const target = getContainer(context, name);
    if (flag === '--ipc' && target.options.ipcMode !== 'shareable') {
      throw refuse(
        `container "${target.name}" does not share its ipc namespace`,
        'Start it with --ipc shareable',
      );
    }
    return `container:${target.id}`;
  };
  const pidMode = resolve('--pid', options.pidMode, ['host']);
  const ipcMode = resolve('--ipc', options.ipcMode, ['private', 'shareable', 'none', 'host']);
  const utsMode = resolve('--uts', options.utsMode, ['host']);
  return { ...(pidMode && { pidMode }), ...(ipcMode && { ipcMode }), ...(utsMode && { utsMode }) };
}

interface ConfigInput {
  readonly id: string;
  readonly options: CtrOptions;
  readonly networkMode: NetworkMode;
  readonly image: ImageRecord;
}

/** What runs: an entrypoint of one's own drops the image's Cmd. @throws CTR_REQUEST_INVALID without a command */
function buildConfig(context: CtrContext, { id, options, networkMode, image }: ConfigInput): CtrConfig {
  const own: OciExecutionConfig = context.images.config(image).config ?? {};
  const entrypoint = options.entrypoint ?? own.Entrypoint ?? [];
  const isImageCmd = options.command.length === 0 && options.entrypoint === undefined;
  const command = isImageCmd ? (own.Cmd ?? []) : options.command;
  const args = [...entrypoint, ...command];
  if (args.length === 0) throw refuse(`neither it nor image "${options.image}" has a command`);
  const joined = networkMode.startsWith('container:')
    ? getContainer(context, networkMode.slice('container:'.length)).config.hostname
    : undefined;
  return {
    args,
    entrypoint,
    command,
    env: mergeEnv(own.Env ?? [], options.env),
    user: options.user ?? own.User ?? '',
    workingDir: options.workingDir ?? own.WorkingDir ?? '',
    hostname: joined ?? options.hostname ?? defaultHostname(id, networkMode),
    labels: { ...own.Labels, ...options.labels },
    exposedPorts: [...new Set([...Object.keys(own.ExposedPorts ?? {}), ...options.exposedPorts])],
    stopSignal: String(parseSignal(options.stopSignal ?? (own.StopSignal || 'SIGTERM'))),
  };
}

/** "NAME" alone, which was not set where the command ran, takes the image's variable away. */
function mergeEnv(image: readonly string[], given: readonly string[]): readonly string[] {
  const env = new Map(image.map((entry) => [entry.split('=', 1)[0] ?? '', entry]));
  for (const entry of given) {
    if (entry.includes('=')) env.set(entry.split('=', 1)[0] ?? '', entry);
    else env.delete(entry);
  }
  return [...env.values()];
}

async function makeMounts(
  context: CtrContext,
  options: CtrOptions,
  image: ImageRecord,
): Promise<readonly CtrMount[]> {
  const own = new Set(options.mounts.map(({ target }) => target));
  if (own.size < options.mounts.length) throw refuse('two mounts have the same target');
  const ofOthers = mountsOfOthers(context, options, own);
  const given = new Set([...own, ...ofOthers.map(({ target }) => target)]);
  const ofImage = Object.keys(context.images.config(image).config?.Volumes ?? {})
    .filter((target) => !given.has(target))
    .map((target): MountWish => ({ type: 'volume', source: '', target, isReadonly: false }));
  const mounts: CtrMount[] = [...ofOthers];
  for (const wish of [...options.mounts, ...ofImage]) mounts.push(await makeMount(context, wish, image));
  return mounts;
}

/** The volumes and binds of `--volumes-from`; one's own mounts go before them. @throws CTR_NOT_FOUND */
function mountsOfOthers(
  context: CtrContext,
  { volumesFrom = [] }: CtrOptions,
  own: ReadonlySet<string>,
): readonly CtrMount[] {
  const found = new Map<string, CtrMount>();
  for (const { container, isReadonly } of volumesFrom) {
    for (const mount of getContainer(context, container).mounts) {
      if (mount.type === 'tmpfs' || own.has(mount.target)) continue;
      found.set(mount.target, { ...mount, isReadonly: mount.isReadonly || isReadonly });
    }
  }
  return [...found.values()];
}

async function makeMount(context: CtrContext, wish: MountWish, image: ImageRecord): Promise<CtrMount> {
  const { type, target, isReadonly, propagation = 'rprivate', options = [] } = wish;
  const common = { type, target, isReadonly, propagation, options };
  if (type === 'tmpfs') return { ...common, source: '' };
  if (type === 'bind') return { ...common, source: await resolveSource(wish) };
  const { volume, isNew } = await context.volumes.ensure(wish.source === '' ? undefined : wish.source);
  const source = context.volumes.path(volume.id);
  if (isNew && !wish.hasNoCopy) await copyFromImage(context, { image, target, directory: source });
  return { ...common, name: volume.id, source };
}

async function resolveSource({ source, makesSource }: MountWish): Promise<string> {
  try {
    return await realpath(source);
  } catch (error) {
    if (!isSystemError(error, 'ENOENT')) throw error;
    if (!makesSource) throw refuse(`there is no "${source}" on this machine to be mounted`);
    await mkdir(source, { recursive: true, mode: 0o755 });
    return realpath(source);
  }
}

interface CopyUp {
  readonly image: ImageRecord;
  readonly target: string;
  readonly directory: string;
}

/** A new volume begins with the files that the image has in its place. */
async function copyFromImage(context: CtrContext, { image, target, directory }: CopyUp): Promise<void> {
  const { inodes, images } = context;
  const tree = new MergedTree(images.lowerDirs(image), inodes);
  const entry = await tree.lookup(target);
  if (!entry?.stats.isDirectory()) return;
  // As one of the tar's entries, so that the volume gets the directory's owner and mode.
  const files = readTree(tree, entry, '.', { keepsOwner: true });
  await unpackLayer(packFiles(files), directory, { inodes });
}

interface FilesInput {
  readonly id: string;
  readonly config: CtrConfig;
  readonly mounts: readonly CtrMount[];
  readonly image: ImageRecord;
}

/** The init layer, and the working directory in the container's own. */
async function makeFiles(context: CtrContext, { id, config, mounts, image }: FilesInput): Promise<void> {
  const paths = containerPaths(context, id);
  const tree = new MergedTree(context.images.lowerDirs(image), context.inodes);
  const points = [...mountPointsOf(mounts, isDirectory)];
  const { workingDir } = config;
  const isThere = workingDir === '' || (await tree.lookup(workingDir)) !== undefined;
  if (!isThere) points.push({ path: workingDir, isDirectory: true });
  await makeInitLayer(paths.init, tree, points);
}
