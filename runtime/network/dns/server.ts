import { createSocket, type Socket } from 'node:dgram';
import { createServer as createHttpServer, type Server as HttpServer } from 'node:http';
import { createServer, type Server } from 'node:net';
import type { Resolver } from './resolver.ts';

/** Serves DNS over UDP and TCP on all addresses; the returned function ends it. */
export async function startDnsServer(resolver: Resolver, port: number, address = '::'): Promise<() => void> {
  const isV6 = address.includes(':');
  const udp = createSocket({ type: isV6 ? 'udp6' : 'udp4', recvBufferSize: 1 << 20 });
  udp.on('message', (message, peer) => {
    void resolver.answer(message, false).then((answer) => {
      if (answer) udp.send(answer, peer.port, peer.address);
    });
  });
  const tcp = createServer((socket) => {
    let received = Buffer.alloc(0);
    socket.setTimeout(10_000, () => socket.destroy());
    socket.on('error', () => socket.destroy());
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const message = received.subarray(2, 2 + received.readUInt16BE(0));
        received = received.subarray(2 + message.length);
        void resolver.answer(message, true).then((answer) => {
          if (!answer) return socket.destroy();
          const length = Buffer.alloc(2);
          length.writeUInt16BE(answer.length);
          socket.write(Buffer.concat([length, answer]));
        });
      }
    });
  });
  await Promise.all([bindUdp(udp, port, address), listenTcp(tcp, port, address)]);
  return () => {
    udp.close();
    tcp.close();
  };
}

/** Serves GET on one path: 200 when `probe` says so, else 503. */
export function startProbeServer(
  { port, host, path }: { readonly port: number; readonly host?: string; readonly path: string },
  probe: () => boolean | string,
): HttpServer {
  const server = createHttpServer((request, response) => {
    const result = request.url === path ? probe() : undefined;
    response.writeHead(result === undefined ? 404 : result === false ? 503 : 200, {
      'content-type': 'text/plain',
    });
    response.end(typeof result === 'string' ? result : 'OK');
  });
  server.listen(port, host);
  return server;
}

function bindUdp(socket: Socket, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    socket.once('error', reject);
    socket.bind(port, address, () => {
      socket.off('error', reject);
      socket.on('error', () => {});
      resolve();
    });
  });
}

function listenTcp(server: Server, port: number, address: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => resolve());
  });
}
