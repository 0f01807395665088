import { once } from 'node:events';
import { Agent, createServer, request } from 'node:https';
import type { AddressInfo } from 'node:net';
import t from 'tap';
import { createCa, issueCertificate, validityFrom } from '../../../../pki/issue.ts';
import { Identity } from '../../../../runtime/controlplane/apiserver/identity.ts';
import { createAuthenticator } from '../../../../runtime/controlplane/auth/authenticator.ts';
import { MemoryReader } from '../memory-reader.ts';

const DAY_MS = 24 * 3_600_000;
const ALGORITHM = 'ECDSA-P256';

t.test('Identity refuses a certificate that expires while its connection is open', async (t) => {
  let now = new Date();
  const authorities = { ...validityFrom(now, 10 * DAY_MS), algorithm: ALGORITHM } as const;
  const ca = await createCa({ ...authorities, commonName: 'ca' });
  const issue = (commonName: string, usage: 'client auth' | 'server auth', days: number) =>
    issueCertificate({
      ...validityFrom(now, days * DAY_MS),
      algorithm: ALGORITHM,
      ca,
      spec: { commonName, organizations: [], usages: [usage] },
      subjectAltNames: { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] },
    });
  const [serving, jane] = [await issue('server', 'server auth', 9), await issue('jane', 'client auth', 2)];
  const identity = new Identity({
    authenticator: createAuthenticator({
      clientCaPem: ca.certPem,
      reader: new MemoryReader(),
      isAnonymousAllowed: false,
      now: () => now,
    }),
    authorizer: { authorize: () => ({ isAllowed: false, reason: '' }) },
    impersonate: async ({ user }) => user,
    now: () => now,
  });
  const sockets = new Set<unknown>();
  const server = createServer(
    {
      cert: serving.certPem,
      key: serving.keyPem,
      ca: ca.certPem,
      requestCert: true,
      rejectUnauthorized: false,
    },
    (incoming, response) => {
      sockets.add(incoming.socket);
      identity.identify(incoming).then(
        (user) => response.end(user.name),
        (error: { status?: { reason?: string } }) => response.end(error.status?.reason),
      );
    },
  ).listen(0, '127.0.0.1');
  const agent = new Agent({ keepAlive: true, ca: ca.certPem, cert: jane.certPem, key: jane.keyPem });
  t.teardown(() => {
    agent.destroy();
    server.close();
  });
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const ask = async (path = '/api', by = agent) => {
    const call = request({ host: '127.0.0.1', port, agent: by, path }).end();
    const [answer] = await once(call, 'response');
    return (await answer.setEncoding('utf8').toArray()).join('');
  };
  t.equal(await ask(), 'jane');
  t.equal(await ask(), 'jane');
  now = new Date(now.getTime() + 3 * DAY_MS);
  t.equal(await ask(), 'Unauthorized');
  t.equal(sockets.size, 1, 'all on one connection');

  // The probes of the server's own pod, where anonymous requests are not allowed.
  const nobody = new Agent({ keepAlive: true, ca: ca.certPem });
  t.teardown(() => nobody.destroy());
  for (const path of ['/livez', '/readyz?verbose', '/healthz/etcd']) {
    t.equal(await ask(path, nobody), 'system:anonymous', path);
    t.equal(await ask('/api', nobody), 'Unauthorized', 'the next request on the same connection');
  }
  t.equal(await ask('/livezz', nobody), 'Unauthorized');
  t.equal(sockets.size, 2);
});
