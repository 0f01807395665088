import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { createLogger, SILENT_LOGGER } from '../../runtime/base/log.ts';
import { type CriClient, createCriClient } from '../../runtime/cri/client.ts';
import { createRuntime, type Runtime, type RuntimeOptions } from '../../runtime/cri/create-runtime.ts';
import type { CriRequestInit } from '../../runtime/cri/rpcs.ts';
import { addSingleLayerImage } from '../../runtime/image/builtin-images.ts';
import type { ImageStore } from '../../runtime/image/store.ts';

const APPLETS = [
  'sh',
  'sleep',
  'cat',
  'echo',
  'true',
  'wc',
  'id',
  'ls',
  'hostname',
  'nc',
  'env',
  'mount',
  'ip',
  'wget',
  'seq',
  'stty',
  'dd',
  'head',
  'tty',
  'grep',
  'ps',
  'touch',
  'ipcs',
  'kill',
  'mkdir',
  'unshare',
];

export const skipReason: string | false =
  process.getuid?.() !== 0 ? 'needs root' : existsSync('/bin/busybox') ? false : 'needs busybox-static';

export interface CriFixture {
  readonly directory: string;
  readonly client: CriClient;
  readonly runtime: Runtime;
  /** Cgroup parent of this fixture's pods. */
  readonly cgroupParent: string;
  /** Closes the runtime and opens another one over the same files. */
  restart(): Promise<CriFixture>;
  /** Removes every sandbox, the runtime and all its files. */
  close(): Promise<void>;
}

/** A runtime with the real engine in a directory of its own, and an image "busybox". */
export async function openCriFixture(overrides: Partial<RuntimeOptions> = {}): Promise<CriFixture> {
  const directory = mkdtempSync('/tmp/tkadm-cri-');
  return open(directory, `/tkadm-cri-${randomBytes(4).toString('hex')}`, overrides);
}

async function open(
  directory: string,
  cgroupParent: string,
  overrides: Partial<RuntimeOptions>,
): Promise<CriFixture> {
  const socketPath = join(directory, 'cri.sock');
  const runtime = await createRuntime({
    socketPath,
    root: join(directory, 'root'),
    stateDir: join(directory, 'state'),
    cniConfDir: join(directory, 'net.d'),
    cniBinDirs: [join(directory, 'cni-bin')],
    streamingAddress: '127.0.0.1:0',
    bundlePath: join(directory, 'bundle'),
    architecture: process.arch === 'arm64' ? 'arm64' : 'x64',
    now: () => new Date(),
    log: process.env['TKADM_TEST_LOG']
      ? createLogger({
          name: 'cri',
          level: 'debug',
          write: (line) => process.stderr.write(line),
          now: () => new Date(),
        })
      : SILENT_LOGGER,
    ...overrides,
  });
  if (runtime.images.resolve('busybox') === undefined) await addBusybox(runtime.images, directory);
  const client = createCriClient(socketPath);
  return {
    directory,
    client,
    runtime,
    cgroupParent,
    async restart() {
      client.close();
      await runtime.close();
      return open(directory, cgroupParent, overrides);
    },
    async close() {
      for (const { id } of (await client.listPodSandbox({})).items) {
        await client.stopPodSandbox({ podSandboxId: id });
        await client.removePodSandbox({ podSandboxId: id });
      }
      client.close();
      await runtime.close();
      removeCgroups(cgroupParent);
      if (readFileSync('/proc/mounts', 'utf8').includes(directory)) {
        throw new Error(`mounts below ${directory} were left behind`);
      }
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** Puts the image "busybox" together below `directory` and adds it. */
export async function addBusybox(images: ImageStore, directory: string): Promise<void> {
  const source = join(directory, 'busybox');
  for (const path of ['bin', 'etc', 'tmp', 'dev', 'proc', 'sys', 'root'])
    mkdirSync(join(source, path), { recursive: true });
  execFileSync('cp', ['/bin/busybox', join(source, 'bin')]);
  for (const applet of APPLETS) symlinkSync('busybox', join(source, 'bin', applet));
  writeFileSync(
    join(source, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1001:web:/home/web:/bin/sh\n',
  );
  writeFileSync(join(source, 'etc/group'), 'root:x:0:\nweb:x:1001:\nextra:x:2000:web\n');
  const tar = execFileSync('tar', ['-C', source, '-cz', '.'], { maxBuffer: 1e9 });
  await addSingleLayerImage(images, tar, {
    architecture: 'amd64',
    names: ['busybox'],
    config: { Cmd: ['sh'], Env: ['FROM_IMAGE=yes', 'PATH=/bin'], User: 'web', WorkingDir: '/tmp' },
  });
}

/** Removes a cgroup parent, which must have no processes any more. */
export function removeCgroups(parent: string): void {
  execFileSync('sh', [
    '-c',
    `for d in /sys/fs/cgroup${parent} /sys/fs/cgroup/*${parent}; do [ -d "$d" ] && find "$d" -depth -type d -exec rmdir {} + ; done; true`,
  ]);
}

/** Runs a sandbox with the host's network: its id. */
export async function runHostPod(fixture: CriFixture, name = 'pod'): Promise<string> {
  const { podSandboxId } = await fixture.client.runPodSandbox({ config: hostPodConfig(fixture, name) });
  return podSandboxId;
}

export function hostPodConfig(fixture: CriFixture, name = 'pod') {
  return {
    metadata: { name, uid: `uid-${name}`, namespace: 'default', attempt: 0 },
    logDirectory: join(fixture.directory, 'logs', name),
    labels: { app: name },
    annotations: { note: 'kept' },
    linux: {
      cgroupParent: fixture.cgroupParent,
      securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER' }, privileged: true },
    },
  } as const satisfies CriRequestInit<'runPodSandbox'>['config'];
}

/** Creates and starts a container of the image busybox: its id. */
export async function runContainer(
  fixture: CriFixture,
  podSandboxId: string,
  config: CriRequestInit<'createContainer'>['config'],
): Promise<string> {
  const { containerId } = await fixture.client.createContainer({
    podSandboxId,
    config: {
      metadata: { name: 'c' },
      image: { image: 'busybox' },
      logPath: 'c/0.log',
      linux: { securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER' } } },
      ...config,
    },
    sandboxConfig: hostPodConfig(fixture),
  });
  await fixture.client.startContainer({ containerId });
  return containerId;
}
