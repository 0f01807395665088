import { arch, constants } from 'node:os';
import koffi, { type LibraryHandle } from 'koffi';

/** Names of the C library, the first that loads is used: glibc, then musl. */
const LIBC_NAMES = ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libc.so'] as const;

/** mount(2) flags, <linux/mount.h>. */
export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  SYNCHRONOUS: 16,
  REMOUNT: 32,
  MANDLOCK: 64,
  DIRSYNC: 128,
  NOSYMFOLLOW: 256,
  NOATIME: 1024,
  NODIRATIME: 2048,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  SILENT: 32768,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
  LAZYTIME: 1 << 25,
} as const;

/** clone(2) flags of unshare(2) and setns(2). */
export const CLONE = {
  FS: 0x200,
  NEWTIME: 0x80,
  NEWNS: 0x20000,
  NEWCGROUP: 0x2000000,
  NEWUTS: 0x4000000,
  NEWIPC: 0x8000000,
  NEWUSER: 0x10000000,
  NEWPID: 0x20000000,
  NEWNET: 0x40000000,
} as const;

export const MNT_DETACH = 2;

/** System call numbers that differ between the architectures, <asm/unistd.h>. */
const SYSCALLS = {
  x64: {
    seccomp: 317,
    setgroups: 116,
    setresuid: 117,
    setresgid: 119,
    capset: 126,
    pivotRoot: 155,
    setns: 308,
    bpf: 321,
  },
  arm64: {
    seccomp: 277,
    setgroups: 159,
    setresuid: 147,
    setresgid: 149,
    capset: 91,
    pivotRoot: 41,
    setns: 268,
    bpf: 280,
  },
} as const;
/** System call numbers that are equal on all architectures (since Linux 5.x). */
const PIDFD_OPEN = 434;
const CLOSE_RANGE = 436;
const OPENAT2 = 437;
const PIDFD_GETFD = 438;

const SIOCGIFFLAGS = 0x8913;
const SIOCSIFFLAGS = 0x8914;
const ERRNO_NAMES = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** A failed libc call; `code` is the errno's name, as in Node.js system errors. */
export class LibcError extends Error {
  readonly code: string;

  constructor(step: string, errno: number) {
    const code = ERRNO_NAMES.get(errno) ?? `errno ${errno}`;
    super(`${step}: ${code}`);
    this.name = 'LibcError';
    this.code = code;
  }
}

/** The C library's functions that Node.js does not offer; each throws LibcError naming `step`. */
export type Libc = ReturnType<typeof loadLibc>;

/**
 * Loads the C library through koffi. Calls act on the calling (main) thread.
 * @throws Error when no C library can be loaded or the architecture is neither x64 nor arm64.
 */
export function loadLibc() {
  const library = openLibrary();
  const numbers = SYSCALLS[arch() as keyof typeof SYSCALLS];
  if (numbers === undefined) throw new Error(`Cannot use this machine: architecture "${arch()}"`);
  const declared: (() => NativeFunction)[] = [];
  const declare = lazily(library, declared);
  const syscall = declare('syscall', 'long', ['long', 'long', 'long', 'long', 'long', 'long']);
  const syscallBuffer = declare('syscall', 'long', ['long', 'long', 'void *', 'long', 'long', 'long']);
  const syscallTwoBuffers = declare('syscall', 'long', ['long', 'void *', 'void *', 'long']);
  const syscallSeccomp = declare('syscall', 'long', ['long', 'long', 'long', 'void *']);
  const syscallStrings = declare('syscall', 'long', ['long', 'str', 'str']);
  const syscallOpenat2 = declare('syscall', 'long', ['long', 'long', 'str', 'void *', 'long']);
  const mount = declare('mount', 'int', ['str', 'str', 'str', 'ulong', 'str']);
  const umount2 = declare('umount2', 'int', ['str', 'int']);
  const unshare = declare('unshare', 'int', ['int']);
  const sethostname = declare('sethostname', 'int', ['str', 'size_t']);
  const setdomainname = declare('setdomainname', 'int', ['str', 'size_t']);
  const prctl = declare('prctl', 'int', ['int', 'ulong', 'ulong', 'ulong', 'ulong']);
  const setrlimit = declare('setrlimit', 'int', ['int', 'void *']);
  const fcntl = declare('fcntl', 'int', ['int', 'int', 'long']);
  const dup2 = declare('dup2', 'int', ['int', 'int']);
  const ioctl = declare('ioctl', 'int', ['int', 'ulong', 'void *']);
  const ioctlNumber = declare('ioctl', 'int', ['int', 'ulong', 'long']);
  const signal = declare('signal', 'long', ['int', 'long']);
  const sigprocmask = declare('sigprocmask', 'int', ['int', 'void *', 'void *']);
  const setsid = declare('setsid', 'int', []);
  const chroot = declare('chroot', 'int', ['str']);
  const execve = declare('execve', 'int', ['str', 'str *', 'str *']);
  const mkfifo = declare('mkfifo', 'int', ['str', 'uint']);
  const mknod = declare('mknod', 'int', ['str', 'uint', 'ulong']);
  const pipe2 = declare('pipe2', 'int', ['void *', 'int']);
  const socket = declare('socket', 'int', ['int', 'int', 'int']);
  const close = declare('close', 'int', ['int']);
  const waitpid = declare('waitpid', 'int', ['int', 'void *', 'int']);
  const spawnp = declare('posix_spawn', 'int', ['void *', 'str', 'void *', 'void *', 'str *', 'str *']);
  const attrInit = declare('posix_spawnattr_init', 'int', ['void *']);
  const attrFlags = declare('posix_spawnattr_setflags', 'int', ['void *', 'short']);
  const attrSigdefault = declare('posix_spawnattr_setsigdefault', 'int', ['void *', 'void *']);
  const attrSigmask = declare('posix_spawnattr_setsigmask', 'int', ['void *', 'void *']);
  const actionsInit = declare('posix_spawn_file_actions_init', 'int', ['void *']);
  const actionsOpen = declare('posix_spawn_file_actions_addopen', 'int', [
    'void *',
    'int',
    'str',
    'int',
    'uint',
  ]);

  const check = (result: number, step: string): number => {
    if (result < 0) throw new LibcError(step, koffi.errno());
    return result;
  };

  return {
    /** Declares every function now, so that the first use is as fast as the others. */
    warmUp() {
      for (const get of declared) get();
    },
    mount(source: string | null, target: string, type: string | null, flags: number, data: string | null) {
      check(mount()(source, target, type, flags, data), `mount "${target}"`);
    },
    /** mount(2) for several tries: the errno's name instead of an exception, undefined when it worked. */
    tryMount(source: string | null, target: string, type: string | null, flags: number, data: string | null) {
      return mount()(source, target, type, flags, data) < 0
        ? new LibcError('', koffi.errno()).code
        : undefined;
    },
    umount(target: string, flags: number) {
      check(umount2()(target, flags), `umount "${target}"`);
    },
    unshare(flags: number) {
      check(unshare()(flags), `unshare 0x${flags.toString(16)}`);
    },
    setns(fd: number, type: number, step: string) {
      check(syscall()(numbers.setns, fd, type, 0, 0, 0), step);
    },
    pivotRoot(newRoot: string, putOld: string) {
      check(syscallStrings()(numbers.pivotRoot, newRoot, putOld), 'pivot_root');
    },
    chroot(path: string) {
      check(chroot()(path), `chroot "${path}"`);
    },
    sethostname(name: string) {
      check(sethostname()(name, Buffer.byteLength(name)), `set hostname "${name}"`);
    },
    setdomainname(name: string) {
      check(setdomainname()(name, Buffer.byteLength(name)), `set domain name "${name}"`);
    },
    prctl(option: number, argument: number, argument2: number, step: string) {
      check(prctl()(option, argument, argument2, 0, 0), step);
    },
    setrlimit(resource: number, soft: bigint, hard: bigint, step: string) {
      const limits = Buffer.alloc(16);
      limits.writeBigUInt64LE(soft, 0);
      limits.writeBigUInt64LE(hard, 8);
      check(setrlimit()(resource, limits), step);
    },
    /** setgroups(2) for this thread alone. */
    setgroups(groups: readonly number[]) {
      const list = Buffer.from(new Uint32Array(groups).buffer);
      check(syscallBuffer()(numbers.setgroups, groups.length, list, 0, 0, 0), 'set groups');
    },
    setgid(gid: number) {
      check(syscall()(numbers.setresgid, gid, gid, gid, 0, 0), `set group ${gid}`);
    },
    setuid(uid: number) {
      check(syscall()(numbers.setresuid, uid, uid, uid, 0, 0), `set user ${uid}`);
    },
    /** capset(2) with the version 3 header; `data` is effective, permitted, inheritable, low words first. */
    capset(data: Buffer) {
      const header = Buffer.alloc(8);
      header.writeUInt32LE(0x20080522, 0);
      check(syscallTwoBuffers()(numbers.capset, header, data, 0), 'set capabilities');
    },
    /** seccomp(2), SECCOMP_SET_MODE_FILTER, for this thread; `program` is an array of `struct sock_filter`. */
    seccomp(flags: number, program: Buffer) {
      const header = Buffer.alloc(16);
      header.writeUInt16LE(program.length / 8, 0);
      header.writeBigUInt64LE(koffi.address(program), 8);
      check(syscallSeccomp()(numbers.seccomp, 1, flags, header), 'install the seccomp filter');
    },
    fcntl(fd: number, command: number, argument: number): number {
      return check(fcntl()(fd, command, argument), `fcntl ${fd}`);
    },
    dup2(from: number, to: number) {
      check(dup2()(from, to), `dup2 ${from} ${to}`);
    },
    close(fd: number) {
      check(close()(fd), `close ${fd}`);
    },
    /** Marks every descriptor from `first` on close-on-exec. False when the kernel lacks close_range(2). */
    closeOnExecFrom(first: number): boolean {
      return syscall()(CLOSE_RANGE, first, 0x7fffffff, 4, 0, 0) >= 0;
    },
    ioctl(fd: number, request: number, buffer: Buffer, step: string): number {
      return check(ioctl()(fd, request, buffer), step);
    },
    ioctlNumber(fd: number, request: number, argument: number, step: string): number {
      return check(ioctlNumber()(fd, request, argument), step);
    },
    /** Sets every signal to its default and unblocks all. */
    resetSignals() {
      for (let number = 1; number < 32; number += 1) if (number !== 9 && number !== 19) signal()(number, 0);
      check(sigprocmask()(2, Buffer.alloc(128), null), 'unblock signals');
    },
    setsid() {
      check(setsid()(), 'setsid');
    },
    /** Replaces this program; returns only on failure, the errno's name. */
    execve(path: string, args: readonly string[], env: readonly string[]): string {
      execve()(path, [...args, null], [...env, null]);
      return new LibcError('', koffi.errno()).code;
    },
    mkfifo(path: string, mode: number) {
      check(mkfifo()(path, mode), `make FIFO "${path}"`);
    },
    /** mknod(2); `mode` carries the type. */
    mknod(path: string, mode: number, major: number, minor: number) {
      const device = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & ~0xff) * 4096);
      check(mknod()(path, mode, device), `make device "${path}"`);
    },
    /** A close-on-exec pipe: [read end, write end]. */
    pipe(): readonly [number, number] {
      const ends = Buffer.alloc(8);
      check(pipe2()(ends, 0x80000), 'pipe');
      return [ends.readInt32LE(0), ends.readInt32LE(4)];
    },
    /**
     * Opens `path` below the directory `root` as if that were "/": no link and no ".." leads out
     * (openat2(2), RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS). undefined when it is not there.
     */
    openInRoot(root: number, path: string, flags: number): number | undefined {
      const how = Buffer.alloc(24);
      how.writeBigUInt64LE(BigInt(flags), 0);
      how.writeBigUInt64LE(0x12n, 16);
      const fd = syscallOpenat2()(OPENAT2, root, path, how, 24);
      if (fd >= 0) return fd;
      const error = new LibcError(`open "${path}" in the root file system`, koffi.errno());
      if (error.code === 'ENOENT') return undefined;
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
    addressOf(buffer: Buffer): bigint {
      return koffi.address(buffer);
    },
    /** Sets the interface "lo" of this network namespace up (netdevice(7)). */
    raiseLoopback() {
      const fd = check(socket()(2, 2 | 0x80000, 0), 'socket');
      const request = Buffer.alloc(40);
      request.write('lo');
      try {
        check(ioctl()(fd, SIOCGIFFLAGS, request), 'read flags of "lo"');
        request.writeInt16LE(request.readInt16LE(16) | 1, 16);
        check(ioctl()(fd, SIOCSIFFLAGS, request), 'raise "lo"');
      } finally {
        close()(fd);
      }
    },
    /** Waits for a child: its exit code, 128 + signal number for a death by signal. */
    waitChild(pid: number): number {
      const status = Buffer.alloc(4);
      while (waitpid()(pid, status, 0) < 0) {
        if (koffi.errno() !== constants.errno.EINTR) throw new LibcError(`wait for ${pid}`, koffi.errno());
      }
      const value = status.readInt32LE(0);
      return (value & 0x7f) === 0 ? (value >> 8) & 0xff : 128 + (value & 0x7f);
    },
    /**
     * posix_spawn(3) with default signals, in a new session; `opens` replaces descriptors by files.
     * Returns the pid, or the errno's name.
     */
    spawn(
      path: string,
      args: readonly string[],
      options: { readonly env: readonly string[]; readonly opens: readonly SpawnOpen[] },
    ): number | string {
      const attributes = Buffer.alloc(1024);
      const actions = Buffer.alloc(1024);
      attrInit()(attributes);
      // SETSIGDEF | SETSIGMASK | SETSID
      attrFlags()(attributes, 0x04 | 0x08 | 0x80);
      attrSigdefault()(attributes, Buffer.alloc(128, 0xff));
      attrSigmask()(attributes, Buffer.alloc(128));
      actionsInit()(actions);
      for (const open of options.opens) actionsOpen()(actions, open.fd, open.path, open.flags, 0);
      const pid = Buffer.alloc(4);
      const errno = spawnp()(pid, path, actions, attributes, [...args, null], [...options.env, null]);
      return errno === 0 ? pid.readInt32LE(0) : new LibcError('', errno).code;
    },
  };
}

export interface SpawnOpen {
  readonly fd: number;
  readonly path: string;
  readonly flags: number;
}

function openLibrary(): LibraryHandle {
  for (const name of LIBC_NAMES) {
    try {
      return koffi.load(name);
    } catch {}
  }
  throw new Error(`Cannot load the C library: none of ${LIBC_NAMES.join(', ')}`);
}

type NativeFunction = (...values: readonly unknown[]) => number;

/** Declares functions on first use, since each declaration costs start-up time. */
function lazily(library: LibraryHandle, declared: (() => NativeFunction)[]) {
  return (name: string, result: string, parameters: readonly string[]) => {
    let native: NativeFunction | undefined;
    const get = (): NativeFunction => {
      native ??= library.func(name, result, [...parameters]) as NativeFunction;
      return native;
    };
    declared.push(get);
    return get;
  };
}
