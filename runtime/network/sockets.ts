import { closeSync, openSync } from 'node:fs';
import { type Declare, lastErrno, type NativeFunction, openCLibrary } from '../base/c-library.ts';
import { errnoName } from '../base/errno.ts';
import { TkadmError } from '../base/errors.ts';

const CLONE_NEWNET = 0x40000000;
const SOCK_CLOEXEC = 0o2000000;

/** The first arguments of socket(2). */
export interface SocketKind {
  readonly family: number;
  readonly type: number;
  readonly protocol: number;
}

/**
 * Opens a close-on-exec socket and returns its descriptor; with `netnsPath` in that network namespace. Only this
 * thread is moved, for the moment of socket(2): a socket stays where it was made (network_namespaces(7)).
 * @throws NETWORK_COMMAND
 */
export function openSocket({ family, type, protocol }: SocketKind, netnsPath?: string): number {
  const declare = openCLibrary();
  const socket = declare('socket', 'int', ['int', 'int', 'int']);
  const open = (): number => {
    const fd = socket()(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0) throw failure('open socket');
    return fd;
  };
  return netnsPath === undefined ? open() : inNamespace(declare, netnsPath, open);
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

function inNamespace<T>(declare: Declare, path: string, action: () => T): T {
  const setns = declare('setns', 'int', ['int', 'int']);
  const other = openNamespace(path);
  const own = openNamespace('/proc/self/ns/net');
  try {
    if (setns()(other, CLONE_NEWNET) < 0) throw failure(`enter "${path}"`);
    try {
      return action();
    } finally {
      leave(setns, own);
    }
  } finally {
    closeSync(own);
    closeSync(other);
  }
}

/** Going on in the other namespace would put this process's own sockets there. */
function leave(setns: () => NativeFunction, own: number): void {
  if (setns()(own, CLONE_NEWNET) < 0) throw new Error('the way back to the own network is lost');
}

function failure(step: string): TkadmError {
  return new TkadmError('NETWORK_COMMAND', `Cannot ${step}: ${errnoName(lastErrno())}`);
}
