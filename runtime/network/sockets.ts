import { closeSync, openSync } from 'node:fs';
import koffi, { type LibraryHandle } from 'koffi';
import { TkadmError } from '../base/errors.ts';

const CLONE_NEWNET = 0x40000000;
const SOCK_CLOEXEC = 0o2000000;
/** glibc, then musl. */
const LIBC_NAMES = ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1'] as const;

/** The first arguments of socket(2). */
export interface SocketKind {
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
}

type Native = ((...values: readonly unknown[]) => number | bigint) & {
  readonly async: (...values: readonly unknown[]) => void;
};

/** What Node.js does not offer of the C library's sockets. */
export interface SocketCalls {
  readonly socket: Native;
  readonly setns: Native;
  readonly setsockopt: Native;
  readonly send: Native;
  readonly recv: Native;
}

// Declaring a function costs more than a call of it, and a declaration has no state.
let declared: SocketCalls | undefined;

/** The calls, declared on first use. @throws Error when there is no C library to load. */
export function socketCalls(): SocketCalls {
  declared ??= declare(openLibrary());
  return declared;
}

/**
 * Opens a close-on-exec socket and returns its descriptor; with `netnsPath` in that network namespace. Only this
 * thread is moved, for the moment of socket(2): a socket stays where it was made (network_namespaces(7)).
 * @throws NETWORK_COMMAND
 */
export function openSocket({ family, type, protocol }: SocketKind, netnsPath?: string): number {
  const { socket } = socketCalls();
  const open = (): number => {
    const fd = Number(socket(family, type | SOCK_CLOEXEC, protocol));
    if (fd < 0) throw new TkadmError('NETWORK_COMMAND', `Cannot open socket: errno ${koffi.errno()}`);
    return fd;
  };
  return netnsPath === undefined ? open() : inNamespace(netnsPath, open);
}

/** Descriptor of the network namespace at `path`; the caller closes it. @throws NETWORK_COMMAND */
export function openNamespace(path: string): number {
  try {
    return openSync(path, 'r');
  } catch (error) {
    const state = (error as NodeJS.ErrnoException).code;
    throw new TkadmError('NETWORK_COMMAND', `Cannot open network namespace "${path}": ${state}`, {
      cause: error,
    });
  }
}

function inNamespace<T>(path: string, action: () => T): T {
  const { setns } = socketCalls();
  const other = openNamespace(path);
  const own = openNamespace('/proc/self/ns/net');
  try {
    if (Number(setns(other, CLONE_NEWNET)) < 0) {
      throw new TkadmError('NETWORK_COMMAND', `Cannot enter "${path}": errno ${koffi.errno()}`);
    }
    try {
      return action();
    } finally {
      leave(own);
    }
  } finally {
    closeSync(own);
    closeSync(other);
  }
}

/** Going on in the other namespace would put this process's own sockets there. */
function leave(own: number): void {
  if (Number(socketCalls().setns(own, CLONE_NEWNET)) < 0) {
    throw new Error('the way back to the own network is lost');
  }
}

function declare(library: LibraryHandle): SocketCalls {
  const native = (text: string) => library.func(text) as unknown as Native;
  return {
    socket: native('int socket(int, int, int)'),
    setns: native('int setns(int, int)'),
    setsockopt: native('int setsockopt(int, int, int, void *, uint32_t)'),
    send: native('int64_t send(int, void *, size_t, int)'),
    recv: native('int64_t recv(int, void *, size_t, int)'),
  };
}

function openLibrary(): LibraryHandle {
  for (const name of LIBC_NAMES) {
    try {
      return koffi.load(name);
    } catch {}
  }
  throw new Error(`Cannot load the C library: none of ${LIBC_NAMES.join(', ')}`);
}
