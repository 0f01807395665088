import { createHash } from 'node:crypto';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { encodeTarHeader, TAR_END, tarPadding } from '../base/tar-header.ts';

export interface LayerDigest {
  /** "sha256:<hex>" */
  readonly digest: string;
  /** Of the tar. */
  readonly sizeBytes: number;
}

const CHUNK_BYTES = 1 << 20;

/** SHA-256 of a directory as an uncompressed layer (OCI image-spec layer.md); the archive itself is not kept. */
export async function digestLayer(root: string): Promise<LayerDigest> {
  const hash = createHash('sha256');
  let sizeBytes = 0;
  await archiveDirectory(root, (bytes) => {
    hash.update(bytes);
    sizeBytes += bytes.byteLength;
  });
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes };
}

/**
 * A ustar archive of what is in a directory, by name, owned by root, dated 1970, so that equal files give equal
 * bytes. `write` gets piece after piece, each valid until it returns.
 */
export async function archiveDirectory(root: string, write: (bytes: Buffer) => void): Promise<void> {
  const chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  const walk = async (directory: string): Promise<void> => {
    for (const base of (await readdir(join(root, directory))).sort()) {
      const name = join(directory, base);
      const path = join(root, name);
      const stats = await lstat(path);
      const mode = stats.mode & 0o7777;
      if (stats.isDirectory()) {
        write(encodeTarHeader({ name: `${name}/`, type: 'directory', mode }));
        await walk(name);
      } else if (stats.isSymbolicLink()) {
        write(encodeTarHeader({ name, type: 'symlink', mode, target: await readlink(path) }));
      } else {
        write(encodeTarHeader({ name, type: 'file', mode, sizeBytes: stats.size }));
        await readPieces(path, stats.size, { chunk, write });
        write(tarPadding(stats.size));
      }
    }
  };
  await walk('');
  write(TAR_END);
}

interface Copying {
  readonly chunk: Buffer;
  readonly write: (bytes: Buffer) => void;
}

async function readPieces(path: string, sizeBytes: number, { chunk, write }: Copying): Promise<void> {
  const file = await open(path, 'r');
  try {
    for (let left = sizeBytes; left > 0; ) {
      const { bytesRead } = await file.read(chunk, 0, Math.min(left, CHUNK_BYTES));
      if (bytesRead === 0) throw new Error(`"${path}" has become shorter`);
      write(chunk.subarray(0, bytesRead));
      left -= bytesRead;
    }
  } finally {
    await file.close();
  }
}
