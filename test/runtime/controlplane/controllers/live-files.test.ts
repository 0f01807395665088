import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type CaPair, createCa, issueCertificate, validityFrom } from '../../../../pki/issue.ts';
import { ApiClient } from '../../../../runtime/api/client.ts';
import { CONFIG_MAPS, NAMESPACES, SERVICE_ACCOUNTS } from '../../../../runtime/api/kinds.ts';
import { waitFor } from '../../../../runtime/base/time.ts';
import { startTestServer } from '../apiserver/test-server.ts';

const MAIN = join(import.meta.dirname, '../../../../runtime/controlplane/controllers/main.ts');
const ALGORITHM = 'ECDSA-P256';

const period = () => validityFrom(new Date(), 3_600_000);

function replace(path: string, text: string): void {
  writeFileSync(`${path}.tmp`, text, { mode: 0o600 });
  renameSync(`${path}.tmp`, path);
}

async function issueAdmin(ca: CaPair) {
  return issueCertificate({
    ...period(),
    spec: { commonName: 'manager', organizations: ['system:masters'], usages: ['client auth'] },
    ca,
    algorithm: ALGORITHM,
  });
}

t.test('kube-controller-manager takes renewed files while it works', { timeout: 60_000 }, async (t) => {
  const server = await startTestServer(t);
  const file = (name: string) => join(server.directory, name);
  const read = (name: string) => readFileSync(file(name), 'utf8');
  const old = { certPem: read('ca.crt'), keyPem: read('ca.key') };
  const formatKubeconfig = async (ca: CaPair) => {
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    const { certPem, keyPem } = await issueAdmin(ca);
    return JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'x',
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
      clusters: [
        {
          name: 'c',
          cluster: {
            server: `https://127.0.0.1:${server.port}`,
            'certificate-authority-data': base64(old.certPem),
          },
        },
      ],
      users: [
        {
          name: 'u',
          user: { 'client-certificate-data': base64(certPem), 'client-key-data': base64(keyPem) },
        },
      ],
    });
  };
  writeFileSync(file('manager.conf'), await formatKubeconfig(old));
  writeFileSync(file('root.crt'), old.certPem);
  let log = '';
  const child: ChildProcess = spawn(
    process.execPath,
    [
      ...['--import=tsx', MAIN, `--kubeconfig=${file('manager.conf')}`, '--secure-port=0'],
      ...['--controllers=root-ca-cert-publisher,serviceaccount', `--root-ca-file=${file('root.crt')}`],
    ],
    { stdio: ['ignore', 'ignore', 'pipe'] },
  );
  child.stderr?.on('data', (chunk: Buffer) => {
    log += chunk;
  });
  t.teardown(async () => {
    child.kill();
    if (child.exitCode === null) await once(child, 'exit');
  });
  const admin = await server.client('admin');
  const soon = (subject: string, probe: () => Promise<boolean>) =>
    waitFor(async () => (await probe()) || undefined, { subject: `${subject}\n${log}`, timeoutMs: 15_000 });
  const published = async () =>
    (await admin.find(CONFIG_MAPS, { name: 'kube-root-ca.crt', namespace: 'default' }))?.data?.['ca.crt'];
  await soon('the root CA', async () => (await published()) === old.certPem);

  const added = await createCa({ ...period(), commonName: 'added', algorithm: ALGORITHM });
  replace(file('root.crt'), added.certPem.slice(0, -60));
  replace(file('root.crt'), `${old.certPem}${added.certPem}`);
  await soon('the new root CA', async () => (await published()) === `${old.certPem}${added.certPem}`);

  replace(file('ca.crt'), `${old.certPem}${added.certPem}`);
  replace(file('manager.conf'), (await formatKubeconfig(added)).slice(0, -100));
  await soon('the half-written file in the log', async () => /Keeping the credentials in use/.test(log));
  replace(file('manager.conf'), await formatKubeconfig(added));
  await soon('the new credentials in the log', async () => /Took the new credentials/.test(log));

  // Whoever still showed the certificate of the first CA would be refused from here on.
  replace(file('ca.crt'), added.certPem);
  const { certPem, keyPem } = await issueAdmin(added);
  const next = new ApiClient({
    server: `https://127.0.0.1:${server.port}`,
    caPem: old.certPem,
    certPem,
    keyPem,
  });
  t.teardown(() => next.close());
  await soon('the old CA to be gone', async () =>
    admin.list(NAMESPACES).then(
      () => false,
      () => true,
    ),
  );
  await next.create(NAMESPACES, { metadata: { name: 'made-after' } });
  await soon('a controller at work', async () => {
    const account = await next.find(SERVICE_ACCOUNTS, { name: 'default', namespace: 'made-after' });
    return account !== undefined;
  });
  t.equal(child.exitCode, null, 'it is the same process');
  t.equal(log.match(/Took the new root CA/g)?.length, 1);
});
