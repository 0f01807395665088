import { once } from 'node:events';
import { Socket } from 'node:net';
import { openSocket } from '../../network/sockets.ts';

const AF = { ipv4: 2, ipv6: 10 } as const;
/** SOCK_STREAM */
const STREAM = { type: 1, protocol: 0 } as const;

/** Opens sockets inside another network namespace, without a helper process. */
export interface NetnsDialer {
  /**
   * Connects to a port of "localhost" in the namespace at `netnsPath`, IPv4 first.
   * @throws the connection's system error.
   */
  dialLocalhost(netnsPath: string, port: number): Promise<Socket>;
}

export function createNetnsDialer(): NetnsDialer {
  const dial = async (netnsPath: string, port: number, family: keyof typeof AF): Promise<Socket> => {
    const connection = new Socket({
      fd: openSocket({ family: AF[family], ...STREAM }, netnsPath),
      allowHalfOpen: true,
    });
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
