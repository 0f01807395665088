import { spawn } from 'node:child_process';
import { createDecipheriv, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import { CERTS_PHASES } from '../../../bootstrap/phases/certs.ts';
import type { InitContext } from '../../../bootstrap/phases/init-context.ts';
import { planCertificateDownload, uploadCertsPhase } from '../../../bootstrap/phases/upload-certs.ts';
import { createFinder } from '../../../bootstrap/workflow/observe.ts';
import { performAction } from '../../../bootstrap/workflow/perform.ts';
import { generateCertificateKey } from '../../../pki/certificate-secret.ts';
import { SECRETS } from '../../../runtime/api/kinds.ts';
import { waitFor } from '../../../runtime/base/time.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { NO_PATCHES } from '../../../templates/patches.ts';
import { startTestServer } from '../../runtime/controlplane/apiserver/test-server.ts';

const MANAGER = join(import.meta.dirname, '../../../runtime/controlplane/controllers/main.ts');
const SECRET = { name: 'kubeadm-certs', namespace: 'kube-system' };

t.test('upload-certs keeps the certificates in a real API server until its token ends', async (t) => {
  const server = await startTestServer(t);
  const api = await server.client('admin');
  const certificatesDir = join(server.directory, 'cluster-pki');
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    overrides: { 'cert-dir': certificatesDir },
    defaultsFrom: { hostname: 'n1', advertiseAddress: '10.0.0.5' },
  });
  const host = createLocalHost();
  let clock = new Date();
  const certificateKey = generateCertificateKey(randomBytes);
  const context: InitContext = {
    config: { ...config, cluster: { ...config.cluster, encryptionAlgorithm: 'ECDSA-P256' } },
    host,
    now: () => clock,
    shouldFix: false,
    initSystem: 'none',
    env: {},
    warn: (message) => t.fail(message),
    api: async () => api,
    find: createFinder({ api: async () => api, isDryRun: false, signal: new AbortController().signal }),
    tokens: async () => [],
    patches: async () => NO_PATCHES,
    isBundleInstalled: async () => true,
    certificateKey,
  };
  const perform = async (phase: (typeof CERTS_PHASES)[number]) => {
    const actions = await phase.plan(context);
    const tools = { host, initSystem: 'none', signal: new AbortController().signal, api: async () => api };
    for (const action of actions)
      await performAction(action, { ...tools, bundleSources: {} as never } as never);
    return actions;
  };
  t.match(uploadCertsPhase.idle!({ ...context, certificateKey: undefined }), /--upload-certs was not given/);
  for (const phase of CERTS_PHASES) await perform(phase);
  const actions = await perform(uploadCertsPhase);
  t.notMatch(JSON.stringify(actions), certificateKey, 'the key is in no object');

  const secret = await api.get(SECRETS, SECRET);
  t.same(Object.keys(secret.data ?? {}).sort(), [
    ...['ca.crt', 'ca.key', 'front-proxy-ca.crt', 'front-proxy-ca.key', 'sa.key', 'sa.pub'],
  ]);
  const data = Buffer.from(secret.data!['ca.key']!, 'base64');
  const decipher = createDecipheriv('aes-256-gcm', Buffer.from(certificateKey, 'hex'), data.subarray(0, 12));
  decipher.setAuthTag(data.subarray(-16));
  const decoded = Buffer.concat([decipher.update(data.subarray(12, -16)), decipher.final()]).toString();
  t.equal(decoded, await host.readFile(`${certificatesDir}/ca.key`));

  const [owner] = secret.metadata?.ownerReferences ?? [];
  const token = await api.get(SECRETS, { name: owner!.name, namespace: 'kube-system' });
  t.match(owner, { apiVersion: 'v1', kind: 'Secret', uid: token.metadata!.uid! });
  t.equal(token.type, 'bootstrap.kubernetes.io/token');
  t.notOk(
    Object.keys(token.data!).some((key) => key.startsWith('usage-')),
    'a token without usages',
  );
  const ends = Buffer.from(token.data!['expiration']!, 'base64').toString();
  t.equal(Date.parse(ends), Math.floor(clock.getTime() / 1000) * 1000 + 2 * 3600_000);
  for (const path of ['roles', 'rolebindings'])
    await api.requestJson(
      'GET',
      `/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system/${path}/kubeadm:kubeadm-certs`,
    );

  const target = join(server.directory, 'joined');
  const joined = { ...context.config, cluster: { ...context.config.cluster, certificatesDir: target } };
  const files = await planCertificateDownload({ client: api, host, config: joined, certificateKey });
  t.equal(files.length, 6);
  for (const file of files) {
    const source = join(certificatesDir, file.path.slice(target.length));
    t.equal(file.content, await host.readFile(source), file.path);
    mkdirSync(dirname(file.path), { recursive: true });
    writeFileSync(file.path, file.content, { mode: file.mode });
  }

  // Uploaded again almost two hours ago: the token's end takes the Secret with it, by the real controllers.
  clock = new Date(Date.now() - 2 * 3600_000 + 6_000);
  await perform(uploadCertsPhase);
  const flags = [
    '--controllers=tokencleaner,garbage-collector-controller',
    '--secure-port=0',
    '--leader-elect=false',
  ];
  const manager = spawn(
    process.execPath,
    ['--import=tsx', MANAGER, `--kubeconfig=${server.kubeconfig}`, ...flags],
    { stdio: ['ignore', 'ignore', 'inherit'] },
  );
  t.teardown(async () => {
    manager.kill();
    if (manager.exitCode === null) await once(manager, 'exit');
  });
  const gone = async () => ((await api.find(SECRETS, SECRET)) ? undefined : true);
  await waitFor(gone, { subject: 'the Secret to go', timeoutMs: 30_000, intervalMs: 200 });
  await t.rejects(planCertificateDownload({ client: api, host, config: joined, certificateKey }), {
    code: 'PKI_SECRET_INVALID',
    message: /it is kept for two hours/,
  });
});
