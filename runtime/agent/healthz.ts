import { createServer, type Server } from 'node:http';

/** Serves "ok" at /healthz over plain HTTP: the kubelet's health port. */
export function serveHealthz(address: string, port: number): Promise<Server> {
  const server = createServer((request, response) => {
    const isKnown = request.url?.split('?')[0] === '/healthz';
    response.writeHead(isKnown ? 200 : 404, { 'content-type': 'text/plain; charset=utf-8' });
    response.end(isKnown ? 'ok' : '404 page not found\n');
  });
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, address, () => resolve(server));
  });
}
