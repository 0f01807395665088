import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { buildSync } from 'esbuild';
import type { RuntimeOptions } from '../../runtime/cri/create-runtime.ts';
import { type CriFixture, openCriFixture, removeCgroups } from '../cri/fixture.ts';

const ROOT = join(import.meta.dirname ?? '.', '../..');

export interface CommandResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CtrFixture {
  /** For the test's own files. */
  readonly directory: string;
  readonly bridge: string;
  readonly cgroupParent: string;
  readonly socketPath: string;
  readonly cri: CriFixture;
  /** `tkadm ctr ARGS`, to its end. */
  run(args: readonly string[], options?: RunOptions): Promise<CommandResult>;
  /** The standard output of a command that must succeed, without white space around it. */
  ok(...args: readonly string[]): Promise<string>;
  spawn(args: readonly string[]): ChildProcess;
  /** Closes the service, and opens another one over the same files. */
  restart(): Promise<void>;
  writeFiles(files: Readonly<Record<string, string>>): string;
  /** Removes all containers and the network, and looks whether anything was left. */
  close(): Promise<void>;
}

export interface RunOptions {
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
}

/** A runtime of its own with the ctr socket and the image "busybox" (its user is "web"). */
export async function openCtrFixture(overrides: Partial<RuntimeOptions> = {}): Promise<CtrFixture> {
  const directory = mkdtempSync('/tmp/tkadm-ctr-');
  const suffix = randomBytes(3).toString('hex');
  const bridge = `tkctr${suffix}`;
  const cgroupParent = `/tkadm-ctr-${suffix}`;
  const socketPath = join(directory, 'ctr.sock');
  const imageSocketPath = join(directory, 'images.sock');
  const program = buildCommand(directory);
  const ctr = {
    socketPath,
    root: join(directory, 'ctr'),
    runDir: directory,
    bridgeName: bridge,
    cgroupParent,
  };
  let cri = await openCriFixture({
    ctr,
    imageSocketPath,
    buildCgroupParent: cgroupParent,
    ...overrides,
  });
  const start = (args: readonly string[], env: Readonly<Record<string, string>> = {}) =>
    // As dist/tkadm.js starts itself: Node.js has an --env-file of its own.
    spawn(process.execPath, ['--', program, 'ctr', ...args], {
      cwd: directory,
      env: {
        PATH: process.env['PATH'] ?? '',
        TKADM_CTR_SOCKET: socketPath,
        TKADM_IMAGE_SOCKET: imageSocketPath,
        ...env,
      },
    });
  const run = async (args: readonly string[], { input, env }: RunOptions = {}) => {
    const child = start(args, env);
    const output = { stdout: '', stderr: '' };
    child.stdout.on('data', (chunk) => (output.stdout += chunk));
    child.stderr.on('data', (chunk) => (output.stderr += chunk));
    child.stdin.on('error', () => {});
    child.stdin.end(input);
    const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
    return { code, ...output };
  };
  const fixture: CtrFixture = {
    directory,
    bridge,
    cgroupParent,
    socketPath,
    get cri() {
      return cri;
    },
    run,
    async ok(...args) {
      const { code, stdout, stderr } = await run(args);
      if (code !== 0) throw new Error(`ctr ${args.join(' ')}: exit code ${code}\n${stdout}${stderr}`);
      return stdout.trim();
    },
    spawn: (args) => start(args),
    async restart() {
      cri = await cri.restart();
    },
    writeFiles(files) {
      const context = mkdtempSync(join(directory, 'files-'));
      for (const [name, content] of Object.entries(files)) {
        mkdirSync(dirname(join(context, name)), { recursive: true });
        writeFileSync(join(context, name), content);
      }
      return context;
    },
    async close() {
      const { callCtr } = await import('../../runtime/ctr/ctr-client.ts');
      await callCtr(socketPath, 'removeAll', {});
      await cri.close();
      removeCgroups(cgroupParent);
      const left = findLeftovers({ directory, bridge, cgroupParent });
      rmSync(directory, { recursive: true, force: true });
      if (left.length > 0) throw new Error(`left behind: ${left.join(', ')}`);
    },
  };
  return fixture;
}

/** The command line as one file: it starts quicker than from its sources. */
function buildCommand(directory: string): string {
  const koffi = createRequire(import.meta.url).resolve('koffi');
  buildSync({
    entryPoints: [join(ROOT, 'bootstrap/cli.ts')],
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'esm',
    splitting: true,
    outdir: join(directory, 'cli'),
    outExtension: { '.js': '.mjs' },
    alias: { koffi },
    external: [koffi, 'lmdb', 'cpu-features', '*.node'],
    define: { TKADM_VERSION: '"test"' },
    banner: {
      js: "import{createRequire as __cr}from'node:module';const require=__cr(import.meta.url);import{fileURLToPath as __fu}from'node:url';const __filename=__fu(import.meta.url),__dirname=__fu(new URL('.',import.meta.url));",
    },
  });
  return join(directory, 'cli/cli.mjs');
}

/** What a fixture may not leave: its bridge, rules, mounts, cgroups, addresses. */
function findLeftovers({
  directory,
  bridge,
  cgroupParent,
}: Pick<CtrFixture, 'directory' | 'bridge' | 'cgroupParent'>) {
  const tables = execFileSync('nft', ['list', 'tables'], { encoding: 'utf8' });
  const addresses = join(directory, 'ctr/network', bridge);
  const held = existsSync(addresses) ? readdirSync(addresses).filter((name) => !name.startsWith('.')) : [];
  const cgroups = readdirSync('/sys/fs/cgroup').filter((name) =>
    existsSync(`/sys/fs/cgroup/${name}${cgroupParent}`),
  );
  return [
    ...(existsSync(`/sys/class/net/${bridge}`) ? [`interface ${bridge}`] : []),
    ...(tables.includes(bridge) ? [`table ${bridge}`] : []),
    ...(readFileSync('/proc/mounts', 'utf8').includes(directory) ? ['mounts'] : []),
    ...cgroups.map((name) => `cgroup ${name}${cgroupParent}`),
    ...held.map((name) => `address ${name}`),
  ];
}

/** The inode of a process's namespace, "pid:[4026531836]". */
export function namespaceOf(pid: number | string, kind: string): string {
  return execFileSync('readlink', [`/proc/${pid}/ns/${kind}`], { encoding: 'utf8' }).trim();
}
