import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer as createHttpServer } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { dirname, join } from 'node:path';
import type { TLSSocket } from 'node:tls';
import { execa } from 'execa';
import t, { type Test } from 'tap';
import { CERTIFICATES } from '../../pki/certificates.ts';
import { type PkiContext, planCertificate } from '../../pki/plan.ts';
import { CHECKS } from '../../preflight/checks.ts';
import type { ExternalEtcdInput, PreflightInput } from '../../preflight/finding.ts';
import { runPreflight } from '../../preflight/run.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { createLocalHost } from '../../runtime/host/local.ts';

const INPUT: PreflightInput = {
  scope: 'init',
  nodeName: 'node-1',
  ports: [],
  absentFiles: [],
  podCidrs: [],
  serviceCidrs: [],
  ignored: [],
};
const HOUR_MS = 3_600_000;
const host = createLocalHost();

async function look(name: string, input: Partial<PreflightInput>) {
  const checks = CHECKS.filter((row) => row.name === name);
  return (await runPreflight(host, { ...INPUT, ...input }, { checks })).findings;
}

/** A CA and a pair that is valid for 127.0.0.1 from a while ago, made by openssl. */
async function makePair(directory: string): Promise<void> {
  const run = (line: string) => execa('sh', ['-ec', line], { cwd: directory });
  await run(
    'openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -out ca.crt -subj /CN=ca -days 2',
  );
  await run(
    "printf 'subjectAltName=IP:127.0.0.1\\nextendedKeyUsage=serverAuth,clientAuth' > ext; openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout pair.key -out pair.csr -subj /CN=pair; openssl x509 -req -in pair.csr -CA ca.crt -CAkey ca.key -CAcreateserial -extfile ext -days 1 -out pair.crt",
  );
}

/** An HTTPS server with that pair; it ends with the test. */
async function serve(
  t: Test,
  directory: string,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<number> {
  const read = (name: string) => readFile(join(directory, name));
  const server = createServer(
    {
      cert: await read('pair.crt'),
      key: await read('pair.key'),
      ca: await read('ca.crt'),
      requestCert: true,
      rejectUnauthorized: false,
    },
    answer,
  );
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}

t.test('ClockSkew compares with the Date header of the API server', async (t) => {
  const directory = t.testdir();
  await makePair(directory);
  const cases = [
    { skewMs: 0, severity: undefined },
    { skewMs: 20_000, severity: 'warning', says: /(19|20|21) s behind/ },
    { skewMs: -HOUR_MS, severity: 'error', says: /3[56]\d\d s ahead of/ },
    { skewMs: 2 * HOUR_MS, severity: 'error', says: /7[12]\d\d s behind/ },
  ] as const;
  for (const { skewMs, severity, ...rest } of cases) {
    const port = await serve(t, directory, (_request, response) => {
      response.setHeader('Date', new Date(Date.now() + skewMs).toUTCString());
      response.end('{}');
    });
    const findings = await look('ClockSkew', { scope: 'join', apiServer: `127.0.0.1:${port}` });
    t.equal(findings[0]?.severity, severity, `${skewMs} ms`);
    if ('says' in rest) t.match(findings[0]?.reason, rest.says);
    if (severity) t.match(findings[0]?.fix, /^date -u -s '20/);
  }
});

t.test('ClockSkew leaves an API server that does not answer to discovery', async (t) => {
  const silent = createTcpServer(() => {});
  t.teardown(() => silent.close());
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const apiServer = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
  t.match(await look('ClockSkew', { scope: 'join', apiServer }), [
    { severity: 'note', evidence: /no answer within 3000 ms/ },
  ]);
});

t.test('ExternalEtcdVersion asks with the client certificate', async (t) => {
  const directory = t.testdir();
  await makePair(directory);
  const etcd = (endpoint: string): ExternalEtcdInput => ({
    endpoints: [endpoint],
    caFile: join(directory, 'ca.crt'),
    certFile: join(directory, 'pair.crt'),
    keyFile: join(directory, 'pair.key'),
  });
  const cases = [
    { version: '3.5.24', isGood: true },
    { version: '3.6.8', isGood: true },
    { version: '3.5.23', isGood: false },
    { version: '4.0.0-alpha.1', isGood: true },
  ];
  for (const { version, isGood } of cases) {
    const port = await serve(t, directory, (request, response) => {
      const isAllowed = request.url === '/version' && (request.socket as TLSSocket).authorized;
      response.statusCode = isAllowed ? 200 : 401;
      response.end(isAllowed ? JSON.stringify({ etcdserver: version, etcdcluster: '3.5.0' }) : '');
    });
    const externalEtcd = etcd(`https://127.0.0.1:${port}`);
    const findings = await look('ExternalEtcdVersion', { externalEtcd, engine: 'upstream' });
    if (isGood) t.same(findings, [], version);
    else t.match(findings, [{ severity: 'error', reason: /3\.5\.23 is too old.*3\.5\.24/ }]);
    t.match(
      await look('ExternalEtcdVersion', { externalEtcd: { ...externalEtcd, certFile: '', keyFile: '' } }),
      [{ severity: 'error', evidence: /3 times: the answer, status 401/ }],
      'without the certificate it is refused',
    );
  }
  let requests = 0;
  const port = await serve(t, directory, (_request, response) => {
    requests += 1;
    if (requests < 3) response.destroy();
    else response.end('{"etcdserver":"3.6.0"}');
  });
  t.same(await look('ExternalEtcdVersion', { externalEtcd: etcd(`https://127.0.0.1:${port}/`) }), []);
  t.equal(requests, 3, 'it is asked three times');
  const plain = createHttpServer((_request, response) => response.end('{"etcdserver":"3.6.0"}'));
  t.teardown(() => plain.close());
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
  const httpEndpoints = [`http://127.0.0.1:${(plain.address() as AddressInfo).port}`];
  t.same(
    await look('ExternalEtcdVersion', { externalEtcd: { ...etcd('https://127.0.0.1:1'), httpEndpoints } }),
    [],
    'httpEndpoints come first',
  );
  t.match(await look('ExternalEtcdVersion', { externalEtcd: etcd('https://127.0.0.1:1') }), [
    { evidence: /3 times: .*ECONNREFUSED/ },
  ]);
});

const ETCD = '/usr/bin/etcd';
t.test(
  "ExternalEtcdVersion takes Debian's etcd 3.4 for the embedded engine alone",
  { skip: existsSync(ETCD) ? false : 'needs etcd' },
  async (t) => {
    const directory = t.testdir();
    const data = join(directory, 'data');
    await mkdir(data);
    await chmod(data, 0o700);
    const [client, peer] = [await freePort(), await freePort()].map((port) => `http://127.0.0.1:${port}`);
    const flags = {
      'data-dir': data,
      'listen-client-urls': client,
      'advertise-client-urls': client,
      'listen-peer-urls': peer,
      'initial-advertise-peer-urls': peer,
      'initial-cluster': `default=${peer}`,
    };
    const argv = Object.entries(flags).map(([name, value]) => `--${name}=${value}`);
    const server = execa(ETCD, argv, { reject: false, stdio: 'ignore' });
    t.teardown(async () => {
      server.kill('SIGKILL');
      await server;
    });
    await waitFor(async () => ((await fetch(`${client}/version`)).ok ? true : undefined), {
      subject: 'etcd',
      timeoutMs: 15_000,
    });
    const externalEtcd = { endpoints: [client!], caFile: '', certFile: '', keyFile: '' };
    t.match(await look('ExternalEtcdVersion', { externalEtcd, engine: 'upstream' }), [
      { severity: 'error', reason: /etcd 3\.4\.\d+ is too old: the upstream engine needs 3\.5\.24/ },
    ]);
    t.same(await look('ExternalEtcdVersion', { externalEtcd, engine: 'embedded' }), []);
  },
);

t.test('ExistingCertificates compares certificates on disk with what is planned', async (t) => {
  const certificatesDir = t.testdir();
  const input = certificateInput('10.9.0.5', []);
  const context: PkiContext = {
    host,
    certificatesDir,
    algorithm: 'ECDSA-P256',
    certificateValidityMs: 24 * HOUR_MS,
    caCertificateValidityMs: 48 * HOUR_MS,
    now: new Date(),
    input,
  };
  for (const row of CERTIFICATES.filter((row) => !('isEtcd' in row)))
    for (const file of await planCertificate(row, context)) {
      await mkdir(dirname(file.path), { recursive: true });
      await writeFile(file.path, file.content, { mode: file.mode });
    }
  const compare = (change: Partial<PkiContext>) =>
    look('ExistingCertificates', { certificates: { ...context, hasLocalEtcd: false, ...change } });
  t.same(await compare({}), [], 'they fit');
  t.same(await compare({ certificatesDir: join(certificatesDir, 'none') }), [], 'none is no finding');
  t.match(await compare({ input: certificateInput('10.9.0.6', ['api.example.com']) }), [
    {
      severity: 'error',
      reason: `"${certificatesDir}/apiserver.crt" cannot serve this configuration`,
      evidence: /"api\.example\.com".*"10\.9\.0\.6"/,
      fix: /mv .*apiserver\.crt/,
    },
  ]);
  const late = await compare({ now: new Date(Date.now() + 25 * HOUR_MS) });
  t.ok(late.length >= 3, 'every leaf has expired');
  t.match(late.map((row) => row.evidence).join(), /expired/);
  const text = await readFile(join(certificatesDir, 'ca.crt'), 'utf8');
  t.ok(new X509Certificate(text).ca);
  await writeFile(
    join(certificatesDir, 'ca.crt'),
    await readFile(join(certificatesDir, 'front-proxy-ca.crt')),
  );
  t.ok(
    (await compare({})).some((row) => row.severity === 'error' && row.reason.includes('apiserver.crt')),
    'another CA',
  );
});

function certificateInput(advertiseAddress: string, certSANs: readonly string[]): PkiContext['input'] {
  return {
    nodeRegistration: { name: 'node-1' },
    localAPIEndpoint: { advertiseAddress, bindPort: 6443 },
    cluster: {
      networking: { serviceSubnet: '10.96.0.0/12', dnsDomain: 'cluster.local' },
      apiServer: { certSANs },
      etcd: {},
    },
  } as unknown as PkiContext['input'];
}

async function freePort(): Promise<number> {
  const server = createTcpServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
