import { createHash, createHmac, X509Certificate } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import t from 'tap';
import { buildBootstrapRbacObjects } from '../../../bootstrap/addons/bootstrap-rbac.ts';
import { type DiscoverOptions, discoverCluster } from '../../../bootstrap/tokens/discover.ts';
import { discoverFromFile } from '../../../bootstrap/tokens/discover-file.ts';
import { explainRefusedToken } from '../../../bootstrap/tokens/refused.ts';
import { buildTokenSecret, DEFAULT_TOKEN_GROUP } from '../../../bootstrap/tokens/token.ts';
import { isApiError } from '../../../runtime/api/api-error.ts';
import type { ApiClient } from '../../../runtime/api/client.ts';
import { CONFIG_MAPS, NODES, SECRETS } from '../../../runtime/api/kinds.ts';
import { findResourceByKind } from '../../../runtime/api/resources.ts';
import { TOKEN_EXPIRATIONS_ANNOTATION } from '../../../runtime/api/token-expirations.ts';
import { startTestServer } from '../../runtime/controlplane/apiserver/test-server.ts';

/** What an error must look like. */
interface Failure {
  readonly code?: string;
  readonly message?: RegExp;
  readonly hint?: RegExp;
  readonly details?: object;
}

const TOKEN = 'abcdef.0123456789abcdef';
const EXPIRED = 'expire.0123456789abcdef';
const NO_AUTHENTICATION = 'noauth.0123456789abcdef';

/** RFC 7515 appendix F by hand: nothing of the code under test. */
function sign(content: string, token: string): string {
  const [kid, secret] = token.split('.') as [string, string];
  const base64url = (text: string) =>
    Buffer.from(text).toString('base64').replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
  const header = base64url(`{"alg":"HS256","kid":"${kid}"}`);
  const mac = createHmac('sha256', Buffer.from(secret, 'ascii'))
    .update(`${header}.${base64url(content)}`)
    .digest('base64');
  return `${header}..${mac.replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '')}`;
}

async function createAll(client: ApiClient): Promise<void> {
  for (const object of buildBootstrapRbacObjects()) {
    const row = findResourceByKind(object.apiVersion ?? '', object.kind ?? '');
    await client.create(row as never, object);
  }
}

t.test('discovery with the API server', { timeout: 120_000 }, async (t) => {
  const server = await startTestServer(t, ['--enable-bootstrap-token-auth']);
  const admin = await server.client('admin');
  const caPem = readFileSync(join(server.directory, 'ca.crt'), 'utf8');
  const spki = new X509Certificate(caPem).publicKey.export({ type: 'spki', format: 'der' });
  const pin = `sha256:${createHash('sha256').update(spki).digest('hex')}`;
  const endpoint = `127.0.0.1:${server.port}`;
  const address = `https://${endpoint}`;
  const look = () => ({ now: () => new Date(), signal: AbortSignal.timeout(20_000) });
  const discover = (options: Partial<DiscoverOptions> = {}) =>
    discoverCluster({
      endpoint,
      token: TOKEN,
      pins: [pin],
      unsafeSkipCaVerification: false,
      ...look(),
      ...options,
    });
  const kubeconfig = (user?: object, serverAddress = address) =>
    JSON.stringify({
      apiVersion: 'v1',
      kind: 'Config',
      clusters: [
        {
          name: '',
          cluster: {
            server: serverAddress,
            'certificate-authority-data': Buffer.from(caPem).toString('base64'),
          },
        },
      ],
      ...(user
        ? {
            users: [{ name: 'u', user }],
            contexts: [{ name: 'c', context: { cluster: '', user: 'u' } }],
            'current-context': 'c',
          }
        : {}),
    });

  await t.test('nobody may read it: the failure names the Role', async (t) => {
    await t.rejects(discover(), {
      code: 'DISCOVERY_DENIED',
      message: /anonymous.*bootstrap-signer-clusterinfo/,
    });
  });
  await createAll(admin);
  await t.test('it is not there', async (t) => {
    await t.rejects(discover(), { code: 'DISCOVERY_NO_CLUSTER_INFO', hint: /init phase bootstrap-token/ });
  });

  const signed = kubeconfig();
  const metadata = { name: 'cluster-info', namespace: 'kube-public' };
  const end = new Date(Date.now() - 90_000).toISOString();
  await admin.create(CONFIG_MAPS, {
    metadata: {
      ...metadata,
      annotations: { [TOKEN_EXPIRATIONS_ANNOTATION]: JSON.stringify({ expire: end }) },
    },
    data: {
      kubeconfig: signed,
      'jws-kubeconfig-abcdef': sign(signed, TOKEN),
      'jws-kubeconfig-noauth': sign(signed, NO_AUTHENTICATION),
    },
  });
  for (const [token, usages, groups] of [
    [TOKEN, ['signing', 'authentication'], [DEFAULT_TOKEN_GROUP]],
    [NO_AUTHENTICATION, ['signing'], []],
  ] as const) {
    await admin.create(SECRETS, buildTokenSecret({ token, usages, groups }));
  }

  await t.test('token and pin lead to server and CA', async (t) => {
    t.same(await discover(), { server: address, caPem });
    const several = [`sha256:${'0'.repeat(64)}`, pin.toUpperCase()];
    t.same(await discover({ pins: several }), { server: address, caPem }, 'one of several pins is enough');
    t.same(await discover({ pins: [], unsafeSkipCaVerification: true }), { server: address, caPem });
  });

  const failures: readonly (readonly [string, Partial<DiscoverOptions>, object, number?])[] = [
    [
      'no such token',
      { token: 'aaaaaa.0123456789abcdef' },
      { code: 'DISCOVERY_TOKEN_UNKNOWN', hint: /token create/ },
      5000,
    ],
    [
      'an expired token, with since when',
      { token: EXPIRED },
      {
        code: 'DISCOVERY_TOKEN_EXPIRED',
        message: new RegExp(`${end}, 9\\d s ago`),
        details: { expired: end },
      },
    ],
    ['a wrong secret', { token: 'abcdef.zzzzzzzzzzzzzzzz' }, { code: 'DISCOVERY_TOKEN_SECRET' }],
    [
      'another CA, showing the one found',
      { pins: [`sha256:${'1'.repeat(64)}`] },
      { code: 'DISCOVERY_CA_MISMATCH', message: new RegExp(pin), details: { found: [pin] } },
    ],
    [
      'a clock that is an hour ahead',
      { now: () => new Date(Date.now() + 3_600_000) },
      { code: 'DISCOVERY_CLOCK', message: /(3599|3600|3601) s ahead of/ },
    ],
    [
      'a clock that is ten minutes behind',
      { now: () => new Date(Date.now() - 600_000) },
      { code: 'DISCOVERY_CLOCK', message: /(599|600|601) s behind/ },
    ],
    [
      'a closed port',
      { endpoint: '127.0.0.1:1' },
      { code: 'DISCOVERY_UNREACHABLE', details: { reason: 'refused' } },
      5000,
    ],
    [
      'a name that is none',
      { endpoint: 'no-such-host.invalid:6443' },
      { code: 'DISCOVERY_UNREACHABLE' },
      10_000,
    ],
    ['an endpoint that is none', { endpoint: 'https://x/y' }, { code: 'USAGE' }],
    [
      'a malformed pin, before any request',
      { endpoint: '127.0.0.1:1', pins: ['sha256:12'] },
      { code: 'CA_PIN_INVALID', hint: /token create/ },
    ],
    [
      'a malformed token, before any request',
      { endpoint: '127.0.0.1:1', token: 'nonsense' },
      { code: 'TOKEN_INVALID', hint: /token/ },
    ],
  ];
  for (const [title, options, expected, withinMs = 1000] of failures) {
    await t.test(`tells ${title}`, async (t) => {
      const startedAt = performance.now();
      const error = await discover(options).catch((thrown: Error) => thrown);
      t.match(error, expected);
      t.ok(performance.now() - startedAt < withinMs, 'within seconds');
      const text = JSON.stringify([error, (error as { details?: object }).details, (error as Error).message]);
      t.notMatch(text, (options.token ?? TOKEN).split('.')[1] ?? 'x', 'the secret is in no message');
    });
  }
  await t.test('a clock that is a little off is a warning', async (t) => {
    const warnings: string[] = [];
    await discover({ now: () => new Date(Date.now() + 60_000), warn: (text) => warnings.push(text) });
    t.match(warnings, [/\d+ s ahead of/, /\d+ s ahead of/]);
  });

  await t.test('explainRefusedToken() says why a token may not bootstrap', async (t) => {
    const rows: readonly (readonly [string, Failure])[] = [
      [NO_AUTHENTICATION, { code: 'DISCOVERY_TOKEN_REFUSED', message: /lack "authentication"/ }],
      [EXPIRED, { code: 'DISCOVERY_TOKEN_EXPIRED', message: new RegExp(end) }],
      ['abcdef.zzzzzzzzzzzzzzzz', { code: 'DISCOVERY_TOKEN_SECRET' }],
      ['aaaaaa.0123456789abcdef', { code: 'DISCOVERY_TOKEN_REFUSED', message: /does not know/ }],
    ];
    for (const [token, expected] of rows) {
      const { ApiClient } = await import('../../../runtime/api/client.ts');
      const client = new ApiClient({ server: address, caPem, token });
      const refusal = await client.find(NODES, { name: 'x' }).catch((error) => error);
      client.close();
      t.ok(isApiError(refusal, 'Unauthorized'), token);
      const explained = explainRefusedToken(refusal, { server: address, caPem, token }, look());
      t.match(await explained.catch((error) => error), expected);
    }
  });

  await t.test('discoverFromFile(): server and CA of a file, renewed from cluster-info', async (t) => {
    const directory = t.testdir();
    const write = (text: string): string => {
      const path = join(directory, 'discovery.conf');
      writeFileSync(path, text);
      return path;
    };
    const pem = (name: string) => readFileSync(join(server.directory, name));
    const certificate = {
      'client-certificate-data': pem('admin.crt').toString('base64'),
      'client-key-data': pem('admin.key').toString('base64'),
    };
    writeFileSync(join(directory, 'token'), `${TOKEN}\n`);
    const users: readonly (readonly [string, object | undefined, object | undefined])[] = [
      ['no user', undefined, undefined],
      [
        'a client certificate',
        certificate,
        { certPem: pem('admin.crt').toString(), keyPem: pem('admin.key').toString() },
      ],
      ['a token', { token: TOKEN }, { token: TOKEN }],
      ['a tokenFile beside it', { tokenFile: 'token' }, { token: TOKEN }],
    ];
    for (const [title, user, credentials] of users) {
      const warnings: string[] = [];
      const found = await discoverFromFile(write(kubeconfig(user, `https://localhost:${server.port}`)), {
        ...look(),
        warn: (text) => warnings.push(text),
      });
      t.match(found.credentials, credentials, title);
      const mayRead = title === 'no user' || title === 'a client certificate';
      t.equal(
        found.server,
        mayRead ? address : `https://localhost:${server.port}`,
        'the address of cluster-info, where it may be read',
      );
      t.equal(warnings.length, mayRead ? 0 : 1, 'a user that may not read it (403) is told about');
    }
    const refusals: readonly (readonly [string, Failure])[] = [
      [
        write(kubeconfig({ exec: { command: 'aws' } })),
        { code: 'DISCOVERY_FILE_INVALID', message: /"exec"/ },
      ],
      [join(directory, 'none'), { code: 'DISCOVERY_FILE_INVALID', message: /no such file/ }],
      ['http://127.0.0.1/x', { code: 'DISCOVERY_FILE_INVALID', message: /https/ }],
      ['https://127.0.0.1:1/x', { code: 'DISCOVERY_UNREACHABLE' }],
    ];
    for (const [location, expected] of refusals) {
      const found = await discoverFromFile(location, look()).catch((error) => error);
      t.match(found, expected, location);
    }
    await t.rejects(discoverFromFile(write(kubeconfig({ tokenFile: 'none' })), look()), {
      message: /tokenFile/,
    });
  });

  await t.test('discoverFromFile(): an https URL needs a server that the machine trusts', async (t) => {
    const pem = (name: string) => readFileSync(join(server.directory, name));
    const web = createServer({ cert: pem('apiserver.crt'), key: pem('apiserver.key') }, (_, response) =>
      response.end(signed),
    );
    await new Promise<void>((resolve) => web.listen(0, '127.0.0.1', resolve));
    t.teardown(() => {
      web.closeAllConnections();
      web.close();
    });
    const url = `https://127.0.0.1:${(web.address() as AddressInfo).port}/discovery`;
    await t.rejects(discoverFromFile(url, look()), { code: 'DISCOVERY_UNREACHABLE', message: /certificate/ });
    const trusting = { ...look(), caFiles: [join(server.directory, 'ca.crt')] };
    t.match(await discoverFromFile(url, trusting), { server: address, caPem });
  });
});

t.test('discovery where anonymous requests are refused', { timeout: 60_000 }, async (t) => {
  const server = await startTestServer(t, ['--anonymous-auth=false']);
  await t.rejects(
    discoverCluster({
      endpoint: `127.0.0.1:${server.port}`,
      token: TOKEN,
      pins: [`sha256:${'1'.repeat(64)}`],
      unsafeSkipCaVerification: false,
      now: () => new Date(),
      signal: AbortSignal.timeout(20_000),
    }),
    { code: 'DISCOVERY_DENIED', message: /anonymous-auth=false/, hint: /--discovery-file/ },
  );
});
