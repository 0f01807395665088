import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer } from 'node:https';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import t, { type Test } from 'tap';
import { buildClusterInfo } from '../../../bootstrap/addons/cluster-info.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import { type DiscoverOptions, discoverCluster, patienceOf } from '../../../bootstrap/tokens/discover.ts';
import { signatureKey, verifyDetached } from '../../../bootstrap/tokens/jws.ts';
import { describeBadPin, parseCaPins, pinsOf } from '../../../bootstrap/tokens/pin.ts';
import { parseToken, parseTokenId } from '../../../bootstrap/tokens/token.ts';
import { formatCaPin } from '../../../pki/certificate.ts';
import { createCa, issueCertificate, validityFrom } from '../../../pki/issue.ts';
import { signDetached } from '../../../runtime/controlplane/controllers/bootstrap-token.ts';

const TOKEN = 'abcdef.0123456789abcdef';
const NOW = new Date();
const algorithm = 'ECDSA-P256' as const;
const makeCa = (commonName = 'kubernetes') => createCa({ commonName, algorithm, ...validityFrom(NOW, 1e9) });

interface Served {
  /** Answers of the one path, one after the other; the last one stays. */
  readonly answers: readonly { readonly status?: number; readonly body: string; readonly date?: string }[];
  readonly addresses?: readonly string[];
  /** Default: any that is free. */
  readonly port?: number;
  /** Of the server's certificate; default: from now on. */
  readonly validity?: { readonly notBefore: Date; readonly notAfter: Date };
}

/** A TLS server with a certificate of its own CA that answers cluster-info. */
async function serve(
  t: Test,
  { answers, addresses = ['127.0.0.1'], validity = validityFrom(NOW, 1e9), port = 0 }: Served,
  ca?: { certPem: string; keyPem: string },
) {
  const authority = ca ?? (await makeCa());
  const leaf = await issueCertificate({
    spec: { commonName: 'kube-apiserver', organizations: [], usages: ['server auth'] },
    subjectAltNames: { dnsNames: [], ipAddresses: addresses },
    ca: authority,
    algorithm,
    ...validity,
  });
  let count = 0;
  const listener: RequestListener = (request, response) => {
    const isInfo = request.url === '/api/v1/namespaces/kube-public/configmaps/cluster-info';
    const answer = isInfo
      ? answers[Math.min(count, answers.length - 1)]!
      : { status: 404, body: 'not found' };
    count += 1;
    response.writeHead(answer.status ?? 200, answer.date ? { date: answer.date } : {});
    response.end(answer.body);
  };
  const server = createServer({ cert: leaf.certPem, key: leaf.keyPem }, listener);
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  return { endpoint: `127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function clusterInfo(
  caPem: string,
  sign: readonly string[] = [TOKEN],
  server = '10.0.0.5',
): Promise<string> {
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    defaultsFrom: { hostname: 'n', advertiseAddress: server },
  });
  const { data } = buildClusterInfo(config, caPem) as never as { data: Record<string, string> };
  const kubeconfig = data['kubeconfig']!;
  const signatures = sign.map((text) => {
    const token = parseToken(text);
    return [signatureKey(token.id), signDetached(kubeconfig, token)];
  });
  return JSON.stringify({ kind: 'ConfigMap', data: { kubeconfig, ...Object.fromEntries(signatures) } });
}

function discover(endpoint: string, options: Partial<DiscoverOptions> = {}) {
  return discoverCluster({
    endpoint,
    token: TOKEN,
    pins: [],
    unsafeSkipCaVerification: false,
    now: () => new Date(),
    signal: AbortSignal.timeout(20_000),
    ...options,
  });
}

t.test('discoverCluster() trusts a cluster by token and pin', async (t) => {
  const ca = await makeCa();
  const body = await clusterInfo(ca.certPem, ['aaaaaa.0123456789abcdef', TOKEN]);
  const { endpoint } = await serve(t, { answers: [{ body }] }, ca);
  const pin = formatCaPin(ca.certPem);
  const found = await discover(endpoint, { pins: [`sha256:${'0'.repeat(64)}`, pin.toUpperCase()] });
  t.same(found, { server: 'https://10.0.0.5:6443', caPem: ca.certPem });
  const unsafe = await discover(endpoint, { unsafeSkipCaVerification: true });
  t.equal(unsafe.caPem, ca.certPem);
  await t.rejects(discover(endpoint), { code: 'CA_PIN_INVALID' });
});

t.test('discoverCluster() tells failures apart', async (t) => {
  const ca = await makeCa();
  const pins = [formatCaPin(ca.certPem)];
  const body = await clusterInfo(ca.certPem);

  await t.test('nothing listens', async (t) => {
    await t.rejects(discover('127.0.0.1:1', { pins }), {
      code: 'DISCOVERY_UNREACHABLE',
      message: /127\.0\.0\.1:1/,
    });
  });
  await t.test('no TLS', async (t) => {
    const server = createHttpServer((_, response) => response.end('x'));
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    t.teardown(() => server.close());
    const endpoint = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    await t.rejects(discover(endpoint, { pins }), { code: 'DISCOVERY_NO_API_SERVER', message: /TLS/ });
  });
  await t.test('another web server', async (t) => {
    const { endpoint } = await serve(t, { answers: [{ body: '<html>' }] }, ca);
    await t.rejects(discover(endpoint, { pins }), { code: 'DISCOVERY_NO_API_SERVER' });
  });
  await t.test('no cluster-info', async (t) => {
    const status = JSON.stringify({
      kind: 'Status',
      reason: 'NotFound',
      message: 'configmaps not found',
      code: 404,
    });
    const { endpoint } = await serve(t, { answers: [{ status: 404, body: status }] }, ca);
    await t.rejects(discover(endpoint, { pins }), {
      code: 'DISCOVERY_NO_CLUSTER_INFO',
      hint: /bootstrap-token/,
    });
  });
  await t.test('no such token', async (t) => {
    const { endpoint } = await serve(t, { answers: [{ body: await clusterInfo(ca.certPem, []) }] }, ca);
    const startedAt = performance.now();
    await t.rejects(discover(endpoint, { pins }), {
      code: 'DISCOVERY_TOKEN_UNKNOWN',
      message: /expired/,
      hint: /token create/,
    });
    t.ok(performance.now() - startedAt < 6_000, 'within seconds');
  });
  await t.test('a signature that comes late', async (t) => {
    const unsigned = await clusterInfo(ca.certPem, []);
    const { endpoint } = await serve(t, { answers: [{ body: unsigned }, { body: unsigned }, { body }] }, ca);
    t.ok(await discover(endpoint, { pins }));
  });
  await t.test('wrong secret', async (t) => {
    const { endpoint } = await serve(t, { answers: [{ body }] }, ca);
    await t.rejects(discover(endpoint, { pins, token: 'abcdef.zzzzzzzzzzzzzzzz' }), {
      code: 'DISCOVERY_TOKEN_SECRET',
    });
  });
  await t.test('other CA', async (t) => {
    const { endpoint } = await serve(t, { answers: [{ body }] }, ca);
    const other = `sha256:${'1'.repeat(64)}`;
    await t.rejects(discover(endpoint, { pins: [other] }), {
      code: 'DISCOVERY_CA_MISMATCH',
      details: { found: pins, expected: [other] },
    });
  });
  await t.test('a server that is not of the CA', async (t) => {
    const { endpoint } = await serve(t, { answers: [{ body }] });
    await t.rejects(discover(endpoint, { pins }), { code: 'DISCOVERY_CA_MISMATCH', message: /certificate/ });
  });
  await t.test('a certificate for another address', async (t) => {
    const { endpoint } = await serve(t, { answers: [{ body }], addresses: ['10.9.9.9'] }, ca);
    await t.rejects(discover(endpoint, { pins }), { code: 'DISCOVERY_CERTIFICATE', message: /127\.0\.0\.1/ });
  });
  await t.test('an answer that changes', async (t) => {
    const changed = await clusterInfo(ca.certPem, [TOKEN], '10.0.0.6');
    const { endpoint } = await serve(t, { answers: [{ body }, { body: changed }] }, ca);
    await t.rejects(discover(endpoint, { pins }), { code: 'DISCOVERY_CHANGED', message: /differs/ });
  });
  await t.test('clock', async (t) => {
    const date = new Date(Date.now() + 3_600_000).toUTCString();
    const { endpoint } = await serve(t, { answers: [{ body, date }] }, ca);
    await t.rejects(discover(endpoint, { pins }), {
      code: 'DISCOVERY_CLOCK',
      message: /3(599|600) s behind/,
    });
  });
  await t.test('a certificate of another time', async (t) => {
    const hour = (offset: number) => new Date(NOW.getTime() + offset * 3_600_000);
    const early = await serve(
      t,
      { answers: [{ body }], validity: { notBefore: hour(1), notAfter: hour(9) } },
      ca,
    );
    await t.rejects(discover(early.endpoint, { pins }), {
      code: 'DISCOVERY_CLOCK',
      message: /not yet valid; it is valid from 20\d\d-/,
    });
    const late = await serve(
      t,
      { answers: [{ body }], validity: { notBefore: hour(-9), notAfter: hour(-1) } },
      ca,
    );
    await t.rejects(discover(late.endpoint, { pins }), {
      code: 'DISCOVERY_CERTIFICATE',
      message: /has expired; it is valid from 20\d\d-/,
      hint: /certs renew/,
    });
  });
  await t.test('an API server that comes late, as long as timeouts.discovery says', async (t) => {
    const { endpoint } = await serve(t, { answers: [{ body }] }, ca);
    const port = Number(endpoint.split(':')[1]) + 1;
    const late = `127.0.0.1:${port}`;
    const warnings: string[] = [];
    const warn = (text: string) => warnings.push(text);
    const found = discover(late, { pins, patienceMs: 15_000, warn });
    await sleep(4_500);
    await serve(t, { answers: [{ body }], port }, ca);
    t.match(await found, { caPem: ca.certPem });
    t.match(warnings, [/refused.*trying for 15 s/], 'it says once what it waits for');
    t.equal(patienceOf({ discoveryMs: 60_000 }), 60_000);
    t.equal(patienceOf({ discoveryMs: 300_000 }), undefined);
  });
  await t.test('a server that never answers', async (t) => {
    const stop = new AbortController();
    const silent = createTcpServer(() => onConnection());
    let onConnection = () => {};
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    t.teardown(() => silent.close());
    const endpoint = `127.0.0.1:${(silent.address() as AddressInfo).port}`;
    await t.rejects(discover(endpoint, { pins, answerMs: 500 }), {
      code: 'DISCOVERY_UNREACHABLE',
      details: { reason: 'timeout' },
    });
    onConnection = () => stop.abort(new Error('interrupted'));
    await t.rejects(discover(endpoint, { pins, signal: stop.signal }), { message: 'interrupted' });
  });
  await t.test('malformed input before any request', async (t) => {
    await t.rejects(discover('127.0.0.1:1', { pins: ['sha256:abc'] }), { code: 'CA_PIN_INVALID' });
    await t.rejects(discover('127.0.0.1:1', { pins, token: 'x' }), { code: 'TOKEN_INVALID' });
  });
});

t.test('verifyDetached() takes the signature of that token over that text alone', (t) => {
  const token = parseToken(TOKEN);
  const jws = signDetached('text', token);
  t.ok(verifyDetached(jws, 'text', token));
  t.notOk(verifyDetached(jws, 'text2', token));
  t.notOk(verifyDetached(jws, 'text', { ...token, secret: '0123456789abcdee' }));
  t.notOk(verifyDetached(jws, 'text', { ...token, id: 'bbbbbb' }));
  for (const bad of ['', 'a..b', '..', jws.replace('..', '.x.')])
    t.notOk(verifyDetached(bad, 'text', token), bad);
  t.end();
});

t.test('pins and token ids', async (t) => {
  const hex = 'Ab'.repeat(32);
  t.same(parseCaPins([`SHA256:${hex}`]), [`sha256:${hex.toLowerCase()}`]);
  for (const [pin, state] of [
    ['abc', /is not/],
    ['md5:abc', /only "sha256"/],
    [`sha256:${'g'.repeat(64)}`, /not hexadecimal/],
    [`sha256:${'a'.repeat(63)}`, /63/],
  ] as const) {
    t.match(describeBadPin(pin), state);
  }
  const [a, b] = await Promise.all([makeCa('a'), makeCa('b')]);
  t.same(pinsOf(a!.certPem + b!.certPem), [formatCaPin(a!.certPem), formatCaPin(b!.certPem)]);
  t.equal(parseTokenId('abcdef'), 'abcdef');
  t.equal(parseTokenId(TOKEN), 'abcdef');
  t.throws(() => parseTokenId('abc'), { code: 'TOKEN_INVALID' });
});
