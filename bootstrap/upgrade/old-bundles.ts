import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { EMBEDDED_IMAGE_REPOSITORY, PATHS } from '../../runtime/base/paths.ts';
import { callImages } from '../../runtime/cri/image-client.ts';
import { readCurrentBundleId } from '../../runtime/host/bundle.ts';

/** Bundles that are laid out and not in use; what a build that broke off has left is among them. */
export async function listOldBundles(host: Pick<Host, 'list'>): Promise<readonly string[]> {
  const current = await readCurrentBundleId();
  const names = await host.list(PATHS.bundle);
  return names.filter((name) => /^[0-9a-f]{16}(\.tmp|\.part)?$/.test(name) && name !== current);
}

/**
 * True while some process has its root file system, or its program, in the bundle: containers name it as the lower
 * directory of their overlay in mountinfo (proc(5)), services map their program from it.
 */
export async function isBundleUsed(id: string, host: Pick<Host, 'run'>): Promise<boolean> {
  const script =
    'grep -lsF -e "$1/" /proc/[0-9]*/mountinfo /proc/[0-9]*/maps | grep -v "^/proc/$$/" | head -n 1';
  const { stdout } = await host.run(['sh', '-c', script, 'sh', `${PATHS.bundle}/${id}`]);
  return stdout.trim() !== '';
}

/** Takes a bundle's image out of the runtime's store, then its files away. @throws BUNDLE_BUILD when it is in use */
export async function removeBundle(id: string, host: Host): Promise<void> {
  if (id === (await readCurrentBundleId()) || (await isBundleUsed(id, host))) {
    throw new TkadmError('BUNDLE_BUILD', `Cannot remove node bundle "${id}": it is in use`);
  }
  const text = await host.readFile(`${PATHS.bundle}/${id}/image.json`);
  if (text !== undefined) await forgetImage(JSON.parse(text) as BundleImage);
  await host.remove(`${PATHS.bundle}/${id}`);
}

/** The part of a bundle's image.json that tells its image from others. */
interface BundleImage {
  readonly layer: { readonly diffId: string };
}

/** A tag of this version would name files that are gone; without it the bundle in use stands for all versions. */
async function forgetImage({ layer }: BundleImage): Promise<void> {
  for (const image of await callImages(PATHS.imageSocket, 'list')) {
    if (!image.repoTags.some((tag) => tag.startsWith(`${EMBEDDED_IMAGE_REPOSITORY}/`))) continue;
    const { layers } = await callImages(PATHS.imageSocket, 'inspect', { name: image.id });
    if (layers.some(({ diffId }) => diffId === layer.diffId))
      await callImages(PATHS.imageSocket, 'remove', { name: image.id });
  }
}
