import { createServer, type Socket } from 'node:net';
import type { ClientConfig } from '../../runtime/api/kubeconfig.ts';
import { connectSsh } from '../ssh/connection.ts';
import type { Member } from './member.ts';

/** A name that the certificate of every API server has, whatever its addresses are. */
const SERVER_NAME = 'kubernetes.default.svc';

export interface Tunnel {
  /** The same user of the same API server, through the tunnel. */
  readonly config: ClientConfig;
  readonly close: () => void;
}

/**
 * A way to the API server through the SSH connection to a machine that reaches it (`direct-tcpip`, RFC 4254 §7.2).
 * @throws SSH_CONNECT, SSH_HOST_KEY, SSH_AUTHENTICATION
 */
export async function openTunnel({ target, settings }: Member, config: ClientConfig): Promise<Tunnel> {
  const { hostname, port } = new URL(config.server);
  const connection = await connectSsh(target, settings);
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => socket.destroy());
    connection.forward(hostname.replace(/^\[|\]$/g, ''), Number(port || 443)).then(
      (channel) => {
        channel.on('error', () => socket.destroy());
        channel.on('close', () => socket.destroy());
        socket.on('close', () => channel.close());
        socket.pipe(channel).pipe(socket);
      },
      () => socket.destroy(),
    );
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  const localPort = typeof address === 'object' ? address?.port : undefined;
  return {
    config: { ...config, server: `https://127.0.0.1:${localPort}`, tlsServerName: SERVER_NAME },
    close: () => {
      server.close();
      for (const socket of sockets) socket.destroy();
      connection.close();
    },
  };
}
