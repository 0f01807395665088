import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import { lastErrno, openCLibrary } from '../base/c-library.ts';
import { errnoName } from '../base/errno.ts';
import { TkadmError } from '../base/errors.ts';

/** What layers need and Node.js does not offer: special files and extended attributes. */
export interface Inodes {
  /** mknod(2); `mode` carries the file type. @throws IMAGE_UNPACK */
  mknod(path: string, mode: number, major: number, minor: number): void;
  /** lsetxattr(2). @throws IMAGE_UNPACK */
  setxattr(path: string, name: string, value: Uint8Array): void;
  /** lgetxattr(2): the value as text, at most 255 bytes; undefined when the attribute is not there. */
  getxattr(path: string, name: string): string | undefined;
  /** llistxattr(2) and lgetxattr(2): every attribute; none where the file system has no attributes. @throws IMAGE_UNPACK */
  attributes(path: string): ReadonlyMap<string, Buffer>;
  /** syncfs(2) of the file system that holds a directory, beside this thread. @throws IMAGE_UNPACK */
  sync(path: string): Promise<void>;
}

/** The kernel's limit of a value and of a list of names, xattr(7). */
const MAX_ATTRIBUTE_BYTES = 1 << 16;
const NO_ATTRIBUTES: ReadonlyMap<string, Buffer> = new Map();

/** The kernel's own, through the C library. */
export function loadInodes(): Inodes {
  const declare = openCLibrary();
  const mknod = declare('mknod', 'int', ['str', 'uint', 'ulong']);
  const lsetxattr = declare('lsetxattr', 'int', ['str', 'str', 'void *', 'size_t', 'int']);
  const lgetxattr = declare('lgetxattr', 'long', ['str', 'str', 'void *', 'size_t']);
  const llistxattr = declare('llistxattr', 'long', ['str', 'void *', 'size_t']);
  const syncfs = declare('syncfs', 'int', ['int']);
  const listed = Buffer.alloc(MAX_ATTRIBUTE_BYTES);
  const value = Buffer.alloc(MAX_ATTRIBUTE_BYTES);
  const check = (result: number, step: string): void => {
    if (result < 0) throw new TkadmError('IMAGE_UNPACK', `Cannot ${step}: ${errnoName(lastErrno())}`);
  };
  return {
    mknod(path, mode, major, minor) {
      const device = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) * 4096);
      check(mknod()(path, mode, device), `make device "${path}"`);
    },
    setxattr(path, name, value) {
      check(lsetxattr()(path, name, value, value.byteLength, 0), `set attribute "${name}" of "${path}"`);
    },
    getxattr(path, name) {
      const value = Buffer.alloc(255);
      const length = lgetxattr()(path, name, value, value.length);
      return length < 0 ? undefined : value.subarray(0, length).toString('latin1');
    },
    attributes(path) {
      const bytes = llistxattr()(path, listed, listed.length);
      if (bytes <= 0) return NO_ATTRIBUTES;
      const names = listed.toString('utf8', 0, bytes).split('\0').filter(Boolean);
      return new Map(
        names.map((name) => {
          const length = lgetxattr()(path, name, value, value.length);
          check(length, `read attribute "${name}" of "${path}"`);
          return [name, Buffer.from(value.subarray(0, length))];
        }),
      );
    },
    async sync(path) {
      const directory = await open(path);
      try {
        const sync = (done: (error: unknown, result: number) => void) => syncfs().async(directory.fd, done);
        if ((await promisify(sync)()) === 0) return;
        throw new TkadmError('IMAGE_UNPACK', `Cannot write the files of "${path}" to disk`);
      } finally {
        await directory.close();
      }
    },
  };
}
