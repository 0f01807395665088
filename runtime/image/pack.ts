import { createReadStream, type Stats } from 'node:fs';
import { lstat, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type Header, type Pack, pack } from 'tar-stream';
import type { Inodes } from './inodes.ts';
import { isOpaque, isWhiteout } from './overlay-files.ts';

/** A file on its way into a layer. `content` is a host path, or the bytes themselves. */
export interface LayerFile {
  /** Inside the image, without a leading "/". */
  readonly name: string;
  readonly stats: Pick<Stats, 'mode' | 'uid' | 'gid' | 'mtime'>;
  readonly content:
    | { readonly kind: 'directory' }
    | { readonly kind: 'file'; readonly hostPath: string; readonly sizeBytes: number }
    | { readonly kind: 'bytes'; readonly bytes: Uint8Array }
    | { readonly kind: 'symlink' | 'link'; readonly target: string };
}

/** A tar stream of files, in the order in which they come. */
export function packFiles(files: AsyncIterable<LayerFile>): Readable {
  const tar = pack();
  void (async () => {
    for await (const file of files) await addFile(tar, file);
    tar.finalize();
  })().catch((error) => tar.destroy(error as Error));
  return tar as unknown as Readable;
}

/**
 * The changes that an overlay's upper directory holds, in the form of a layer: whiteouts as `.wh.` files,
 * opaque directories with `.wh..wh..opq` (OCI image-spec layer.md). Sockets are left out.
 */
export async function* readUpperDir(root: string, inodes: Inodes): AsyncGenerator<LayerFile> {
  const firstNames = new Map<number, string>();
  const walk = async function* (directory: string): AsyncGenerator<LayerFile> {
    const names = (await readdir(join(root, directory))).sort();
    for (const base of names) {
      const name = directory === '' ? base : `${directory}/${base}`;
      const path = join(root, name);
      const stats = await lstat(path);
      const empty = { kind: 'bytes', bytes: new Uint8Array() } as const;
      if (isWhiteout(stats)) {
        yield { name: `${name.slice(0, name.length - base.length)}.wh.${base}`, stats, content: empty };
      } else if (stats.isDirectory()) {
        yield { name, stats, content: { kind: 'directory' } };
        if (isOpaque(path, inodes)) yield { name: `${name}/.wh..wh..opq`, stats, content: empty };
        yield* walk(name);
      } else if (stats.isSymbolicLink())
        yield { name, stats, content: { kind: 'symlink', target: await readlink(path) } };
      else if (stats.isFile()) {
        const first = stats.nlink > 1 ? firstNames.get(stats.ino) : undefined;
        firstNames.set(stats.ino, first ?? name);
        yield first
          ? { name, stats, content: { kind: 'link', target: first } }
          : { name, stats, content: { kind: 'file', hostPath: path, sizeBytes: stats.size } };
      }
    }
  };
  yield* walk('');
}

async function addFile(tar: Pack, { name, stats, content }: LayerFile): Promise<void> {
  const header: Partial<Header> & { name: string } = {
    name,
    mode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
    mtime: stats.mtime,
  };
  if (content.kind === 'file') {
    const entry = tar.entry({ ...header, type: 'file', size: content.sizeBytes });
    // A file that grows meanwhile must not break the archive.
    if (content.sizeBytes > 0)
      await pipeline(createReadStream(content.hostPath, { end: content.sizeBytes - 1 }), entry);
    else entry.end(undefined);
    return;
  }
  await new Promise<void>((resolve, reject) => {
    const done = (error?: Error | null) => (error ? reject(error) : resolve());
    if (content.kind === 'bytes')
      tar.entry(
        { ...header, type: 'file', size: content.bytes.byteLength },
        Buffer.from(content.bytes),
        done,
      );
    else if (content.kind === 'directory')
      tar.entry({ ...header, name: `${name}/`, type: 'directory' }, done);
    else tar.entry({ ...header, type: content.kind, linkname: content.target }, done);
  });
}
