import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, readdir, readlink, rename, rm, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { TkadmError } from '../base/errors.ts';
import { PATHS } from '../base/paths.ts';
import { VERSION } from '../base/version.ts';
import { type Bundle, type BundleSources, hashPrograms, programFolders } from './bundle.ts';
import { layOutBundle } from './bundle-layout.ts';
import { type Architecture, readElfArchitecture } from './elf-architecture.ts';

/** Folder with one folder for each architecture, in which lie bundles and links from programs to these. */
const FOREIGN_BUNDLES = join(PATHS.bundle, 'foreign');

export interface ForeignSources {
  /** Where the programs and the packages without addons are. */
  readonly own: BundleSources;
  readonly architecture: Architecture;
  /** A Node.js binary of the architecture. */
  readonly nodePath: string;
  /** Folder that holds the packages with the addons of the architecture. */
  readonly addonsDir: string;
  /** Other than `/var/lib/tkadm/bundle/foreign` in tests. */
  readonly root?: string;
}

/**
 * Lays out the bundle for machines of another architecture. The machine itself adds what is of its own distribution
 * (`completeBundle`): shared libraries, `nft`, `ip`, and with them the image's digest. One is kept for each
 * architecture.
 * @throws BUNDLE_BUILD when the Node.js binary is of another architecture.
 */
export async function stageForeignBundle(sources: ForeignSources): Promise<Bundle> {
  const { own, architecture, nodePath, addonsDir, root = FOREIGN_BUNDLES } = sources;
  const found = await readElfArchitecture(nodePath);
  if (found !== architecture) {
    throw new TkadmError(
      'BUNDLE_BUILD',
      `Cannot build the node bundle for ${architecture}: "${nodePath}" is ${found ? `for ${found}` : 'no program for Linux on x64 or arm64'}`,
      {
        hint: `Give the Node.js binary of the other machines: tkadm bundle --arch ${architecture} --node-binary FILE`,
      },
    );
  }
  const folder = join(root, architecture);
  const key = await programsKey(own);
  const hash = createHash('sha256').update(`${key} ${architecture}`);
  for await (const chunk of createReadStream(nodePath)) hash.update(chunk as Buffer);
  const id = hash.digest('hex').slice(0, 16);
  const directory = join(folder, id);
  await mkdir(folder, { recursive: true });
  await layOutBundle(directory, {
    nodePath,
    ...programFolders(own),
    packages: { folders: [addonsDir, ...own.packageFolders], architecture },
  });
  const link = join(folder, `.${key}`);
  await rm(link, { force: true });
  await symlink(id, link);
  await rename(link, join(folder, key));
  for (const name of await readdir(folder)) {
    if (name !== id && name !== key) await rm(join(folder, name), { recursive: true, force: true });
  }
  return { id, directory };
}

/** Directory of the bundle with this command's programs for an architecture; undefined when none was laid out. */
export async function findForeignBundle(
  own: BundleSources,
  architecture: Architecture,
  root = FOREIGN_BUNDLES,
): Promise<string | undefined> {
  const folder = join(root, architecture);
  const id = await readlink(join(folder, await programsKey(own))).catch(() => undefined);
  return id === undefined ? undefined : join(folder, id);
}

/** Digest of the programs, "p-" and 16 hex digits. */
async function programsKey(own: BundleSources): Promise<string> {
  const hash = createHash('sha256').update(VERSION);
  await hashPrograms(hash, programFolders(own));
  return `p-${hash.digest('hex').slice(0, 16)}`;
}
