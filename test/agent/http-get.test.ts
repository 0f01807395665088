import { once } from 'node:events';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { HttpGetter } from '../../runtime/agent/http-get.ts';
import { buildSelfSignedCertificate, generateKeyPem } from '../../runtime/agent/tls/x509.ts';

const key = generateKeyPem();
const cert = buildSelfSignedCertificate(
  {
    subject: { commonName: 'pod' },
    names: ['127.0.0.1'],
    notBefore: new Date(0),
    notAfter: new Date(Date.now() + 86_400_000),
  },
  key,
);

/** An HTTPS server that counts its connections, and a GET of it. */
async function start(
  t: { teardown(action: () => void): void },
  respond = (_request: IncomingMessage, response: ServerResponse) => void response.end('ok'),
) {
  const server = createServer({ key, cert }, (request, response) => respond(request, response));
  let connections = 0;
  server.on('secureConnection', () => {
    connections += 1;
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  let nowMs = 0;
  const getter = new HttpGetter(() => nowMs);
  const get = (containerId: string | undefined, headers: readonly { name: string; value: string }[] = []) =>
    getter.get(
      { scheme: 'HTTPS', path: '/healthz', port, httpHeaders: [...headers] },
      {
        container: { name: 'c' } as never,
        podIp: '127.0.0.1',
        timeoutMs: 500,
        userAgent: 'test',
        containerId,
      },
    );
  return {
    server,
    get,
    pass: (ms: number) => {
      nowMs += ms;
    },
    connections: () => connections,
  };
}

t.test('HttpGetter: the HTTPS probes of a container share a connection for ten seconds', async (t) => {
  const { get, pass, connections } = await start(t);
  for (let index = 0; index < 3; index += 1) t.equal((await get('a')).status, 200);
  t.equal(connections(), 1);
  await get('b');
  t.equal(connections(), 2, 'another container has its own');
  pass(9_999);
  await get('a');
  t.equal(connections(), 2);
  pass(1);
  await get('a');
  await get('a');
  t.equal(connections(), 3, 'the first one was too old to be kept once more');
});

t.test('HttpGetter: each other request has a connection of its own', async (t) => {
  const { get, connections } = await start(t);
  await get(undefined);
  await get(undefined);
  t.equal(connections(), 2, 'hooks');
  const headers = [{ name: 'Connection', value: 'close' }];
  await get('a', headers);
  await get('a', headers);
  t.equal(connections(), 4, 'a probe that names the header');
});

t.test('HttpGetter: a kept connection that the server has closed is no failure', async (t) => {
  const { server, get, connections } = await start(t);
  await get('a');
  server.closeAllConnections();
  t.equal((await get('a')).status, 200);
  t.equal(connections(), 2);
  server.closeAllConnections();
  server.close();
  await once(server, 'close');
  await t.rejects(get('a'), { code: 'ECONNREFUSED' });
});

t.test('HttpGetter: a server that does not answer on a kept connection fails in time', async (t) => {
  let isSilent = false;
  let requests = 0;
  const { get, connections } = await start(t, (_request, response) => {
    requests += 1;
    if (!isSilent) response.end('ok');
  });
  await get('a');
  isSilent = true;
  await t.rejects(get('a'), /context deadline exceeded/);
  t.same([requests, connections()], [2, 1], 'asked once');
  isSilent = false;
  await get('a');
  t.equal(connections(), 2, 'and the next one asks anew');
});
