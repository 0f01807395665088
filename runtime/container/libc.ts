import { arch } from 'node:os';
import { addressOf, lastErrno, openCLibrary } from '../base/c-library.ts';
import { errnoName } from '../base/errno.ts';

/** System call numbers that differ between the architectures, <asm/unistd.h>. */
const SYSCALLS = { x64: { memfdCreate: 319, bpf: 321 }, arm64: { memfdCreate: 279, bpf: 280 } } as const;
/** System call numbers that are equal on all architectures (since Linux 5.x). */
const PIDFD_OPEN = 434;
const OPENAT2 = 437;
const PIDFD_GETFD = 438;

/** Attempts to open a path in which others rename. */
const MAX_OPENS = 100;

/** memfd_create(2) */
const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const MFD_EXEC = 0x10;
/** socketpair(2): AF_UNIX; type with SOCK_CLOEXEC */
const AF_UNIX = 1;
const SOCKET_TYPES = { stream: 0x80001, seqpacket: 0x80005 } as const;
/** `struct sockaddr_un` */
const UNIX_ADDRESS_BYTES = 110;
const SOCK_NONBLOCK = 0x800;
/** sendmsg(2): MSG_DONTWAIT | MSG_NOSIGNAL; cmsg(3): SOL_SOCKET, SCM_RIGHTS */
const SEND_FLAGS = 0x4040;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** fcntl(2): F_ADD_SEALS; F_SEAL_SEAL, SHRINK, GROW and WRITE */
const F_ADD_SEALS = 1033;
const ALL_SEALS = 15;

/** The kernel's limit of a value and of a list of names, xattr(7). */
const MAX_ATTRIBUTE_BYTES = 1 << 16;

/** A failed libc call; `code` is the errno's name, as in Node.js system errors. */
export class LibcError extends Error {
  readonly code: string;

  constructor(step: string, errno: number) {
    const code = errnoName(errno);
    super(`${step}: ${code}`);
    this.name = 'LibcError';
    this.code = code;
  }
}

/** The C library's functions that Node.js does not offer; each throws LibcError naming `step`. */
export type Libc = ReturnType<typeof loadLibc>;

/**
 * Loads the C library. Calls act on the calling (main) thread.
 * @throws Error when no C library can be loaded or the architecture is neither x64 nor arm64.
 */
export function loadLibc() {
  const numbers = SYSCALLS[arch() as keyof typeof SYSCALLS];
  if (numbers === undefined) throw new Error(`Cannot use this machine: architecture "${arch()}"`);
  const declare = openCLibrary();
  const syscall = declare('syscall', 'long', ['long', 'long', 'long', 'long', 'long', 'long']);
  const syscallBuffer = declare('syscall', 'long', ['long', 'long', 'void *', 'long', 'long', 'long']);
  const syscallText = declare('syscall', 'long', ['long', 'str', 'long']);
  const syscallOpenat2 = declare('syscall', 'long', ['long', 'long', 'str', 'void *', 'long']);
  const mount = declare('mount', 'int', ['str', 'str', 'str', 'ulong', 'str']);
  const umount2 = declare('umount2', 'int', ['str', 'int']);
  const fcntl = declare('fcntl', 'int', ['int', 'int', 'long']);
  const ioctl = declare('ioctl', 'int', ['int', 'ulong', 'void *']);
  const mkfifo = declare('mkfifo', 'int', ['str', 'uint']);
  const pipe2 = declare('pipe2', 'int', ['void *', 'int']);
  const close = declare('close', 'int', ['int']);
  const socketpair = declare('socketpair', 'int', ['int', 'int', 'int', 'void *']);
  const flistxattr = declare('flistxattr', 'long', ['int', 'void *', 'size_t']);
  const fgetxattr = declare('fgetxattr', 'long', ['int', 'str', 'void *', 'size_t']);
  const lsetxattr = declare('lsetxattr', 'int', ['str', 'str', 'void *', 'size_t', 'int']);
  const socket = declare('socket', 'int', ['int', 'int', 'int']);
  const connect = declare('connect', 'int', ['int', 'void *', 'uint']);
  const sendmsg = declare('sendmsg', 'long', ['int', 'void *', 'int']);

  const check = (result: number, step: string): number => {
    if (result < 0) throw new LibcError(step, lastErrno());
    return result;
  };

  /** undefined for ENOENT; what a rename at the same time has disturbed (EAGAIN) is tried again. */
  const openat2 = (
    root: number,
    path: string,
    { flags, resolve }: { readonly flags: number; readonly resolve: bigint },
  ): number | undefined => {
    const how = Buffer.alloc(24);
    how.writeBigUInt64LE(BigInt(flags), 0);
    how.writeBigUInt64LE(resolve, 16);
    for (let tries = 0; ; tries += 1) {
      const fd = syscallOpenat2()(OPENAT2, root, path, how, 24);
      if (fd >= 0) return fd;
      const error = new LibcError(`open "${path}" in the root file system`, lastErrno());
      if (error.code === 'ENOENT') return undefined;
      if (error.code !== 'EAGAIN' || tries >= MAX_OPENS) throw error;
    }
  };

  return {
    mount(source: string | null, target: string, type: string | null, flags: number, data: string | null) {
      check(mount()(source, target, type, flags, data), `mount "${target}"`);
    },
    umount(target: string, flags: number) {
      check(umount2()(target, flags), `umount "${target}"`);
    },
    fcntl(fd: number, command: number, argument: number): number {
      return check(fcntl()(fd, command, argument), `fcntl ${fd}`);
    },
    close(fd: number) {
      check(close()(fd), `close ${fd}`);
    },
    ioctl(fd: number, request: number, buffer: Buffer, step: string): number {
      return check(ioctl()(fd, request, buffer), step);
    },
    mkfifo(path: string, mode: number) {
      check(mkfifo()(path, mode), `make FIFO "${path}"`);
    },
    /** A close-on-exec pipe: [read end, write end]. */
    pipe(): readonly [number, number] {
      const ends = Buffer.alloc(8);
      check(pipe2()(ends, 0x80000), 'pipe');
      return [ends.readInt32LE(0), ends.readInt32LE(4)];
    },
    /** Two connected close-on-exec sockets. */
    socketPair(type: keyof typeof SOCKET_TYPES): readonly [number, number] {
      const ends = Buffer.alloc(8);
      check(socketpair()(AF_UNIX, SOCKET_TYPES[type], 0, ends), 'socketpair');
      return [ends.readInt32LE(0), ends.readInt32LE(4)];
    },
    /** A socket that is connected to the one at a path (unix(7)); it never waits. */
    connectUnix(path: string): number {
      const address = Buffer.alloc(UNIX_ADDRESS_BYTES);
      if (Buffer.byteLength(path) > UNIX_ADDRESS_BYTES - 3)
        throw new Error('the path has more than 107 bytes');
      address.writeUInt16LE(AF_UNIX);
      address.write(path, 2);
      const fd = check(socket()(AF_UNIX, SOCKET_TYPES.stream | SOCK_NONBLOCK, 0), 'socket');
      if (connect()(fd, address, address.length) === 0) return fd;
      const error = new LibcError('connect', lastErrno());
      close()(fd);
      throw error;
    },
    /** Sends data with descriptors (unix(7)), without waiting; false when there is no other side any more. */
    sendDescriptors(socket: number, data: Buffer, descriptors: readonly number[]): boolean {
      const control = buildRights(descriptors);
      const part = Buffer.alloc(16);
      part.writeBigUInt64LE(addressOf(data), 0);
      part.writeUInt32LE(data.length, 8);
      const message = Buffer.alloc(56);
      message.writeBigUInt64LE(addressOf(part), 16);
      message.writeUInt32LE(1, 24);
      message.writeBigUInt64LE(addressOf(control), 32);
      message.writeUInt32LE(control.length, 40);
      if (sendmsg()(socket, message, SEND_FLAGS) >= 0) return true;
      const error = new LibcError('send descriptors', lastErrno());
      if (error.code === 'EPIPE' || error.code === 'ECONNRESET') return false;
      throw error;
    },
    /** A file without a path, close-on-exec. */
    createMemoryFile(name: string, isExecutable: boolean): number {
      const flags = MFD_CLOEXEC | (isExecutable ? MFD_ALLOW_SEALING : 0);
      // Kernels before 6.3 do not know the flag, and every such file is executable there.
      const fd = isExecutable ? syscallText()(numbers.memfdCreate, name, flags | MFD_EXEC) : -1;
      return fd >= 0 ? fd : check(syscallText()(numbers.memfdCreate, name, flags), `make file "${name}"`);
    },
    /** Nobody can change the file or its seals any more. */
    sealMemoryFile(fd: number) {
      check(fcntl()(fd, F_ADD_SEALS, ALL_SEALS), 'seal a file');
    },
    /**
     * Opens `path` below the directory `root` as if that were "/": no link and no ".." leads out
     * (openat2(2), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS). undefined when it is not there.
     */
    openInRoot(root: number, path: string, flags: number): number | undefined {
      return openat2(root, path, { flags, resolve: 0x12n });
    },
    /**
     * Opens a path below an open directory; what would lead out of it is EXDEV (openat2(2), RESOLVE_BENEATH |
     * RESOLVE_NO_MAGICLINKS). undefined when it is not there.
     */
    openBeneath(root: number, path: string, flags: number): number | undefined {
      return openat2(root, path, { flags, resolve: 0x0an });
    },
    /** The extended attributes of an open file, xattr(7); none where the file system has none. */
    attributes(fd: number): ReadonlyMap<string, Buffer> {
      const list = Buffer.alloc(MAX_ATTRIBUTE_BYTES);
      const length = flistxattr()(fd, list, list.length);
      const names = list.toString('utf8', 0, Math.max(0, length)).split('\0').filter(Boolean);
      return new Map(
        names.map((name) => {
          const value = Buffer.alloc(MAX_ATTRIBUTE_BYTES);
          const size = check(fgetxattr()(fd, name, value, value.length), `read attribute "${name}"`);
          return [name, value.subarray(0, size)];
        }),
      );
    },
    /** False when the file system has no such attributes. */
    setAttribute(path: string, name: string, value: Buffer): boolean {
      if (lsetxattr()(path, name, value, value.length, 0) === 0) return true;
      const error = new LibcError(`set attribute "${name}" of "${path}"`, lastErrno());
      if (error.code === 'EOPNOTSUPP') return false;
      throw error;
    },
    pidfdOpen(pid: number): number {
      return check(syscall()(PIDFD_OPEN, pid, 0, 0, 0, 0), `open process ${pid}`);
    },
    /** A duplicate of descriptor `fd` of the process behind `pidfd`. */
    pidfdGetfd(pidfd: number, fd: number): number {
      return check(syscall()(PIDFD_GETFD, pidfd, fd, 0, 0, 0), `take descriptor ${fd}`);
    },
    /** bpf(2); `attributes` is a `union bpf_attr`, in which the kernel may answer. */
    bpf(command: number, attributes: Buffer, step: string): number {
      return check(syscallBuffer()(numbers.bpf, command, attributes, attributes.length, 0, 0), step);
    },
    /** Where a buffer lies, for structures that point to it; the caller keeps the buffer. */
    addressOf,
  };
}

/** `struct cmsghdr` with SCM_RIGHTS, cmsg(3). */
function buildRights(descriptors: readonly number[]): Buffer {
  const size = 16 + 4 * descriptors.length;
  const control = Buffer.alloc(Math.ceil(size / 8) * 8);
  control.writeUInt32LE(size, 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  for (const [index, fd] of descriptors.entries()) control.writeInt32LE(fd, 16 + 4 * index);
  return control;
}
