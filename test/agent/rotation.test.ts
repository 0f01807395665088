import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createCa, issueCertificate, validityFrom } from '../../pki/issue.ts';
import { ensureKubeconfig } from '../../runtime/agent/tls/client-certificate.ts';
import { rotate } from '../../runtime/agent/tls/rotation.ts';
import { createLogger, SILENT_LOGGER } from '../../runtime/base/log.ts';
import { waitFor } from '../../runtime/base/time.ts';

const HOUR_MS = 3_600_000;

async function formatKubeconfig(endMs: number): Promise<string> {
  const algorithm = 'ECDSA-P256';
  const begin = { notBefore: new Date(Date.now() - 10 * HOUR_MS) };
  const ca = await createCa({ ...validityFrom(new Date(), HOUR_MS), commonName: 'ca', algorithm });
  const { certPem, keyPem } = await issueCertificate({
    ...begin,
    notAfter: new Date(endMs),
    spec: { commonName: 'system:node:n1', organizations: ['system:nodes'], usages: ['client auth'] },
    ca,
    algorithm,
  });
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  return JSON.stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'x',
    contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    clusters: [{ name: 'c', cluster: { server: 'https://192.0.2.1:6443' } }],
    users: [
      {
        name: 'u',
        user: { 'client-certificate-data': base64(certPem), 'client-key-data': base64(keyPem) },
      },
    ],
  });
}

t.test(
  'ensureKubeconfig() says once what to do about an expired one, and takes a repaired one',
  async (t) => {
    const directory = t.testdir();
    const kubeconfig = join(directory, 'kubelet.conf');
    writeFileSync(kubeconfig, await formatKubeconfig(Date.now() - HOUR_MS));
    const lines: string[] = [];
    const controller = new AbortController();
    t.teardown(() => controller.abort());
    const ensured = ensureKubeconfig({
      nodeName: 'n1',
      certDir: directory,
      kubeconfig,
      bootstrapKubeconfig: join(directory, 'bootstrap-kubelet.conf'),
      now: () => new Date(),
      log: createLogger({ name: 'agent', write: (line) => lines.push(line), now: () => new Date() }),
      signal: controller.signal,
    });
    await waitFor(async () => lines[0], { subject: 'a line in the log', timeoutMs: 20_000 });
    t.match(lines[0], /The client certificate of ".*kubelet.conf" expired on /);
    t.match(lines[0], /tkadm kubeconfig user --org system:nodes --client-name system:node:n1/);
    writeFileSync(kubeconfig, await formatKubeconfig(Date.now() + HOUR_MS));
    await ensured;
    t.equal(lines.length, 1);
  },
);

t.test('rotate() renews between 70 % and 90 % of the life, and tries again after failures', async (t) => {
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const failures: string[] = [];
  const renewedAt: number[] = [];
  const issue = () => ({ pem: '', fromMs: Date.now(), toMs: Date.now() + 1_000 });
  let current = issue();
  void rotate({
    what: 'certificate',
    read: async () => current,
    async renew() {
      if (renewedAt.length === 1 && failures.length === 0) throw new Error('nobody answers');
      renewedAt.push(Date.now() - current.fromMs);
      current = issue();
    },
    createsFirst: false,
    onFailure: (message) => failures.push(message),
    now: () => new Date(),
    random: () => 0.5,
    log: SILENT_LOGGER,
    signal: controller.signal,
  });
  await waitFor(async () => renewedAt.length >= 3 || undefined, { subject: 'renewals', timeoutMs: 20_000 });
  t.same(failures, ['nobody answers']);
  t.ok(renewedAt[0]! >= 790, `renewed after ${renewedAt[0]} of 1000 ms`);
});
