import { randomBytes } from 'node:crypto';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { formatError } from '../base/errors.ts';
import { EventHub } from '../base/event-hub.ts';
import { KeyedLock } from '../base/keyed-lock.ts';
import type { Logger } from '../base/log.ts';
import { RecordStore } from '../base/record-store.ts';
import { CAPABILITIES } from '../container/capabilities.ts';
import { createContainerEngine } from '../container/create-engine.ts';
import { MNT_DETACH } from '../container/kernel-constants.ts';
import { loadLibc } from '../container/libc.ts';
import { buildPauseBinary, type PauseArchitecture } from '../container/pause.ts';
import { type CtrServiceOptions, createCtrService } from '../ctr/create-ctr-service.ts';
import { BuildCache } from '../image/build/cache.ts';
import { addPauseImage, PAUSE_IMAGE, registerBundle } from '../image/builtin-images.ts';
import type { StorageDriver } from '../image/container-files.ts';
import { loadInodes } from '../image/inodes.ts';
import { findOverlayProblem } from '../image/overlay-probe.ts';
import { createRegistryPuller } from '../image/pull.ts';
import { type ImageStore, openImageStore } from '../image/store.ts';
import { removeUnfinishedSteps } from './build-runner.ts';
import { CDI_DIRECTORIES } from './cdi.ts';
import { createCni } from './cni.ts';
import type { InProcessCniPlugin } from './cni-exec.ts';
import { followExits, recoverContainers } from './container-lifecycle.ts';
import { createContainerHandlers } from './container-service.ts';
import type { CriHandlers } from './handlers.ts';
import { createImageCalls } from './image-calls.ts';
import { createImageHandlers } from './image-service.ts';
import { serveImages } from './image-socket.ts';
import { createInfoHandlers } from './info-service.ts';
import { readKernelSecurity } from './kernel-security.ts';
import { createMetricsHandlers } from './metrics-service.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import type { ContainerEvent, Mounter, RuntimeContext } from './runtime-context.ts';
import { readHandlers } from './runtime-handlers.ts';
import { recoverSandboxes } from './sandbox-lifecycle.ts';
import { createSandboxHandlers } from './sandbox-service.ts';
import { serveCri } from './server.ts';
import { createStatsHandlers } from './stats-service.ts';
import { createStreamHandlers } from './stream-service.ts';
import { createNetnsDialer } from './streaming/netns-socket.ts';
import { StreamServer } from './streaming/stream-server.ts';

export interface RuntimeOptions {
  readonly socketPath: string;
  /** Images, sandboxes and containers, kept over a restart of the machine. */
  readonly root: string;
  /** The engine's state of running containers. */
  readonly stateDir: string;
  readonly cniConfDir: string;
  readonly cniBinDirs: readonly string[];
  readonly cniPlugins?: readonly InProcessCniPlugin[];
  /** Host address for exec, attach and port-forward; port 0 takes any. */
  readonly streamingAddress: string;
  /** The node bundle's directory; its images are registered when it is there. */
  readonly bundlePath: string;
  /** Node.js' name. */
  readonly architecture: PauseArchitecture;
  /** Unix socket for loading, pulling and building images; not served when undefined. */
  readonly imageSocketPath?: string;
  /** Below this cgroup the containers of image builds are; default "/tkadm". */
  readonly buildCgroupParent?: string;
  /** The containers of `tkadm ctr`; not served when undefined. */
  readonly ctr?: CtrRuntimeOptions;
  /** Cgroup of the containers' monitors on cgroup v2; they stay in the runtime's own when undefined. */
  readonly monitorCgroup?: string;
  /** How registries are reached; the usual file when undefined. */
  readonly registriesPath?: string;
  /** The usual ones when undefined. */
  readonly cdiDirs?: readonly string[];
  /** What the kernel offers when undefined. */
  readonly storageDriver?: StorageDriver | undefined;
  readonly now: () => Date;
  readonly log: Logger;
}

/** Where the containers of `tkadm ctr` are reached and kept. */
export type CtrRuntimeOptions = Pick<
  CtrServiceOptions,
  'socketPath' | 'root' | 'runDir' | 'bridgeName' | 'cgroupParent'
>;

/** GOARCH's names, as images use them. */
const IMAGE_ARCHITECTURES = { x64: 'amd64', arm64: 'arm64' } as const satisfies Record<
  PauseArchitecture,
  string
>;

export interface Runtime {
  readonly images: ImageStore;
  /** Stops serving; containers go on. */
  close(): Promise<void>;
}

/** Opens the runtime over its directories, finds what an earlier one left, and serves CRI. */
export async function createRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { root, log, now } = options;
  const abort = new AbortController();
  const mounter = createMounter();
  const imagesDir = join(root, 'images');
  const images = await openImageStore({ root: imagesDir, log: log.child('images') });
  const architecture = IMAGE_ARCHITECTURES[options.architecture];
  const puller = createRegistryPuller({
    store: images,
    architecture,
    ...(options.registriesPath === undefined ? {} : { registriesPath: options.registriesPath }),
  });
  await addBuiltinImages(images, options);
  const sandboxes = new RecordStore<SandboxRecord>(join(root, 'sandboxes'), 'sandbox.json');
  const containers = new RecordStore<ContainerRecord>(join(root, 'containers'), 'container.json');
  await sandboxes.load(log, async (directory) => tryUnmount(mounter, join(directory, 'shm')));
  await containers.load(log, async () => {});
  const engine = await createContainerEngine({
    stateDir: options.stateDir,
    monitorCgroup: options.monitorCgroup,
    log: log.child('engine'),
    now,
    signal: abort.signal,
  });
  const context: RuntimeContext = {
    engine,
    images,
    puller,
    cni: createCni({
      confDir: options.cniConfDir,
      binDirs: options.cniBinDirs,
      plugins: options.cniPlugins ?? [],
      log: log.child('cni'),
    }),
    sandboxes,
    containers,
    events: new EventHub<ContainerEvent>(),
    locks: new KeyedLock(),
    mounter,
    inodes: loadInodes(),
    storageDriver: chooseStorageDriver(imagesDir, options),
    kernel: await readKernelSecurity(),
    handlers: await readHandlers(),
    cdiDirs: options.cdiDirs ?? CDI_DIRECTORIES,
    capabilities: await readCapabilities(),
    newId: () => randomBytes(32).toString('hex'),
    now,
    log,
  };
  const following = followExits(context, abort.signal);
  following.catch((error: unknown) =>
    log.error('exits are no longer followed', { error: formatError(error) }),
  );
  await recoverContainers(context);
  await recoverSandboxes(context);
  await removeUnfinishedSteps(engine);
  const mountCacheDir = join(imagesDir, 'build-mounts');
  const buildCache = new BuildCache({
    directory: join(imagesDir, 'build-cache'),
    mountDirectory: mountCacheDir,
    store: images,
    now,
  });
  await buildCache.load();
  const ctr =
    options.ctr === undefined
      ? undefined
      : await createCtrService({ ...context, ...options.ctr, architecture, log: log.child('ctr') });
  await images.sweep();
  const streams = new StreamServer({
    address: options.streamingAddress,
    newToken: () => randomBytes(24).toString('base64url'),
    now,
    log: log.child('streams'),
  });
  await streams.listen();
  const server = await serveCri(options.socketPath, createHandlers(context, streams), log.child('cri'));
  const imageCalls = createImageCalls({
    store: images,
    puller,
    engine,
    imagesDir,
    architecture,
    buildCache,
    mountCacheDir,
    storageDriver: context.storageDriver,
    secretsDir: await emptyDirectory(`${options.stateDir}-secrets`),
    cgroupParent: options.buildCgroupParent ?? '/tkadm',
    now,
  });
  const imageServer =
    options.imageSocketPath === undefined
      ? undefined
      : await serveImages(options.imageSocketPath, imageCalls, log.child('images'));
  return {
    images,
    async close() {
      await ctr?.close();
      await imageServer?.close();
      await server.close();
      await streams.close();
      abort.abort();
      await engine.close();
    },
  };
}

function chooseStorageDriver(imagesDir: string, { storageDriver, log }: RuntimeOptions): StorageDriver {
  if (storageDriver !== undefined) return storageDriver;
  const reason = findOverlayProblem(join(imagesDir, 'tmp'));
  if (reason === undefined) return 'overlay';
  log.warn('no overlayfs: containers get a copy of their image', { path: imagesDir, reason });
  return 'copy';
}

/** A directory without what an earlier runtime left in it. */
async function emptyDirectory(path: string): Promise<string> {
  await rm(path, { recursive: true, force: true });
  return path;
}

function createHandlers(context: RuntimeContext, streams: StreamServer): CriHandlers {
  return {
    ...createInfoHandlers(context),
    ...createSandboxHandlers(context),
    ...createContainerHandlers(context),
    ...createImageHandlers(context),
    ...createStatsHandlers(context),
    ...createMetricsHandlers(context),
    ...createStreamHandlers(context, streams, createNetnsDialer()),
  };
}

async function addBuiltinImages(images: ImageStore, options: RuntimeOptions): Promise<void> {
  const architecture = IMAGE_ARCHITECTURES[options.architecture];
  if (images.resolve(PAUSE_IMAGE) === undefined) {
    await addPauseImage(images, buildPauseBinary(options.architecture), architecture);
  }
  const bundle = await registerBundle(images, options.bundlePath, architecture);
  if (bundle === undefined) options.log.info('no node bundle', { path: options.bundlePath });
}

function createMounter(): Mounter {
  const libc = loadLibc();
  return {
    mount: (source, target, type, flags, data) => libc.mount(source, target, type, flags, data),
    unmount: (target) => libc.umount(target, MNT_DETACH),
  };
}

function tryUnmount(mounter: Mounter, path: string): void {
  try {
    mounter.unmount(path);
  } catch {
    // It was not mounted.
  }
}

/** The names in this process's bounding set: a container cannot get more. */
async function readCapabilities(): Promise<readonly string[]> {
  const status = await readFile('/proc/self/status', 'utf8');
  const mask = BigInt(`0x${/^CapBnd:\s*([0-9a-f]+)$/m.exec(status)?.[1] ?? '0'}`);
  return CAPABILITIES.filter((_name, bit) => (mask & (1n << BigInt(bit))) !== 0n);
}
