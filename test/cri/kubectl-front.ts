import { createServer } from 'node:http';
import { type AddressInfo, connect } from 'node:net';
import type { Duplex } from 'node:stream';
import { execa } from 'execa';

export interface KubectlFront {
  run(
    args: readonly string[],
    options?: { readonly input?: string; readonly env?: Record<string, string>; readonly timeoutMs?: number },
  ): Promise<{
    readonly exitCode: number | undefined;
    readonly stdout: string;
    readonly stderr: string;
  }>;
  readonly baseArgs: readonly string[];
  close(): void;
}

const RESOURCES: Readonly<Record<string, object>> = {
  '/api': { kind: 'APIVersions', versions: ['v1'] },
  '/apis': { kind: 'APIGroupList', apiVersion: 'v1', groups: [] },
  '/api/v1': {
    kind: 'APIResourceList',
    groupVersion: 'v1',
    resources: [{ name: 'pods', singularName: 'pod', namespaced: true, kind: 'Pod', verbs: ['get'] }],
  },
  '/api/v1/namespaces/default/pods/p': {
    kind: 'Pod',
    apiVersion: 'v1',
    metadata: { name: 'p', namespace: 'default' },
    spec: { containers: [{ name: 'c', image: 'x', tty: false, stdin: true }] },
    status: { phase: 'Running' },
  },
};

/**
 * As much of an API server as kubectl needs to reach a streaming URL: it answers for one Pod and joins an
 * upgraded connection with the URL that `resolve` gives for exec, attach or portforward.
 */
export async function openKubectlFront(
  directory: string,
  resolve: (kind: string, query: URLSearchParams) => Promise<string>,
): Promise<KubectlFront> {
  const sockets = new Set<Duplex>();
  const server = createServer((request, response) => {
    const body = RESOURCES[(request.url ?? '').split('?', 1)[0]!];
    response.writeHead(body ? 200 : 404, { 'content-type': 'application/json' });
    response.end(JSON.stringify(body ?? { kind: 'Status', status: 'Failure', code: 404 }));
  });
  server.on('upgrade', (request, socket, head) => {
    const url = new URL(request.url ?? '', 'http://x');
    sockets.add(socket);
    socket.on('error', () => {});
    resolve(url.pathname.split('/').at(-1)!, url.searchParams).then(
      (target) => {
        const { hostname, port, pathname } = new URL(target);
        const upstream = connect(Number(port), hostname);
        sockets.add(upstream);
        upstream.on('error', () => socket.destroy());
        const headers = request.rawHeaders.reduce(
          (text, value, index) => text + (index % 2 === 0 ? `${value}: ` : `${value}\r\n`),
          '',
        );
        upstream.write(`${request.method} ${pathname} HTTP/1.1\r\n${headers}\r\n`);
        upstream.write(head);
        socket.pipe(upstream).pipe(socket);
      },
      () => socket.destroy(),
    );
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const { port } = server.address() as AddressInfo;
  const baseArgs = [
    '--server',
    `http://127.0.0.1:${port}`,
    '--cache-dir',
    `${directory}/kubectl`,
    '--kubeconfig',
    '/dev/null',
  ];
  return {
    baseArgs,
    async run(args, options = {}) {
      const result = await execa('kubectl', [...baseArgs, ...args], {
        reject: false,
        timeout: options.timeoutMs ?? 20_000,
        ...(options.input === undefined ? { stdin: 'ignore' as const } : { input: options.input }),
        env: options.env ?? {},
      });
      return { exitCode: result.exitCode, stdout: String(result.stdout), stderr: String(result.stderr) };
    },
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
      server.closeAllConnections();
    },
  };
}
