import { chmod, copyFile, lstat, mkdir, readdir, realpath, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { codePath, keepCode } from '../base/code-cache.ts';
import { TkadmError } from '../base/errors.ts';
import type { Host } from '../base/host.ts';
import { EMBEDDED_IMAGE_REPOSITORY } from '../base/paths.ts';
import { KUBERNETES_VERSION, VERSION } from '../base/version.ts';
import { copyBinary } from './copy-binary.ts';
import type { Architecture } from './elf-architecture.ts';
import { digestLayer, type LayerDigest } from './layer-digest.ts';
import { copyNativePackages, type PackageSources } from './native-packages.ts';

/** Programs that get a start script in the image, and an image name of their own. */
const IMAGE_PROGRAMS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'coredns',
] as const;

/** Where the programs lie in the bundle. */
const PROGRAMS = 'opt/tkadm';

/** Commands of the host that the programs run; they come along with their shared libraries. */
const HOST_COMMANDS = ['nft', 'ip'] as const;

const FOLDERS = [
  'usr/bin',
  'usr/sbin',
  'usr/local/bin',
  'opt/tkadm/cli',
  'etc',
  'tmp',
  'run',
  'proc',
  'sys',
  'dev',
  'var',
] as const;

/** The command: what starts it, and what it is. */
export const COMMAND_FILES = ['tkadm.js', 'tkadm.main.cjs'] as const;

/** What a bundle has of tkadm and Node.js; the rest is of the machine that runs it. */
export interface LayoutSources {
  readonly nodePath: string;
  /** Folder with `*.cjs`, the programs of a node. */
  readonly programsDir: string;
  /** Folder with the files of `COMMAND_FILES`. */
  readonly commandDir: string;
  readonly packages: PackageSources;
}

/** The machine that a bundle is for, when it is this one. */
export interface LayoutMachine {
  readonly host: Host;
  readonly commands: readonly string[];
}

/**
 * Lays a bundle out beside its place and moves it there whole; what was there goes. Without a machine its parts and
 * `image.json` are missing, which `completeBundle` adds there.
 */
export async function layOutBundle(
  directory: string,
  sources: LayoutSources,
  machine?: LayoutMachine,
): Promise<void> {
  const temporary = `${directory}.tmp`;
  await rm(temporary, { recursive: true, force: true });
  const rootfs = join(temporary, 'rootfs');
  for (const path of FOLDERS) await mkdir(join(rootfs, path), { recursive: true });
  await chmod(join(rootfs, 'tmp'), 0o1777);
  await Promise.all([
    copyExecutable(sources.nodePath, join(rootfs, 'usr/bin/node')),
    copyPrograms(rootfs, sources),
    writeEtc(rootfs),
    ...(machine ? [addMachineParts(machine, rootfs, sources.nodePath)] : []),
  ]);
  if (machine) await describeBundle(temporary, sources.packages.architecture);
  await rm(directory, { recursive: true, force: true });
  await rename(temporary, directory);
}

/**
 * Adds what a bundle that was laid out elsewhere has to get on the machine that runs it.
 * @throws BUNDLE_BUILD when a host command is missing.
 */
export async function completeBundle(host: Host, directory: string, architecture: string): Promise<void> {
  const rootfs = join(directory, 'rootfs');
  await addMachineParts({ host, commands: await findCommands(host) }, rootfs, join(rootfs, 'usr/bin/node'));
  await describeBundle(directory, architecture);
}

/** The host commands, and the shared libraries of these and of Node.js. */
async function addMachineParts(
  { host, commands }: LayoutMachine,
  rootfs: string,
  nodePath: string,
): Promise<void> {
  await Promise.all([
    ...commands.map((command) => copyExecutable(command, join(rootfs, 'usr/sbin', basename(command)))),
    copyLibraries(host, rootfs, [nodePath, ...commands]),
  ]);
}

/** Writes `image.json`, which describes the directory as the single layer of the embedded images; the last step. */
async function describeBundle(directory: string, architecture: string): Promise<void> {
  const programs = join(directory, 'rootfs', PROGRAMS);
  for (const folder of [programs, join(programs, 'cli')]) await compilePrograms(folder);
  const layer = await digestLayer(join(directory, 'rootfs'));
  const text = JSON.stringify(describeImage(layer, architecture), null, 2);
  await writeFile(join(directory, 'image.json'), `${text}\n`);
}

/** Makes the compiled code of the programs that came without: nothing writes into a bundle once it has its digest. */
async function compilePrograms(directory: string): Promise<void> {
  for (const file of await readdir(directory)) {
    const path = join(directory, file);
    if (file.endsWith('.main.cjs') && !(await exists(codePath(path)))) keepCode(path);
  }
}

/** Paths of the host commands. @throws BUNDLE_BUILD naming the one that is missing. */
export async function findCommands(host: Host): Promise<readonly string[]> {
  const found: string[] = [];
  for (const command of HOST_COMMANDS) {
    const script = `PATH=$PATH:/usr/sbin:/sbin command -v ${command}`;
    const { stdout, exitCode } = await host.run(['sh', '-c', script]);
    if (exitCode !== 0) {
      throw new TkadmError(
        'BUNDLE_BUILD',
        `Cannot build the node bundle: no command "${command}" on this machine`,
        {
          hint: 'apt-get install -y nftables iproute2',
        },
      );
    }
    found.push(stdout.trim());
  }
  return found;
}

/** File names of the node's programs; what else lies there is of this machine alone. @throws BUNDLE_BUILD */
export async function listPrograms(programsDir: string): Promise<readonly string[]> {
  const files = await readdir(programsDir).catch(() => []);
  const programs = files.filter((file) => file.endsWith('.cjs')).sort();
  if (programs.length > 0) return programs;
  throw new TkadmError('BUNDLE_BUILD', `Cannot build the node bundle: no programs in "${programsDir}"`, {
    hint: 'npm run build',
  });
}

async function copyExecutable(source: string, target: string): Promise<void> {
  await copyBinary(await realpath(source), target);
  await chmod(target, 0o755);
}

/** Copies the shared objects that `ldd` names to the same paths below the root file system. */
async function copyLibraries(host: Host, rootfs: string, binaries: readonly string[]): Promise<void> {
  const { stdout } = await host.run(['ldd', ...binaries]);
  const libraries = new Set(
    [...stdout.matchAll(/(\/\S+\.so\S*)/g)].map((match) => match[1]!.replace(/:$/, '')),
  );
  // glibc loads these at run time: name service, and none appears in ldd's answer.
  for (const library of [...libraries]) {
    if (!/\/libc\.so/.test(library)) continue;
    for (const extra of ['libnss_dns.so.2', 'libnss_files.so.2', 'libresolv.so.2']) {
      const path = join(dirname(library), extra);
      if (await exists(path)) libraries.add(path);
    }
  }
  for (const library of libraries) {
    const target = join(rootfs, library);
    await mkdir(dirname(target), { recursive: true });
    await copyExecutable(library, target);
  }
}

async function copyPrograms(
  rootfs: string,
  { programsDir, commandDir, packages }: LayoutSources,
): Promise<void> {
  const target = join(rootfs, PROGRAMS);
  const copyAll = async (from: string, to: string, files: readonly string[]) => {
    for (const file of files) await copyProgram(join(from, file), join(to, file), packages.architecture);
  };
  await copyAll(programsDir, target, await listPrograms(programsDir));
  await writeFile(join(target, 'cli/package.json'), '{"type":"commonjs"}\n');
  await copyAll(commandDir, join(target, 'cli'), COMMAND_FILES);
  await copyNativePackages(packages, join(target, 'node_modules'));
  for (const program of IMAGE_PROGRAMS) {
    const script = join(rootfs, 'usr/local/bin', program);
    await writeFile(script, `#!/usr/bin/node\nrequire('/opt/tkadm/${program}.cjs');\n`);
    await chmod(script, 0o755);
  }
}

/** The code that this Node.js made of the program comes along. */
async function copyProgram(source: string, target: string, architecture: string): Promise<void> {
  await copyFile(source, target);
  const isForThis = architecture === process.arch && (await exists(codePath(source)));
  if (isForThis) await copyFile(codePath(source), codePath(target));
}

async function writeEtc(rootfs: string): Promise<void> {
  const files: Readonly<Record<string, string>> = {
    'etc/passwd': 'root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n',
    'etc/group': 'root:x:0:\nnogroup:x:65534:\n',
    'etc/nsswitch.conf': 'hosts: files dns\n',
    'etc/os-release': `NAME=tkadm\nID=tkadm\nVERSION_ID=${VERSION}\n`,
  };
  for (const [path, content] of Object.entries(files)) await writeFile(join(rootfs, path), content);
}

/** GOARCH of an architecture. */
const IMAGE_ARCHITECTURES: Readonly<Record<Architecture, string>> = { x64: 'amd64', arm64: 'arm64' };

/** What the runtime reads to know the directory as images. */
function describeImage(layer: LayerDigest, architecture: string) {
  return {
    layer: { digest: layer.digest, diffId: layer.digest, sizeBytes: layer.sizeBytes, rootfs: 'rootfs' },
    names: IMAGE_PROGRAMS.map((program) => `${EMBEDDED_IMAGE_REPOSITORY}/${program}:${KUBERNETES_VERSION}`),
    config: {
      architecture: IMAGE_ARCHITECTURES[architecture as Architecture] ?? architecture,
      os: 'linux',
      config: { Env: ['PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    },
  };
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
