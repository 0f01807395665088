import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync as readlink,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { type CriClient, createCriClient } from '../../runtime/cri/client.ts';
import { openImageStore } from '../../runtime/image/store.ts';
import { addBusybox, removeCgroups } from './fixture.ts';

const REPOSITORY = join(import.meta.dirname ?? '.', '../..');
const BRIDGE = 'cri-test0';
const NETWORK = 'cri-test';
/** Where the plugin records addresses: a tmpfs of the test's own. */
const ADDRESSES = `/var/lib/tkadm/network/${NETWORK}`;

/** `tkadm-runtime` as a process that can be killed; the network is the plugin's own bridge. */
export interface Service {
  readonly directory: string;
  readonly cgroupParent: string;
  readonly client: CriClient;
  readonly pid: number;
  /** SIGKILL, and a new process over the same files. */
  killAndRestart(): Promise<void>;
  /** Ends the process; what it made is the caller's. */
  close(): Promise<void>;
}

/** What a machine has of a runtime: numbers that must not grow. */
export interface Traces {
  readonly mounts: number;
  readonly networkNamespaces: number;
  readonly cgroups: number;
  readonly interfaces: number;
  readonly addresses: number;
  readonly monitors: number;
  readonly engineContainers: number;
  readonly sandboxes: number;
  readonly containers: number;
}

/** Starts the service in a directory of its own with the image "busybox". Only within a network of the test's own. */
export async function startService(): Promise<Service> {
  const directory = mkdtempSync('/tmp/tkadm-service-');
  const images = await openImageStore({ root: join(directory, 'root/images'), log: SILENT_LOGGER });
  await addBusybox(images, directory);
  mkdirSync(join(directory, 'net.d'));
  const plugin = { type: 'tkadm-bridge', bridge: BRIDGE, podCIDR: '10.98.0.0/20' };
  const list = { cniVersion: '1.0.0', name: NETWORK, plugins: [plugin] };
  writeFileSync(join(directory, 'net.d/10.conflist'), JSON.stringify(list));
  const cgroupParent = `/tkadm-service-${randomBytes(4).toString('hex')}`;
  let { child, client } = await spawnService(directory);
  return {
    directory,
    cgroupParent,
    get client() {
      return client;
    },
    get pid() {
      return child.pid ?? 0;
    },
    async killAndRestart() {
      await end(child, 'SIGKILL');
      client.close();
      ({ child, client } = await spawnService(directory));
    },
    async close() {
      client.close();
      await end(child, 'SIGTERM');
      removeCgroups(cgroupParent);
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

async function spawnService(
  directory: string,
): Promise<{ readonly child: ChildProcess; readonly client: CriClient }> {
  const socket = join(directory, 'cri.sock');
  rmSync(socket, { force: true });
  const flags = {
    socket,
    'image-socket': join(directory, 'images.sock'),
    root: join(directory, 'root'),
    'state-dir': join(directory, 'state'),
    'cni-conf-dir': join(directory, 'net.d'),
    bundle: join(directory, 'bundle'),
    'log-level': 'warn',
  };
  const args = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
  const child = spawn(process.execPath, ['--import', 'tsx', 'runtime/cri/main.ts', ...args], {
    cwd: REPOSITORY,
    stdio: ['ignore', 'ignore', process.env['TKADM_TEST_LOG'] ? 'inherit' : 'ignore'],
  });
  const client = createCriClient(socket);
  await waitFor(
    async () => {
      if (child.exitCode !== null) throw new Error(`the service has ended: ${child.exitCode}`);
      if (!existsSync(socket)) return undefined;
      return client.version({}).catch(() => undefined);
    },
    { subject: 'the service', timeoutMs: 60_000, intervalMs: 20 },
  );
  return { child, client };
}

async function end(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await ended;
}

/** Counts what there is now. */
export function readTraces({ directory, cgroupParent }: Service): Traces {
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
  const processes = listProcesses();
  const own = processes.filter(({ cwd }) => cwd.startsWith(directory));
  // Other tests run beside this one, and make network namespaces too.
  const born = processes.filter(({ cgroup }) => cgroup.includes(cgroupParent));
  return {
    mounts: mounts.filter((line) => line.includes(directory)).length,
    networkNamespaces: new Set([...own, ...born].map(({ network }) => network)).size,
    cgroups: cgroupRoots().flatMap((root) => listTree(`${root}${cgroupParent}`)).length,
    interfaces: readdirSync('/sys/class/net').filter((name) => name.startsWith('tk')).length,
    addresses: listIf(ADDRESSES).filter((name) => !name.startsWith('.')).length,
    monitors: own.length,
    engineContainers: listIf(join(directory, 'state/containers')).length,
    sandboxes: listIf(join(directory, 'root/sandboxes')).length,
    containers: listIf(join(directory, 'root/containers')).length,
  };
}

function cgroupRoots(): readonly string[] {
  const root = '/sys/fs/cgroup';
  return [root, ...readdirSync(root).map((name) => join(root, name))];
}

/** Directories below a path, the path itself left out. */
function listTree(path: string): readonly string[] {
  if (!existsSync(path)) return [];
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => [join(path, name), ...listTree(join(path, name))]);
}

function listIf(path: string): readonly string[] {
  return existsSync(path) ? readdirSync(path) : [];
}

interface Process {
  readonly cwd: string;
  readonly network: string;
  readonly cgroup: string;
}

function listProcesses(): readonly Process[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [
          {
            cwd: readlink(`/proc/${pid}/cwd`),
            network: readlink(`/proc/${pid}/ns/net`),
            cgroup: readFileSync(`/proc/${pid}/cgroup`, 'utf8'),
          },
        ];
      } catch {
        return [];
      }
    });
}
