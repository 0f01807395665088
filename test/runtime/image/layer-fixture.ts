import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import type { Test } from 'tap';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { encodeTarHeader, TAR_END, type TarFile, tarPadding } from '../../../runtime/base/tar-header.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import type { ImportLayerOptions, LayerRecord } from '../../../runtime/image/layers.ts';
import { type ImageStore, openImageStore } from '../../../runtime/image/store.ts';

/** An entry of a tar; `content` sets its size. */
export type Entry = Partial<TarFile> &
  Pick<TarFile, 'name' | 'type'> & { readonly content?: string | Buffer };

/** A tar of any entries, also ones that no honest program writes. */
export function tarOf(entries: readonly Entry[]): Buffer {
  const blocks = entries.flatMap(({ content = '', ...entry }) => {
    const bytes = Buffer.from(content);
    const header = encodeTarHeader({ mode: 0o644, sizeBytes: bytes.byteLength, ...entry });
    return [header, bytes, tarPadding(bytes.byteLength)];
  });
  return Buffer.concat([...blocks, TAR_END]);
}

export interface StoreFixture {
  readonly store: ImageStore;
  readonly root: string;
  /** Beside the store: nothing may be written here. */
  readonly outside: string;
  import(layer: Buffer, options?: ImportLayerOptions): Promise<LayerRecord>;
  /** The directory of a layer's files. */
  diff(layer: LayerRecord): string;
  /** What failed imports left: names below `layers`, `tmp` and `blobs`. */
  leftovers(): readonly string[];
}

/** An image store in a directory of its own, removed after the test. */
export async function openStoreFixture(t: Test): Promise<StoreFixture> {
  const directory = mkdtempSync('/tmp/tkadm-store-');
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const root = join(directory, 'images');
  const outside = join(directory, 'outside');
  mkdirSync(outside);
  const store = await openImageStore({ root, log: SILENT_LOGGER });
  return {
    store,
    root,
    outside,
    import: (layer, options = { digest: sha256Digest(layer) }) =>
      store.importLayer(Readable.from([layer]), options),
    diff: ({ diffId }) => store.lowerDirsOf([diffId])[0]!,
    leftovers: () => ['layers', 'tmp', 'blobs/sha256'].flatMap((name) => readdirSync(join(root, name))),
  };
}

/** Every path below a directory with type, mode, owner, size and time: what a changed file would change. */
export function snapshot(directory: string): string {
  return execFileSync('find', [directory, '-printf', '%P %y %m %U:%G %s %T@ %l\n'], { encoding: 'utf8' });
}
