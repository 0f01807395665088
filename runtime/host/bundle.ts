import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import {
  chmod,
  copyFile,
  cp,
  lstat,
  mkdir,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';
import type { Host } from '../base/host.ts';
import { EMBEDDED_IMAGE_REPOSITORY, PATHS } from '../base/paths.ts';
import { KUBERNETES_VERSION, VERSION } from '../base/version.ts';
import { copyBinary } from './copy-binary.ts';
import { digestLayer, type LayerDigest } from './layer-digest.ts';

/** Programs that get a start script in the image, and an image name of their own. */
const IMAGE_PROGRAMS = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'coredns',
] as const;

/** npm packages with native addons, which cannot be part of a bundled file; what they depend on comes along. */
const NATIVE_PACKAGES = ['koffi', 'lmdb'] as const;

/** What of them is not needed to run. */
const LEFT_OUT = /\/(doc|dict|test|tests|dependencies|benchmark|vendor)$|\.(map|md|d\.[cm]?ts|cc?|cpp|hh?)$/;

/** Commands of the host that the programs run; they come along with their shared libraries. */
const HOST_COMMANDS = ['nft', 'ip'] as const;

export interface BundleSources {
  /** The Node.js binary to ship. */
  readonly nodePath: string;
  /** Folder with `tkadm.js`, `chunks/` and `node/*.cjs`. */
  readonly distDir: string;
  /** Folder that holds the native packages. */
  readonly nodeModulesDir: string;
  /** Set when the command itself runs from a bundle: that one is used. */
  readonly installedDirectory?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface Bundle {
  /** Digest of what it was made from; the name of its directory. */
  readonly id: string;
  readonly directory: string;
}

/** Lays the node bundle out and takes it into use. @throws BUNDLE_BUILD when a part is missing. */
export async function installBundle(host: Host, sources: BundleSources): Promise<Bundle> {
  const bundle = await stageBundle(host, sources);
  await pointCurrent(bundle.directory);
  return bundle;
}

/**
 * Assembles the node bundle under `/var/lib/tkadm/bundle/<id>` unless it is there; the one in use stays in use:
 * Node.js and two host commands with their shared libraries, the programs, and `image.json`, which describes the
 * same directory as the single layer of the embedded images.
 * @throws BUNDLE_BUILD when a part is missing.
 */
export async function stageBundle(host: Host, sources: BundleSources): Promise<Bundle> {
  const { installedDirectory } = sources;
  if (installedDirectory !== undefined) {
    const directory = await realpath(installedDirectory);
    return { id: basename(directory), directory };
  }
  const commands = await findCommands(host);
  const id = await identify(sources, commands);
  const directory = join(PATHS.bundle, id);
  if (!(await exists(join(directory, 'image.json')))) await assemble(host, sources, { commands, directory });
  return { id, directory };
}

/** The id of the bundle that these sources make. @throws BUNDLE_BUILD when a part is missing. */
export async function readBundleId(host: Host, sources: BundleSources): Promise<string> {
  const { installedDirectory } = sources;
  if (installedDirectory !== undefined) return basename(await realpath(installedDirectory));
  return identify(sources, await findCommands(host));
}

/** The id of the bundle in use; undefined without one. */
export async function readCurrentBundleId(): Promise<string | undefined> {
  const directory = await realpath(join(PATHS.bundle, 'current')).catch(() => undefined);
  return directory === undefined ? undefined : basename(directory);
}

/** Takes a bundle that is laid out into use; programs that run go on with theirs. @throws BUNDLE_BUILD */
export async function useBundle(id: string): Promise<void> {
  const directory = join(PATHS.bundle, id);
  if (!(await exists(join(directory, 'image.json')))) {
    throw new TkadmError('BUNDLE_BUILD', `Cannot use node bundle "${directory}": it is not there`);
  }
  await pointCurrent(directory);
}

/** True when the bundle that these sources make is there and in use. @throws BUNDLE_BUILD when a part is missing. */
export async function isBundleInstalled(host: Host, sources: BundleSources): Promise<boolean> {
  const current = await realpath(join(PATHS.bundle, 'current')).catch(() => undefined);
  if (current === undefined) return false;
  const wanted =
    sources.installedDirectory ?? join(PATHS.bundle, await identify(sources, await findCommands(host)));
  return current === (await realpath(wanted).catch(() => wanted)) && exists(join(current, 'image.json'));
}

/** Points `/var/lib/tkadm/bundle/current` at a bundle's directory by an atomic rename. */
async function pointCurrent(directory: string): Promise<void> {
  const temporary = join(dirname(directory), `.current-${basename(directory)}`);
  await rm(temporary, { force: true });
  await symlink(basename(directory), temporary);
  await rename(temporary, join(dirname(directory), 'current'));
}

interface AssembleInput {
  readonly commands: readonly string[];
  readonly directory: string;
}

async function assemble(
  host: Host,
  sources: BundleSources,
  { commands, directory }: AssembleInput,
): Promise<void> {
  const temporary = `${directory}.tmp`;
  await rm(temporary, { recursive: true, force: true });
  const rootfs = join(temporary, 'rootfs');
  for (const path of [
    'usr/bin',
    'usr/sbin',
    'usr/local/bin',
    'opt/tkadm',
    'etc',
    'tmp',
    'run',
    'proc',
    'sys',
    'dev',
    'var',
  ]) {
    await mkdir(join(rootfs, path), { recursive: true });
  }
  await chmod(join(rootfs, 'tmp'), 0o1777);
  await Promise.all([
    copyExecutable(sources.nodePath, join(rootfs, 'usr/bin/node')),
    ...commands.map((command) => copyExecutable(command, join(rootfs, 'usr/sbin', basename(command)))),
    copyLibraries(host, rootfs, [sources.nodePath, ...commands]),
    copyPrograms(rootfs, sources),
    writeEtc(rootfs),
  ]);
  const layer = await digestLayer(rootfs);
  await writeFile(join(temporary, 'image.json'), `${JSON.stringify(describeImage(layer), null, 2)}\n`);
  await rename(temporary, directory);
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

async function copyPrograms(rootfs: string, sources: BundleSources): Promise<void> {
  const target = join(rootfs, 'opt/tkadm');
  for (const file of await listPrograms(sources)) {
    await copyFile(join(sources.distDir, 'node', file), join(target, file));
  }
  await mkdir(join(target, 'cli/chunks'), { recursive: true });
  await writeFile(join(target, 'cli/package.json'), '{"type":"module"}\n');
  await copyFile(join(sources.distDir, 'tkadm.js'), join(target, 'cli/tkadm.js'));
  await cp(join(sources.distDir, 'chunks'), join(target, 'cli/chunks'), { recursive: true, force: true });
  for (const name of await nativePackages(sources.nodeModulesDir)) {
    await cp(join(sources.nodeModulesDir, name), join(target, 'node_modules', name), {
      recursive: true,
      dereference: true,
      filter: (path) => !LEFT_OUT.test(path) && !isOtherAddon(path),
    });
  }
  for (const file of await readdir(join(target, 'node_modules'), { recursive: true })) {
    if (!file.endsWith('.node')) continue;
    await copyBinary(join(sources.nodeModulesDir, file), join(target, 'node_modules', file));
  }
  for (const program of IMAGE_PROGRAMS) {
    const script = join(rootfs, 'usr/local/bin', program);
    await writeFile(script, `#!/usr/bin/node\nrequire('/opt/tkadm/${program}.cjs');\n`);
    await chmod(script, 0o755);
  }
}

/** True for an addon of another libc or version of Node.js, of which lmdb ships four and koffi two. */
function isOtherAddon(path: string): boolean {
  const name = basename(path);
  if (!name.endsWith('.node')) return false;
  const abi = `.abi${process.versions.modules}.`;
  if (/\.musl\.|\/musl_/.test(path)) return true;
  if (name.includes('.napi.')) return existsSync(join(dirname(path), name.replace('.napi.', abi)));
  return name.includes('.abi') && !name.includes(abi);
}

/** The native packages and everything they depend on that is installed, for this platform. */
async function nativePackages(nodeModulesDir: string): Promise<readonly string[]> {
  const found = new Set<string>();
  const queue: string[] = [...NATIVE_PACKAGES];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const text = found.has(name)
      ? undefined
      : await readFileIfExists(join(nodeModulesDir, name, 'package.json'));
    if (text === undefined) continue;
    const manifest = JSON.parse(text) as PackageManifest;
    if (!fitsPlatform(manifest)) continue;
    found.add(name);
    queue.push(...Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies }));
  }
  return [...found];
}

/** The fields of package.json that are read (npm documentation, package.json). */
interface PackageManifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
}

function fitsPlatform({ os, cpu, libc }: PackageManifest): boolean {
  return (
    (os?.includes('linux') ?? true) &&
    (cpu?.includes(process.arch) ?? true) &&
    (libc?.includes('glibc') ?? true)
  );
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

/** What the runtime reads to know the directory as images. */
function describeImage(layer: LayerDigest) {
  return {
    layer: { digest: layer.digest, diffId: layer.digest, sizeBytes: layer.sizeBytes, rootfs: 'rootfs' },
    names: IMAGE_PROGRAMS.map((program) => `${EMBEDDED_IMAGE_REPOSITORY}/${program}:${KUBERNETES_VERSION}`),
    config: {
      architecture: process.arch === 'x64' ? 'amd64' : process.arch,
      os: 'linux',
      config: { Env: ['PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'], WorkingDir: '/' },
      rootfs: { type: 'layers', diff_ids: [layer.digest] },
    },
  };
}

async function findCommands(host: Host): Promise<readonly string[]> {
  const found: string[] = [];
  for (const command of HOST_COMMANDS) {
    const { stdout, exitCode } = await host.run([
      'sh',
      '-c',
      `PATH=$PATH:/usr/sbin:/sbin command -v ${command}`,
    ]);
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

/** File names of the node's programs; what else lies there is of this machine alone. */
async function listPrograms({ distDir }: BundleSources): Promise<readonly string[]> {
  return (await readdir(join(distDir, 'node'))).filter((file) => file.endsWith('.cjs')).sort();
}

/** Digest over version, the identity of the binaries and the content of the programs. */
async function identify(sources: BundleSources, commands: readonly string[]): Promise<string> {
  const hash = createHash('sha256').update(VERSION);
  for (const binary of [sources.nodePath, ...commands]) {
    const { size, mtimeMs } = await stat(await realpath(binary));
    hash.update(`${binary} ${size} ${mtimeMs}\n`);
  }
  const nodeDir = join(sources.distDir, 'node');
  if (!(await exists(nodeDir))) {
    throw new TkadmError('BUNDLE_BUILD', `Cannot build the node bundle: no programs in "${nodeDir}"`, {
      hint: 'npm run build',
    });
  }
  for (const file of await listPrograms(sources))
    hash.update(file).update(await readFile(join(nodeDir, file)));
  hash.update(await readFile(join(sources.distDir, 'tkadm.js')));
  return hash.digest('hex').slice(0, 16);
}

async function exists(path: string): Promise<boolean> {
  return lstat(path).then(
    () => true,
    () => false,
  );
}
