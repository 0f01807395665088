import { existsSync } from 'node:fs';
import { cp, readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { readFileIfExists } from '../base/files.ts';
import { copyBinary } from './copy-binary.ts';

/** npm packages with native addons, which cannot be part of a bundled file; what they depend on comes along. */
const NATIVE_PACKAGES = ['koffi', 'lmdb'] as const;

/** What of them is not needed to run. */
const LEFT_OUT = /\/(doc|dict|test|tests|dependencies|benchmark|vendor)$|\.(map|md|d\.[cm]?ts|cc?|cpp|hh?)$/;

export interface PackageSources {
  /** Folders that hold packages; the first that has one counts. */
  readonly folders: readonly string[];
  /** Node.js's name of the architecture that they are for. */
  readonly architecture: string;
  /** `process.versions.modules` of the Node.js that will load them; without it addons for all versions come along. */
  readonly modules?: string | undefined;
}

/**
 * Copies the native packages and everything they depend on that is there, for one architecture and glibc.
 * @throws BUNDLE_BUILD when a native package, or its addon for the architecture, is missing.
 */
export async function copyNativePackages(sources: PackageSources, target: string): Promise<void> {
  for (const { name, folder } of await findPackages(sources)) {
    await cp(folder, join(target, name), {
      recursive: true,
      dereference: true,
      filter: (path) => !LEFT_OUT.test(path) && !isOtherAddon(path, sources.modules),
    });
    for (const file of await readdir(join(target, name), { recursive: true })) {
      if (file.endsWith('.node')) await copyBinary(join(folder, file), join(target, name, file));
    }
  }
}

/** True for an addon of another libc or version of Node.js, of which lmdb ships four and koffi two. */
function isOtherAddon(path: string, modules: string | undefined): boolean {
  const name = basename(path);
  if (!name.endsWith('.node')) return false;
  if (/\.musl\.|\/musl_/.test(path)) return true;
  if (modules === undefined) return false;
  const abi = `.abi${modules}.`;
  if (name.includes('.napi.')) return existsSync(join(dirname(path), name.replace('.napi.', abi)));
  return name.includes('.abi') && !name.includes(abi);
}

async function findPackages({ folders, architecture }: PackageSources) {
  const found = new Map<string, string>();
  const queue: string[] = [...NATIVE_PACKAGES];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const place = found.has(name) ? undefined : await readPackage(folders, name);
    if (place === undefined || !fitsPlatform(place.manifest, architecture)) continue;
    found.set(name, place.folder);
    const { dependencies, optionalDependencies } = place.manifest;
    queue.push(...Object.keys({ ...dependencies, ...optionalDependencies }));
  }
  for (const name of NATIVE_PACKAGES) {
    const isAddon = (other: string) =>
      other.startsWith('@') && other.endsWith(`/${name}-linux-${architecture}`);
    if (found.has(name) && [...found.keys()].some(isAddon)) continue;
    throw new TkadmError(
      'BUNDLE_BUILD',
      `Cannot build the node bundle: no package "${name}" for linux ${architecture} in "${folders[0]}"`,
      { hint: 'npm install --include=optional, where tkadm is installed' },
    );
  }
  return [...found].map(([name, folder]) => ({ name, folder }));
}

async function readPackage(folders: readonly string[], name: string) {
  for (const parent of folders) {
    const folder = join(parent, name);
    const text = await readFileIfExists(join(folder, 'package.json'));
    if (text !== undefined) return { folder, manifest: JSON.parse(text) as PackageManifest };
  }
  return undefined;
}

/** The fields of package.json that are read (npm documentation, package.json). */
interface PackageManifest {
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly optionalDependencies?: Readonly<Record<string, string>>;
  readonly os?: readonly string[];
  readonly cpu?: readonly string[];
  readonly libc?: readonly string[];
}

function fitsPlatform({ os, cpu, libc }: PackageManifest, architecture: string): boolean {
  return (
    (os?.includes('linux') ?? true) &&
    (cpu?.includes(architecture) ?? true) &&
    (libc?.includes('glibc') ?? true)
  );
}
