import { execFileSync } from 'node:child_process';
import { createPublicKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import { appendFileSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import type { ConfigMap } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { type CaPair, createCa, issueCertificate, validityFrom } from '../../../../pki/issue.ts';
import { isApiError } from '../../../../runtime/api/api-error.ts';
import { ApiClient } from '../../../../runtime/api/client.ts';
import { Informer } from '../../../../runtime/api/informer.ts';
import { CONFIG_MAPS, SERVICE_ACCOUNTS } from '../../../../runtime/api/kinds.ts';
import { sleep, waitFor } from '../../../../runtime/base/time.ts';
import { startTestServer } from './test-server.ts';

const HOUR_MS = 3_600_000;
const NAMESPACE = 'kube-system';

const period = () => validityFrom(new Date(), HOUR_MS);

const newCa = (commonName: string) => createCa({ ...period(), commonName, algorithm: 'ECDSA-P256' });

const newServing = (ca: CaPair) =>
  issueCertificate({
    ...period(),
    spec: { commonName: 'kube-apiserver', organizations: [], usages: ['server auth'] },
    subjectAltNames: { dnsNames: ['localhost'], ipAddresses: ['127.0.0.1'] },
    ca,
    algorithm: 'ECDSA-P256',
  });

const newClient = (ca: CaPair) =>
  issueCertificate({
    ...period(),
    spec: { commonName: 'new-admin', organizations: ['system:masters'], usages: ['client auth'] },
    ca,
    algorithm: 'ECDSA-P256',
  });

/** As `tkadm certs renew` and most other tools write: a temporary file, then rename(2). */
function replace(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

/** Serial number of the certificate that a new connection is shown. */
function servedSerial(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      const serial = socket.getPeerX509Certificate()?.serialNumber ?? '';
      socket.destroy();
      resolve(serial);
    });
    socket.on('error', reject);
  });
}

const has = (informer: Informer<ConfigMap>, name: string) =>
  informer.get(`${NAMESPACE}/${name}`) ? true : undefined;

const soon = (subject: string, probe: () => Promise<true | undefined>) =>
  waitFor(probe, { subject, timeoutMs: 20_000, intervalMs: 50 });

t.test('kube-apiserver takes renewed files while it serves', async (t) => {
  const server = await startTestServer(t);
  const file = (name: string) => join(server.directory, name);
  const read = (name: string) => readFileSync(file(name), 'utf8');
  const admin = await server.client('admin');
  const ca = { certPem: read('ca.crt'), keyPem: read('ca.key') };

  const seen: string[] = [];
  const end = new AbortController();
  const watching = (async () => {
    for await (const event of admin.watch(CONFIG_MAPS, { namespace: NAMESPACE, signal: end.signal })) {
      if (event.type === 'ADDED') seen.push(event.object.metadata?.name ?? '');
    }
    return 'ended';
  })();
  const sees = async (name: string) => {
    await admin.create(CONFIG_MAPS, { metadata: { name, namespace: NAMESPACE } });
    await soon(`"${name}" in the watch`, async () => seen.includes(name) || undefined);
  };
  await sees('before');

  await t.test('a half-written pair is not taken, a whole one is', async (t) => {
    const before = await servedSerial(server.port);
    const next = await newServing(ca);
    replace(file('apiserver.crt'), next.certPem);
    await sleep(1_000);
    t.equal(await servedSerial(server.port), before, 'the certificate without its key');
    writeFileSync(file('apiserver.key'), next.keyPem.slice(0, 100));
    await sleep(1_000);
    t.equal(await servedSerial(server.port), before, 'with a part of its key');
    writeFileSync(file('apiserver.key'), next.keyPem);
    const { serialNumber } = new X509Certificate(next.certPem);
    await soon('the new serial', async () => (await servedSerial(server.port)) === serialNumber || undefined);
    const shown = execFileSync(
      'sh',
      [
        '-c',
        `openssl s_client -connect 127.0.0.1:${server.port} </dev/null 2>/dev/null | openssl x509 -noout -serial`,
      ],
      { encoding: 'utf8' },
    );
    t.equal(shown.trim(), `serial=${serialNumber}`);
    await sees('renewed');
  });

  await t.test(
    'a client certificate of a CA that was added is accepted, and of one that is gone no more',
    async (t) => {
      const added = await newCa('added');
      const pair = await newClient(added);
      const client = new ApiClient({
        server: `https://127.0.0.1:${server.port}`,
        caPem: ca.certPem,
        certPem: pair.certPem,
        keyPem: pair.keyPem,
      });
      t.teardown(() => client.close());
      const isLetIn = () =>
        client.list(CONFIG_MAPS, { namespace: NAMESPACE }).then(
          () => true,
          (error) => {
            if (isApiError(error) && error.httpStatus === 401) return false;
            throw error;
          },
        );
      t.equal(await isLetIn(), false);
      appendFileSync(file('ca.crt'), added.certPem);
      await soon('the new CA', async () => (await isLetIn()) || undefined);
      const published = await soon('extension servers are told', async () => {
        const map = await admin.get(CONFIG_MAPS, {
          name: 'extension-apiserver-authentication',
          namespace: NAMESPACE,
        });
        return map.data?.['client-ca-file']?.includes(added.certPem.trim()) || undefined;
      });
      t.ok(published);
      replace(file('ca.crt'), ca.certPem);
      await soon('the CA to be gone', async () => !(await isLetIn()) || undefined);
      await sees('after-ca');
    },
  );

  await t.test('tokens of a new signing key and of the old one are both accepted', async (t) => {
    await admin.create(SERVICE_ACCOUNTS, { metadata: { name: 'a', namespace: NAMESPACE } });
    const path = `/api/v1/namespaces/${NAMESPACE}/serviceaccounts/a/token`;
    const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec: {} };
    const newToken = async () =>
      (await admin.requestJson<{ status: { token: string } }>('POST', path, { body })).status.token;
    const keyId = (token: string) =>
      JSON.parse(Buffer.from(token.split('.')[0]!, 'base64url').toString()).kid;
    const isAccepted = async (token: string) => {
      const review = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenReview', spec: { token } };
      const answer = await admin.requestJson<{ status: { authenticated?: boolean } }>(
        'POST',
        '/apis/authentication.k8s.io/v1/tokenreviews',
        { body: review },
      );
      return answer.status.authenticated ?? false;
    };
    const old = await newToken();
    const oldPublicPem = read('sa.pub');
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    const keyPem = privateKey.export({ type: 'pkcs8', format: 'pem' }) as string;
    const publicPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' }) as string;
    replace(file('sa.key'), keyPem);
    await sleep(1_000);
    t.equal(keyId(await newToken()), keyId(old), 'a key that nobody could verify does not sign');
    replace(file('sa.pub'), publicPem);
    await soon('the new key', async () => keyId(await newToken()) !== keyId(old) || undefined);
    t.equal(await isAccepted(await newToken()), true);
    t.equal(await isAccepted(old), false, 'the old public key is no longer among the files');
    replace(file('sa.pub'), publicPem + oldPublicPem);
    await soon('both keys of the file', async () => (await isAccepted(old)) || undefined);
    t.equal(await isAccepted(await newToken()), true);
  });

  await t.test('a client that takes new credentials goes on with its watch', async (t) => {
    const pair = await newClient(ca);
    const config = { server: `https://127.0.0.1:${server.port}`, caPem: ca.certPem };
    const client = new ApiClient({ ...config, certPem: read('jane.crt'), keyPem: read('jane.key') });
    client.reconfigure({ ...config, certPem: read('admin.crt'), keyPem: read('admin.key') });
    const stop = new AbortController();
    t.teardown(() => {
      stop.abort();
      client.close();
    });
    const informer = new Informer(client, CONFIG_MAPS, { namespace: NAMESPACE, signal: stop.signal });
    await informer.synced();
    const whoAmI = async () => {
      const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' };
      const path = '/apis/authentication.k8s.io/v1/selfsubjectreviews';
      const answer = await client.requestJson<{ status: { userInfo: { username: string } } }>('POST', path, {
        body,
      });
      return answer.status.userInfo.username;
    };
    t.equal(await whoAmI(), 'kubernetes-admin');
    client.reconfigure({ ...config, certPem: pair.certPem, keyPem: pair.keyPem }, 300);
    t.equal(await whoAmI(), 'new-admin', 'the connection that was kept alive is not used again');
    await admin.create(CONFIG_MAPS, { metadata: { name: 'during', namespace: NAMESPACE } });
    await soon('an event over the old connection', async () => has(informer, 'during'));
    await sleep(600);
    await admin.create(CONFIG_MAPS, { metadata: { name: 'afterwards', namespace: NAMESPACE } });
    await soon('an event over the new one', async () => has(informer, 'afterwards'));
  });

  await sees('last');
  end.abort();
  t.equal(await watching, 'ended');
  t.same(seen.filter((name) => ['before', 'renewed', 'after-ca', 'last'].includes(name)).length, 4);
});
