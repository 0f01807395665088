import { createHash } from 'node:crypto';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { join } from 'node:path';

export interface LayerDigest {
  /** "sha256:<hex>" */
  readonly digest: string;
  /** Of the tar. */
  readonly sizeBytes: number;
}

const BLOCK_BYTES = 512;
const CHUNK_BYTES = 1 << 20;
/** Type flags of ustar, tar(5). */
const TYPES = { file: '0', symlink: '2', directory: '5' } as const;

interface TarEntry {
  readonly name: string;
  readonly type: keyof typeof TYPES;
  readonly mode: number;
  readonly sizeBytes?: number;
  readonly target?: string;
}

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
        write(encodeHeader({ name: `${name}/`, type: 'directory', mode }));
        await walk(name);
      } else if (stats.isSymbolicLink()) {
        write(encodeHeader({ name, type: 'symlink', mode, target: await readlink(path) }));
      } else {
        write(encodeHeader({ name, type: 'file', mode, sizeBytes: stats.size }));
        await readPieces(path, stats.size, { chunk, write });
        write(Buffer.alloc((BLOCK_BYTES - (stats.size % BLOCK_BYTES)) % BLOCK_BYTES));
      }
    }
  };
  await walk('');
  // Two empty blocks end an archive.
  write(Buffer.alloc(2 * BLOCK_BYTES));
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

/**
 * name[100] mode[8] uid[8] gid[8] size[12] mtime[12] checksum[8] type[1] linkname[100] "ustar\0" "00" uname[32]
 * gname[32] devmajor[8] devminor[8] prefix[155], numbers in octal (tar(5), POSIX ustar).
 */
function encodeHeader({ name, type, mode, sizeBytes = 0, target = '' }: TarEntry): Buffer {
  const header = Buffer.alloc(BLOCK_BYTES);
  const [prefix, base] = splitName(name);
  header.write(base, 0);
  for (const [offset, value, digits] of [
    [100, mode, 7],
    [108, 0, 7],
    [116, 0, 7],
    [124, sizeBytes, 11],
    [136, 0, 11],
  ] as const) {
    header.write(value.toString(8).padStart(digits, '0'), offset);
  }
  header.write(TYPES[type], 156);
  header.write(checkLength(target, 100), 157);
  header.write('ustar\u000000', 257);
  header.write(prefix, 345);
  // The sum counts its own field as spaces.
  const sum = header.reduce((total, byte) => total + byte, 8 * 0x20);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}

/** A name of more than 100 bytes is cut at a slash: what is before it is the prefix. */
function splitName(name: string): readonly [prefix: string, base: string] {
  if (Buffer.byteLength(name) <= 100) return ['', name];
  const cut = name.indexOf('/', name.length - 101);
  return [checkLength(name.slice(0, cut), 155), checkLength(name.slice(cut + 1), 100)];
}

function checkLength(text: string, bytes: number): string {
  if (Buffer.byteLength(text) > bytes) throw new Error(`"${text}" does not fit a tar header`);
  return text;
}
