import { execFileSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { ensureKubeconfig, rotateClientCertificate } from '../../runtime/agent/tls/client-certificate.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { CERTIFICATE_SIGNING_REQUESTS, NODES } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { checkKeyPair } from '../../runtime/base/key-pair.ts';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { startTestServer, type TestServer } from '../runtime/controlplane/apiserver/test-server.ts';

/** What the certificate controllers do: approve every pending request and sign it. */
async function signNext(client: ApiClient, server: TestServer, name: string): Promise<void> {
  const request = await waitFor(
    async () =>
      (await client.list(CERTIFICATE_SIGNING_REQUESTS)).items.find(({ status }) => !status?.certificate),
    { subject: 'a certificate request', timeoutMs: 10_000, intervalMs: 50 },
  );
  const file = join(server.directory, name);
  writeFileSync(`${file}.csr`, Buffer.from(request.spec.request, 'base64'));
  writeFileSync(`${file}.ext`, 'extendedKeyUsage=clientAuth\n');
  execFileSync('openssl', ['req', '-in', `${file}.csr`, '-noout', '-verify'], { stdio: 'pipe' });
  const ca = ['-CA', `${server.directory}/ca.crt`, '-CAkey', `${server.directory}/ca.key`, '-CAcreateserial'];
  execFileSync(
    'openssl',
    [
      'x509',
      '-req',
      '-in',
      `${file}.csr`,
      ...ca,
      '-days',
      '1',
      '-extfile',
      `${file}.ext`,
      '-out',
      `${file}.crt`,
    ],
    { stdio: 'pipe' },
  );
  const approval = { type: 'Approved', status: 'True' as const, reason: 'Test', message: 'approved' };
  const approved = await client.update(
    CERTIFICATE_SIGNING_REQUESTS,
    { ...request, status: { conditions: [approval] } },
    'approval',
  );
  const certificate = readFileSync(`${file}.crt`).toString('base64');
  await client.update(
    CERTIFICATE_SIGNING_REQUESTS,
    { ...approved, status: { ...approved.status, certificate } },
    'status',
  );
}

t.test('ensureKubeconfig() and rotateClientCertificate() against an API server', async (t) => {
  const server = await startTestServer(t);
  const client = await server.client('admin');
  const certDir = join(t.testdir(), 'pki');
  mkdirSync(certDir);
  const kubeconfig = join(t.testdirName, 'kubelet.conf');
  const controller = new AbortController();
  let now = Date.now();
  const options = {
    nodeName: 'node-a',
    certDir,
    kubeconfig,
    now: () => new Date(now),
    log: SILENT_LOGGER,
    signal: controller.signal,
  };
  const made = ensureKubeconfig({ ...options, bootstrapKubeconfig: server.kubeconfig });
  await signNext(client, server, 'first');
  await made;

  const link = join(certDir, 'kubelet-client-current.pem');
  t.match(readlinkSync(link), /kubelet-client-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d\.pem$/);
  const pem = readFileSync(link, 'utf8');
  t.doesNotThrow(() => checkKeyPair(pem, pem));
  t.match(new X509Certificate(readFileSync(link)).subject, 'CN=system:node:node-a');
  const node = new ApiClient(await loadClientConfig(kubeconfig));
  t.teardown(() => node.close());
  await node.create(NODES, { metadata: { name: 'node-a' } });
  t.ok(await client.find(NODES, { name: 'node-a' }), 'the certificate speaks for the node');

  await ensureKubeconfig({ ...options, bootstrapKubeconfig: '/nowhere' });
  t.pass('a usable kubeconfig asks nobody');

  const before = readFileSync(link, 'utf8');
  now += 23 * 3_600_000;
  const rotated = new Promise<void>((resolve) => {
    void rotateClientCertificate({
      ...options,
      client: () => client,
      bootstrapKubeconfig: undefined,
      onRotated: async () => resolve(),
      onFailure: (message) => t.fail(message),
      random: () => 0,
    });
  });
  await signNext(client, server, 'second');
  await rotated;
  controller.abort();
  t.not(readFileSync(link, 'utf8'), before);
});
