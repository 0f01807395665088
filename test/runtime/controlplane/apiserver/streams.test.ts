import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { IncomingMessage } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo, Socket } from 'node:net';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t, { type Test } from 'tap';
import { NODES, PODS, SERVICE_ACCOUNTS } from '../../../../runtime/api/kinds.ts';
import { refused, startTestServer, type TestServer } from './test-server.ts';

// The kubelet's end here answers what it was asked and echoes upgraded connections: what is under test is
// that requests arrive as a kubelet expects them and that no byte is lost in between.
t.test('streams go on to the kubelet', async (t) => {
  const server = await startTestServer(t);
  const kubelet = await startKubelet(t, server);
  const client = await server.client('admin');
  await client.create(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace: 'default' } });
  await client.create(NODES, {
    metadata: { name: 'node-a' },
    status: {
      addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
      daemonEndpoints: { kubeletEndpoint: { Port: kubelet.port } },
    },
  });
  await client.create(PODS, {
    metadata: { name: 'p', namespace: 'default' },
    spec: { nodeName: 'node-a', containers: [{ name: 'c', image: 'i' }] },
  });
  const pod = '/api/v1/namespaces/default/pods/p';

  t.test('logs are passed as they come', async (t) => {
    const text = await client.requestText('GET', `${pod}/log?follow=true&tailLines=5&container=c`);
    t.equal(text, 'GET /containerLogs/default/p/c?follow=true&tailLines=5 as kubernetes-admin\n');
  });

  t.test("a kubelet's refusal is a Status", async (t) => {
    t.match(await refused(t, client.requestText('GET', `${pod}/log?sinceSeconds=666`)), {
      httpStatus: 400,
      status: { reason: 'BadRequest', message: 'container "c" in pod "p" is waiting to start' },
    });
    t.match(await refused(t, client.requestText('GET', `${pod}/log?container=other`)), { httpStatus: 400 });
  });

  t.test('nodes/proxy passes method, path and body', async (t) => {
    const text = await client.requestText('POST', '/api/v1/nodes/node-a/proxy/some/path?a=b', {
      body: 'payload',
    });
    t.equal(text, 'POST /some/path?a=b as kubernetes-admin\npayload');
  });

  for (const [title, method, upgrade] of [
    ['exec over WebSocket', 'GET', 'websocket'],
    ['exec over SPDY', 'POST', 'SPDY/3.1'],
  ] as const) {
    t.test(`${title} is joined byte for byte`, async (t) => {
      const path = `${pod}/exec?command=echo&command=a%20b&stdin=true&stdout=true&container=c`;
      const answer = await upgraded(server, { method, path, upgrade, payload: 'hello '.repeat(20_000) });
      t.match(answer.head, /^HTTP\/1.1 101 /);
      t.match(
        answer.head,
        new RegExp(`x-asked: ${method} /exec/default/p/c\\?input=1&output=1&command=echo&command=a\\+b`),
      );
      t.equal(answer.body, 'hello '.repeat(20_000));
    });
  }

  t.test('an exec that the kubelet refuses is a Status', async (t) => {
    const path = `${pod}/exec?command=refuse&container=c`;
    const answer = await upgraded(server, { method: 'GET', path, upgrade: 'websocket', payload: '' });
    t.match(answer.head, /^HTTP\/1.1 404 /);
    t.match(JSON.parse(answer.body), { kind: 'Status', reason: 'NotFound', message: 'container not found' });
  });

  t.test('nobody unauthorized gets through', async (t) => {
    const jane = await server.client('jane');
    t.match(await refused(t, jane.requestText('GET', `${pod}/log`)), { httpStatus: 403 });
  });
});

async function startKubelet(t: Test, server: TestServer): Promise<{ readonly port: number }> {
  const read = (name: string) => readFile(join(server.directory, name));
  const [cert, key, ca] = await Promise.all([read('apiserver.crt'), read('apiserver.key'), read('ca.crt')]);
  const kubelet = createServer(
    { cert, key, ca, requestCert: true, rejectUnauthorized: true },
    async (request, response) => {
      if (request.url?.includes('666')) {
        response.writeHead(400);
        response.end('container "c" in pod "p" is waiting to start');
        return;
      }
      response.write(`${request.method} ${request.url} as ${commonNameOf(request)}\n`);
      for await (const chunk of request) response.write(chunk);
      response.end();
    },
  );
  kubelet.on('upgrade', (request, socket, head) => {
    if (request.url?.includes('refuse')) {
      const body = 'container not found';
      socket.end(
        `HTTP/1.1 404 Not Found\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n${body}`,
      );
      return;
    }
    socket.write(
      `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\n` +
        `x-asked: ${request.method} ${request.url}\r\n\r\n`,
    );
    socket.write(head);
    socket.pipe(socket);
  });
  kubelet.listen(0, '127.0.0.1');
  await once(kubelet, 'listening');
  t.teardown(() => {
    kubelet.closeAllConnections();
    kubelet.close();
  });
  return { port: (kubelet.address() as AddressInfo).port };
}

function commonNameOf(request: IncomingMessage): string {
  const socket = request.socket as Socket & { getPeerCertificate(): { subject: { CN: string } } };
  return socket.getPeerCertificate().subject.CN;
}

async function upgraded(
  server: TestServer,
  request: {
    readonly method: string;
    readonly path: string;
    readonly upgrade: string;
    readonly payload: string;
  },
): Promise<{ readonly head: string; readonly body: string }> {
  const read = (name: string) => readFile(join(server.directory, name));
  const [cert, key, ca] = await Promise.all([read('admin.crt'), read('admin.key'), read('ca.crt')]);
  const socket = connect({ host: '127.0.0.1', port: server.port, cert, key, ca });
  socket.write(
    `${request.method} ${request.path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n` +
      `Upgrade: ${request.upgrade}\r\nSec-WebSocket-Protocol: v5.channel.k8s.io\r\n\r\n${request.payload}`,
  );
  let text = '';
  for await (const chunk of socket) {
    text += chunk;
    const at = text.indexOf('\r\n\r\n');
    if (at < 0) continue;
    const body = text.slice(at + 4);
    if (text.startsWith('HTTP/1.1 101') && body.length >= request.payload.length) break;
  }
  socket.destroy();
  const end = text.indexOf('\r\n\r\n');
  return { head: text.slice(0, end), body: text.slice(end + 4) };
}
