import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { buildSync } from 'esbuild';
import { SILENT_LOGGER } from '../runtime/base/log.ts';
import { addSingleLayerImage } from '../runtime/image/builtin-images.ts';
import { openImageStore } from '../runtime/image/store.ts';
import { startEtcd } from '../test/hosts/etcd.ts';
import { createLab, type Lab, type LabHost } from '../test/hosts/lab.ts';
import { type Bench, timed } from './measure.ts';

/** The image of the pods that are measured: a static busybox, in the store before the cluster is made. */
export const IMAGE = 'docker.io/library/busybox:bench';
/** A measuring program that says nothing for so long is ended. */
const WORKER_TIMEOUT_MS = 120_000;
const APPLETS = ['sh', 'true', 'sleep', 'httpd', 'echo', 'cat'];

/** A host's file as seen from outside. */
export function pathOn(host: LabHost, path: string): string {
  return `/proc/${host.pid}/root${path}`;
}

/** Runs the built `tkadm` on a host. @throws Error with its output when it fails. */
export async function tkadm(bench: Bench, host: LabHost, args: readonly string[]): Promise<string> {
  const result = await host.exec(['node', join(bench.root, 'dist/tkadm.js'), ...args], {
    timeoutMs: 120_000,
  });
  if (result.exitCode === 0) return result.stdout;
  throw new Error(
    `tkadm ${args.join(' ')}: exit code ${result.exitCode}\n${result.stdout}\n${result.stderr}`,
  );
}

/** Puts the busybox image into the store that the host's runtime will open. */
export async function addBusyboxImage(bench: Bench, host: LabHost): Promise<void> {
  const source = join(bench.scratch, 'busybox');
  for (const path of ['bin', 'etc', 'tmp', 'dev', 'proc', 'sys', 'www'])
    mkdirSync(join(source, path), { recursive: true });
  execFileSync('cp', ['/bin/busybox', join(source, 'bin')]);
  for (const applet of APPLETS) {
    try {
      symlinkSync('busybox', join(source, 'bin', applet));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
    }
  }
  const tar = execFileSync('tar', ['-C', source, '-cz', '.'], { maxBuffer: 1e9 });
  const store = await openImageStore({ root: pathOn(host, '/var/lib/tkadm/images'), log: SILENT_LOGGER });
  await addSingleLayerImage(store, tar, {
    architecture: process.arch === 'x64' ? 'amd64' : process.arch,
    names: [IMAGE],
    config: { Cmd: ['sh'], Env: ['PATH=/bin'], WorkingDir: '/' },
  });
}

/** Calls `use` with hosts that are removed afterwards. */
export async function withLab<T>(
  options: { readonly hostNames: readonly string[]; readonly withoutNode?: readonly string[] },
  use: (lab: Lab) => Promise<T>,
): Promise<T> {
  const lab = await createLab(options);
  try {
    return await use(lab);
  } finally {
    await lab.close();
  }
}

export interface Cluster {
  readonly host: LabHost;
  readonly kubeconfigPath: string;
  readonly initMs: number;
}

/** Calls `use` with a one-node cluster; its node takes pods, since it is the only one. */
export async function withCluster<T>(
  bench: Bench,
  use: (cluster: Cluster, lab: Lab) => Promise<T>,
): Promise<T> {
  return withLab({ hostNames: ['bench-cp'] }, async (lab) => {
    await addBusyboxImage(bench, lab.hosts[0]!);
    return use(await initCluster(bench, lab.hosts[0]!), lab);
  });
}

/** As `withCluster`, with the objects in an etcd of one member beside the host, on the same disk. */
export async function withEtcdCluster<T>(bench: Bench, use: (cluster: Cluster) => Promise<T>): Promise<T> {
  return withLab({ hostNames: ['bench-cp'] }, async (lab) => {
    const host = lab.hosts[0]!;
    const spawn = (argv: readonly string[]) => lab.spawn(argv) as unknown as ChildProcess;
    const etcd = await startEtcd({ address: lab.gateway, firstPort: 2379, spawn });
    try {
      const { ca, cert, key } = etcd.client;
      mkdirSync(pathOn(host, '/etc/etcd'));
      for (const [name, text] of Object.entries({ ca, cert, key }))
        writeFileSync(pathOn(host, `/etc/etcd/${name}.pem`), text, { mode: 0o600 });
      writeFileSync(pathOn(host, '/etc/etcd/cluster.yaml'), formatEtcdConfig(etcd.endpoints));
      return await use(await initCluster(bench, host, ['--config', '/etc/etcd/cluster.yaml']));
    } finally {
      await etcd.close();
    }
  });
}

function formatEtcdConfig(endpoints: readonly string[]): string {
  const files = 'caFile: /etc/etcd/ca.pem, certFile: /etc/etcd/cert.pem, keyFile: /etc/etcd/key.pem';
  return `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd: {external: {endpoints: [${endpoints.join()}], ${files}}}
`;
}

async function initCluster(bench: Bench, host: LabHost, args: readonly string[] = []): Promise<Cluster> {
  const { ms } = await timed(() => tkadm(bench, host, ['init', '--fix', ...args]));
  return { host, kubeconfigPath: pathOn(host, '/etc/kubernetes/admin.conf'), initMs: ms };
}

/** A measuring program in a process of its own, in the network of a host. */
export interface Worker {
  /** The next line of JSON that it prints. @throws Error when it has ended. */
  next<T>(): Promise<T>;
  send(message: unknown): void;
  close(): Promise<void>;
}

/** Starts `workers/<name>.ts` with `input` as its argument. */
export function startWorker(bench: Bench, host: LabHost, name: string, input: unknown): Worker {
  const outfile = join(bench.scratch, `${name}.cjs`);
  buildSync({
    entryPoints: [join(bench.root, 'bench/workers', `${name}.ts`)],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    external: ['*.node', 'koffi', 'lmdb'],
    define: { TKADM_VERSION: '"bench"' },
    outfile,
  });
  const child = spawn(
    'nsenter',
    [`--net=/proc/${host.pid}/ns/net`, process.execPath, outfile, JSON.stringify(input)],
    { stdio: ['pipe', 'pipe', 'inherit'] },
  );
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ended = new Promise<void>((resolve) => child.once('close', () => resolve()));
  return {
    async next<T>() {
      const timer = setTimeout(() => child.kill(), WORKER_TIMEOUT_MS);
      const { value, done } = await lines.next();
      clearTimeout(timer);
      if (done) throw new Error(`the measuring program "${name}" has ended`);
      return JSON.parse(value) as T;
    },
    send: (message) => child.stdin.write(`${JSON.stringify(message)}\n`),
    async close() {
      child.kill();
      await ended;
    },
  };
}
