import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { Socket } from 'node:net';
import koffi from 'koffi';

const AF = { ipv4: 2, ipv6: 10 } as const;
/** SOCK_STREAM | SOCK_CLOEXEC */
const SOCKET_TYPE = 1 | 0o2000000;
const CLONE_NEWNET = 0x40000000;

/** Opens sockets inside another network namespace, without a helper process. */
export interface NetnsDialer {
  /**
   * Connects to a port of "localhost" in the namespace at `netnsPath`, IPv4 first.
   * @throws the connection's system error.
   */
  dialLocalhost(netnsPath: string, port: number): Promise<Socket>;
}

/**
 * The dialer changes this thread's namespace for the moment of socket(2) alone: a socket stays in the namespace
 * in which it was made (network_namespaces(7)).
 */
export function createNetnsDialer(): NetnsDialer {
  const library = koffi.load('libc.so.6');
  const setns = library.func('setns', 'int', ['int', 'int']);
  const socket = library.func('socket', 'int', ['int', 'int', 'int']);

  const openSocket = (netnsPath: string, family: number): number => {
    const own = openSync('/proc/self/ns/net', 'r');
    const other = openSync(netnsPath, 'r');
    try {
      if (setns(other, CLONE_NEWNET) < 0)
        throw new Error(`Cannot enter "${netnsPath}": errno ${koffi.errno()}`);
      const fd = socket(family, SOCKET_TYPE, 0) as number;
      const errno = koffi.errno();
      // Going on in the pod's namespace would put this process's own sockets there.
      if (setns(own, CLONE_NEWNET) < 0) throw new Error('the way back to the host network is lost');
      if (fd < 0) throw new Error(`Cannot open socket: errno ${errno}`);
      return fd;
    } finally {
      closeSync(own);
      closeSync(other);
    }
  };

  const dial = async (netnsPath: string, port: number, family: keyof typeof AF): Promise<Socket> => {
    const connection = new Socket({ fd: openSocket(netnsPath, AF[family]), allowHalfOpen: true });
    try {
      connection.connect(port, family === 'ipv4' ? '127.0.0.1' : '::1');
      await once(connection, 'connect');
      return connection;
    } catch (error) {
      connection.destroy();
      throw error;
    }
  };

  return {
    async dialLocalhost(netnsPath, port) {
      try {
        return await dial(netnsPath, port, 'ipv4');
      } catch (error) {
        return dial(netnsPath, port, 'ipv6').catch(() => {
          throw error;
        });
      }
    },
  };
}
