import {
  chmodSync,
  chownSync,
  closeSync,
  constants as fs,
  fstatSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  readSync,
  symlinkSync,
  utimesSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import type { Libc } from './libc.ts';
import { COPY_SOURCE_FD, COPY_TARGET_FD } from './performer/rootfs-program.ts';

const O_CLOEXEC = 0o2000000;
const CHUNK_SIZE = 1 << 16;

/**
 * Copies what the image has at a place into the tmpfs that a container has mounted over it ("tmpcopyup"); both are
 * descriptors of the process. Nothing is followed: a link that another container puts into a shared source is a link.
 * @throws Error for devices and sockets, and when the tmpfs is full
 */
export function copyUp(libc: Libc, pid: number): void {
  const open = (fd: number) => openSync(`/proc/${pid}/fd/${fd}`, fs.O_RDONLY | fs.O_DIRECTORY);
  const source = open(COPY_SOURCE_FD);
  try {
    const target = `/proc/${pid}/fd/${COPY_TARGET_FD}/`;
    copyEntries(libc, source, target);
    copyMetadata(libc, target, source);
  } finally {
    closeSync(source);
  }
}

function copyEntries(libc: Libc, source: number, target: string): void {
  const own = `/proc/self/fd/${source}`;
  for (const name of readdirSync(own)) {
    const stats = lstatSync(join(own, name));
    const path = join(target, name);
    if (stats.isSymbolicLink()) {
      symlinkSync(readlinkSync(join(own, name)), path);
      lchownSync(path, stats.uid, stats.gid);
    } else if (stats.isDirectory()) {
      mkdirSync(path);
      withOpen(libc, { directory: source, name, flags: fs.O_DIRECTORY }, (fd) => {
        copyEntries(libc, fd, path);
        copyMetadata(libc, path, fd);
      });
    } else if (stats.isFile()) {
      withOpen(libc, { directory: source, name, flags: fs.O_NONBLOCK }, (fd) => {
        copyFile(fd, path);
        copyMetadata(libc, path, fd);
      });
    } else if (stats.isFIFO()) {
      libc.mkfifo(path, 0o600);
      chownSync(path, stats.uid, stats.gid);
      chmodSync(path, stats.mode & 0o7777);
    } else throw new Error(`copy "${name}" into the tmpfs: it is a device or a socket`);
  }
}

interface Entry {
  readonly directory: number;
  readonly name: string;
  readonly flags: number;
}

function withOpen(libc: Libc, { directory, name, flags }: Entry, act: (fd: number) => void): void {
  const fd = libc.openInRoot(directory, name, fs.O_RDONLY | fs.O_NOFOLLOW | O_CLOEXEC | flags);
  // It was there a moment ago.
  if (fd === undefined) return;
  try {
    act(fd);
  } finally {
    closeSync(fd);
  }
}

function copyFile(source: number, path: string): void {
  if (!fstatSync(source).isFile()) throw new Error(`copy "${path}" into the tmpfs: it has changed`);
  const target = openSync(path, 'wx', 0o600);
  try {
    const buffer = Buffer.alloc(CHUNK_SIZE);
    for (let length = readSync(source, buffer); length > 0; length = readSync(source, buffer)) {
      for (let done = 0; done < length; ) done += writeSync(target, buffer, done, length - done);
    }
  } finally {
    closeSync(target);
  }
}

/** The labels and marks of others: the kernel's security modules, and overlayfs. */
const NOT_COPIED = /^(security\.(selinux|apparmor|ima|evm)$|trusted\.)/;

/** The owner first: its change takes the set-user-id bit and file capabilities away. */
function copyMetadata(libc: Libc, path: string, source: number): void {
  const { uid, gid, mode, atime, mtime } = fstatSync(source);
  chownSync(path, uid, gid);
  chmodSync(path, mode & 0o7777);
  for (const [name, value] of libc.attributes(source))
    if (!NOT_COPIED.test(name)) libc.setAttribute(path, name, value);
  utimesSync(path, atime, mtime);
}
