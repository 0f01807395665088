import { cp, mkdir, readFile, realpath, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { writeBusyboxArchive } from '../hosts/busybox-image.ts';
import { REPOSITORY } from '../hosts/lab.ts';
import { buildExt4 } from './disk.ts';
import { PAYLOAD_DIRECTORY } from './recipe.ts';

/** Image that the workload of the tests runs; it is loaded from the payload. */
export const TEST_IMAGE = 'docker.io/library/machine-test:1';

/** Where things lie on a machine. */
export const PAYLOAD = {
  node: `${PAYLOAD_DIRECTORY}/bin/node`,
  tkadm: `${PAYLOAD_DIRECTORY}/tkadm/dist/tkadm.js`,
  oci: `${PAYLOAD_DIRECTORY}/tkadm/dist/node/tkadm-oci.cjs`,
  runtime: `${PAYLOAD_DIRECTORY}/tkadm/dist/node/tkadm-runtime.cjs`,
  image: `${PAYLOAD_DIRECTORY}/image/image.tar`,
} as const;

/** npm packages that stay outside of dist/. */
const NATIVE_PACKAGES = ['koffi', 'lmdb'] as const;

/** Writes the disk with what is under test. */
export async function preparePayload(directory: string, image: string): Promise<void> {
  const root = join(directory, 'payload');
  await writePayload(root);
  await buildExt4(root, image, { size: '512M', label: 'payload' });
  await rm(root, { recursive: true });
}

/** What is under test: the built command line, its native packages, Node.js and an image. */
async function writePayload(root: string): Promise<void> {
  await mkdir(join(root, 'bin'), { recursive: true });
  await cp(await realpath(process.execPath), join(root, 'bin/node'));
  await cp(join(REPOSITORY, 'dist'), join(root, 'tkadm/dist'), { recursive: true });
  await cp(join(REPOSITORY, 'package.json'), join(root, 'tkadm/package.json'));
  for (const name of await findDependencies()) {
    const source = join(REPOSITORY, 'node_modules', name);
    await cp(source, join(root, 'tkadm/node_modules', name), { recursive: true, dereference: true });
  }
  await mkdir(join(root, 'image'), { recursive: true });
  await writeBusyboxArchive(join(root, 'image'), TEST_IMAGE);
  await rm(join(root, 'image/rootfs'), { recursive: true });
}

/** The native packages and what they depend on, as far as it is installed. */
async function findDependencies(): Promise<readonly string[]> {
  const found = new Set<string>();
  const queue: string[] = [...NATIVE_PACKAGES];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    const path = join(REPOSITORY, 'node_modules', name, 'package.json');
    const text = found.has(name) ? undefined : await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) continue;
    found.add(name);
    const manifest = JSON.parse(text) as Readonly<Record<string, Readonly<Record<string, string>>>>;
    queue.push(...Object.keys({ ...manifest['dependencies'], ...manifest['optionalDependencies'] }));
  }
  return [...found];
}
