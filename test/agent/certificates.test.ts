import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import { promisify } from 'node:util';
import type { Test } from 'tap';
import t from 'tap';
import { issueCertificate } from '../../pki/issue.ts';
import { buildCertificateRequest, generateKeyPem } from '../../runtime/agent/tls/x509.ts';
import {
  CERTIFICATE_SIGNING_REQUESTS,
  CLUSTER_ROLE_BINDINGS,
  EVENTS,
  LEASES,
  NODES,
} from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { sleep, waitFor } from '../../runtime/base/time.ts';
import { startTestServer, type TestServer } from '../runtime/controlplane/apiserver/test-server.ts';
import { openAgentFixture, skipReason } from './fixture.ts';

const run = promisify(execFile);
const MANAGER = join(import.meta.dirname, '../../runtime/controlplane/controllers/main.ts');
const NODE = 'node-a';
const NODE_IP = '192.0.2.7';
const FIRST_LIFE_MS = 8_000;
const SIGNED_LIFE_S = 10;

/** The real controllers that approve and sign; ends with the test. */
function startControllers(t: Test, server: TestServer): void {
  const ca = (suffix: string) => join(server.directory, `ca.${suffix}`);
  const flags = [
    ...[`--kubeconfig=${server.kubeconfig}`, '--leader-elect=false', '--secure-port=0'],
    ...['--controllers=csrapproving,csrsigning', `--cluster-signing-duration=${SIGNED_LIFE_S}s`],
    ...[`--cluster-signing-cert-file=${ca('crt')}`, `--cluster-signing-key-file=${ca('key')}`],
  ];
  const child = spawn(process.execPath, ['--import=tsx', MANAGER, ...flags], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  t.teardown(async () => {
    child.kill();
    if (child.exitCode === null) await once(child, 'exit');
  });
}

/** A kubeconfig as `init` writes it: the certificate is inside. */
async function writeKubeconfig(server: TestServer): Promise<string> {
  const read = (name: string) => readFileSync(join(server.directory, name), 'utf8');
  const pair = await issueCertificate({
    spec: { commonName: `system:node:${NODE}`, organizations: ['system:nodes'], usages: ['client auth'] },
    ca: { certPem: read('ca.crt'), keyPem: read('ca.key') },
    algorithm: 'ECDSA-P256',
    notBefore: new Date(Date.now() - 300_000),
    notAfter: new Date(Date.now() + FIRST_LIFE_MS),
  });
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const file = join(server.directory, 'kubelet.conf');
  writeFileSync(
    file,
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      'current-context': 'x',
      clusters: [
        {
          name: 'c',
          cluster: {
            server: `https://127.0.0.1:${server.port}`,
            'certificate-authority-data': base64(read('ca.crt')),
          },
        },
      ],
      users: [
        {
          name: 'u',
          user: { 'client-certificate-data': base64(pair.certPem), 'client-key-data': base64(pair.keyPem) },
        },
      ],
      contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
    }),
  );
  return file;
}

/** A node asks for the API server's name: nobody approves that by himself, and kubectl may. */
async function answerByHand(t: Test, server: TestServer): Promise<void> {
  const [node, admin] = await Promise.all([server.client('node-a'), server.client('admin')]);
  const kubectl = async (...args: string[]) =>
    (await run('kubectl', ['--kubeconfig', server.kubeconfig, ...args])).stdout;
  const subject = { commonName: `system:node:${NODE}`, organization: 'system:nodes' };
  const pem = buildCertificateRequest({ subject, names: [NODE, 'kubernetes.default.svc'] }, generateKeyPem());
  const ask = async (name: string) => {
    const request = Buffer.from(pem).toString('base64');
    const signerName = 'kubernetes.io/kubelet-serving';
    const usages = ['digital signature', 'server auth'];
    await node.create(CERTIFICATE_SIGNING_REQUESTS, {
      metadata: { name },
      spec: { request, signerName, usages },
    });
    const event = await waitFor(
      async () => (await admin.list(EVENTS)).items.find(({ involvedObject }) => involvedObject.name === name),
      { subject: 'an event about the request', timeoutMs: 10_000 },
    );
    t.match(event, { reason: 'NotApproved', message: /"kubernetes.default.svc" is not the node's name/ });
    t.match(await kubectl('get', 'csr', name, '--no-headers'), / Pending\s*$/);
  };
  await ask('by-hand');
  await kubectl('certificate', 'approve', 'by-hand');
  await waitFor(
    async () => (/Approved,Issued/.test(await kubectl('get', 'csr', 'by-hand')) ? true : undefined),
    {
      subject: 'the certificate',
      timeoutMs: 10_000,
    },
  );
  await ask('refused');
  await kubectl('certificate', 'deny', 'refused');
  t.match(await kubectl('get', 'csr', 'refused', '--no-headers'), / Denied\s*$/);
}

/** Serial number that the kubelet API shows when the cluster's CA vouches for it, else undefined. */
function servedSerial(port: number, ca: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, ca, servername: NODE }, () => {
      resolve(socket.getPeerX509Certificate()?.serialNumber);
      socket.destroy();
    });
    socket.on('error', () => resolve(undefined));
  });
}

t.test(
  'the agent renews both of its certificates by CSR',
  { skip: skipReason, timeout: 90_000 },
  async (t) => {
    const server = await startTestServer(t);
    const client = await server.client('admin');
    startControllers(t, server);
    await client.create(CLUSTER_ROLE_BINDINGS, {
      metadata: { name: 'rotation' },
      roleRef: {
        apiGroup: 'rbac.authorization.k8s.io',
        kind: 'ClusterRole',
        name: 'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
      },
      subjects: [{ kind: 'Group', apiGroup: 'rbac.authorization.k8s.io', name: 'system:nodes' }],
    });
    const kubeconfig = await writeKubeconfig(server);
    const firstEndMs = Date.now() + FIRST_LIFE_MS;
    const fixture = await openAgentFixture({
      nodeName: NODE,
      nodeIp: NODE_IP,
      config: `rotateCertificates: true
serverTLSBootstrap: true
nodeLeaseDurationSeconds: 4
authentication: {x509: {clientCAFile: ${server.directory}/ca.crt}, webhook: {enabled: true}}
`,
      flags: () => [`--kubeconfig=${kubeconfig}`],
    });
    t.teardown(() => fixture.close());
    const requestsFor = async (signer: string) =>
      (await client.list(CERTIFICATE_SIGNING_REQUESTS)).items.filter(
        ({ spec, status }) => spec.signerName === `kubernetes.io/${signer}` && status?.certificate,
      );

    const ca = readFileSync(join(server.directory, 'ca.crt'), 'utf8');
    const serial = await waitFor(() => servedSerial(fixture.kubeletPort, ca), {
      subject: 'a serving certificate of the cluster',
      timeoutMs: 20_000,
    });
    t.match((await requestsFor('kubelet-serving'))[0]?.spec, {
      username: `system:node:${NODE}`,
      usages: ['digital signature', 'server auth'],
    });
    await t.test('a person answers a request for a name of others', (t) => answerByHand(t, server));

    const text = readFileSync(kubeconfig, 'utf8');
    t.match(text, `client-certificate: ${fixture.directory}/pki/kubelet-client-current.pem`);
    t.notMatch(text, /client-(certificate|key)-data/);

    await waitFor(
      async () => ((await requestsFor('kube-apiserver-client-kubelet')).length >= 2 ? true : undefined),
      {
        subject: 'a second request for a client certificate',
        timeoutMs: 40_000,
      },
    );
    const wait = firstEndMs + SIGNED_LIFE_S * 1000 - Date.now();
    await sleep(Math.max(0, wait));
    const lease = () => client.get(LEASES, { name: NODE, namespace: 'kube-node-lease' });
    const { spec: before } = await lease();
    await waitFor(async () => ((await lease()).spec?.renewTime !== before?.renewTime ? true : undefined), {
      subject: 'the lease being renewed after the first two certificates have expired',
      timeoutMs: 20_000,
    });
    const config = await loadClientConfig(kubeconfig);
    t.ok(config.certPem?.includes('PRIVATE KEY'), 'certificate and key are in one file');
    t.ok(await client.find(NODES, { name: NODE }));
    await waitFor(
      async () => ((await servedSerial(fixture.kubeletPort, ca)) ?? serial) !== serial || undefined,
      {
        subject: 'another serving certificate',
        timeoutMs: 20_000,
      },
    );

    const { stdout } = await run('kubectl', ['--kubeconfig', server.kubeconfig, 'get', 'csr']);
    t.match(stdout, /^NAME +AGE +SIGNERNAME +REQUESTOR +REQUESTEDDURATION +CONDITION$/m);
    for (const signer of ['kube-apiserver-client-kubelet', 'kubelet-serving']) {
      t.match(
        stdout,
        new RegExp(
          `^csr-\\w+ +\\d+s +kubernetes.io/${signer} +system:node:${NODE} +<none> +Approved,Issued$`,
          'm',
        ),
      );
    }
  },
);
