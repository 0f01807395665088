import { execFileSync } from 'node:child_process';
import { createHash, createPublicKey, generateKeyPairSync, verify, X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import type { IncomingHttpHeaders } from 'node:http';
import { join } from 'node:path';
import type { ServiceAccount } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import type { KubeObject } from '../../../../runtime/api/kinds.ts';
import {
  type AuthenticatorOptions,
  createAuthenticator,
} from '../../../../runtime/controlplane/auth/authenticator.ts';
import { createAuthorizer } from '../../../../runtime/controlplane/auth/authorizer.ts';
import { applyImpersonation } from '../../../../runtime/controlplane/auth/impersonation.ts';
import { createReviewHandlers } from '../../../../runtime/controlplane/auth/reviews.ts';
import { createTokenIssuer } from '../../../../runtime/controlplane/auth/service-account-tokens.ts';
import type { Authorizer, UserInfo } from '../../../../runtime/controlplane/auth/types.ts';
import { MemoryReader } from '../memory-reader.ts';

const ISSUER = 'https://kubernetes.default.svc.cluster.local';
/** A little ahead: certificates that openssl makes during the run are valid by then. */
const NOW = new Date(Date.now() + 60_000);
const UNAUTHORIZED = { code: 401, message: 'Unauthorized' };

function options(more: Partial<AuthenticatorOptions> = {}): AuthenticatorOptions {
  return { reader: new MemoryReader(), isAnonymousAllowed: true, now: () => NOW, ...more };
}

function bearer(token: string): { headers: IncomingHttpHeaders } {
  return { headers: { authorization: `Bearer ${token}` } };
}

/** A CA and a certificate of it, made by openssl. */
function makeCertificate(dir: string, subject: string, extension: string, caName = 'ca') {
  const file = (name: string) => join(dir, `${caName}-${name}`);
  const run = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' });
  const ec = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
  run(
    'req',
    '-x509',
    ...ec,
    '-keyout',
    file('ca.key'),
    '-out',
    file('ca.crt'),
    '-subj',
    `/CN=${caName}`,
    '-days',
    '2',
  );
  run('req', ...ec, '-keyout', file('leaf.key'), '-out', file('leaf.csr'), '-subj', subject);
  writeFileSync(file('ext'), extension);
  const sign = [
    '-CA',
    file('ca.crt'),
    '-CAkey',
    file('ca.key'),
    '-CAcreateserial',
    '-days',
    '1',
    '-extfile',
    file('ext'),
  ];
  run('x509', '-req', '-in', file('leaf.csr'), '-out', file('leaf.crt'), ...sign);
  const read = (name: string) => execFileSync('cat', [file(name)], { encoding: 'utf8' });
  return { caPem: read('ca.crt'), der: new X509Certificate(read('leaf.crt')).raw };
}

t.test('createAuthenticator() reads client certificates', async (t) => {
  const good = makeCertificate(
    t.testdir(),
    '/O=system:masters/O=dev/CN=admin',
    'extendedKeyUsage=clientAuth',
  );
  const server = makeCertificate(join(t.testdirName), '/CN=server', 'extendedKeyUsage=serverAuth', 'other');
  const auth = createAuthenticator(options({ clientCaPem: good.caPem }));
  const user = await auth.authenticate({ headers: {}, peerCertificate: good.der });
  t.match(user, { name: 'admin', groups: ['system:masters', 'dev', 'system:authenticated'] });
  const id = `X509SHA256=${createHash('sha256').update(good.der).digest('hex')}`;
  t.same(user.extra, { 'authentication.kubernetes.io/credential-id': [id] });
  t.same(await auth.authenticate({ headers: {}, peerCertificate: good.der }), user, 'from the cache');
  const otherCa = createAuthenticator(options({ clientCaPem: server.caPem }));
  await t.rejects(
    otherCa.authenticate({ headers: {}, peerCertificate: good.der }),
    UNAUTHORIZED,
    'another CA',
  );
  await t.rejects(
    otherCa.authenticate({ headers: {}, peerCertificate: server.der }),
    UNAUTHORIZED,
    'no clientAuth',
  );
  const later = createAuthenticator(
    options({ clientCaPem: good.caPem, now: () => new Date(Date.now() + 3 * 864e5) }),
  );
  await t.rejects(later.authenticate({ headers: {}, peerCertificate: good.der }), UNAUTHORIZED, 'expired');
});

t.test('createAuthenticator() believes a front proxy, nobody else', async (t) => {
  const proxy = makeCertificate(
    t.testdir(),
    '/CN=front-proxy-client',
    'extendedKeyUsage=clientAuth',
    'proxy',
  );
  const requestHeader = {
    clientCaPem: proxy.caPem,
    allowedNames: ['front-proxy-client'],
    usernameHeaders: ['X-Remote-User'],
    groupHeaders: ['X-Remote-Group'],
    extraHeaderPrefixes: ['X-Remote-Extra-'],
  };
  const rawHeaders = [
    'X-Remote-User',
    'bob',
    'X-Remote-Group',
    'a',
    'x-remote-group',
    'b, system:masters',
    'X-Remote-Extra-Acme.com%2Fproject',
    'p',
  ];
  const headers = {
    'x-remote-user': 'bob',
    'x-remote-group': 'a, b, system:masters',
    'x-remote-extra-acme.com%2fproject': 'p',
  };
  const auth = createAuthenticator(options({ requestHeader }));
  const user = await auth.authenticate({ headers, rawHeaders, peerCertificate: proxy.der });
  t.match(user, {
    name: 'bob',
    groups: ['a', 'b, system:masters', 'system:authenticated'],
    extra: { 'acme.com/project': ['p'] },
  });
  t.match(await auth.authenticate({ headers, rawHeaders }), { name: 'system:anonymous' }, 'no certificate');
  const strict = createAuthenticator(
    options({ requestHeader: { ...requestHeader, allowedNames: ['other'] } }),
  );
  await t.rejects(strict.authenticate({ headers, rawHeaders, peerCertificate: proxy.der }), UNAUTHORIZED);
});

t.test('createAuthenticator() knows anonymous and bootstrap tokens', async (t) => {
  const reader = new MemoryReader();
  const base64 = (data: Record<string, string>) =>
    Object.fromEntries(
      Object.entries(data).map(([key, value]) => [key, Buffer.from(value).toString('base64')]),
    );
  const put = (id: string, data: Record<string, string>) =>
    reader.put({
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name: `bootstrap-token-${id}`, namespace: 'kube-system' },
      type: 'bootstrap.kubernetes.io/token',
      data: base64({
        'token-id': id,
        'token-secret': '0123456789abcdef',
        'usage-bootstrap-authentication': 'true',
        ...data,
      }),
    } as KubeObject);
  put('aaaaaa', {
    'auth-extra-groups': 'system:bootstrappers:kubeadm:default-node-token',
    expiration: new Date(NOW.getTime() + 1000).toISOString(),
  });
  put('bbbbbb', { expiration: new Date(NOW.getTime() - 1000).toISOString() });
  put('cccccc', { 'usage-bootstrap-authentication': 'false' });
  put('dddddd', { 'auth-extra-groups': 'system:masters' });
  const auth = createAuthenticator(options({ reader }));
  t.same(await auth.authenticate(bearer('aaaaaa.0123456789abcdef')), {
    name: 'system:bootstrap:aaaaaa',
    groups: [
      'system:bootstrappers',
      'system:bootstrappers:kubeadm:default-node-token',
      'system:authenticated',
    ],
  });
  for (const token of [
    'aaaaaa.0123456789abcdee',
    'bbbbbb.0123456789abcdef',
    'cccccc.0123456789abcdef',
    'dddddd.0123456789abcdef',
    'eeeeee.0123456789abcdef',
    'nonsense',
  ]) {
    await t.rejects(auth.authenticate(bearer(token)), UNAUTHORIZED, token);
  }
  t.same(await auth.authenticate({ headers: {} }), {
    name: 'system:anonymous',
    groups: ['system:unauthenticated'],
  });
  const closed = createAuthenticator(options({ isAnonymousAllowed: false }));
  await t.rejects(closed.authenticate({ headers: {} }), UNAUTHORIZED);
});

for (const type of ['rsa', 'ec'] as const) {
  t.test(
    `createTokenIssuer() signs ${type} tokens that createAuthenticator() and openssl accept`,
    async (t) => {
      const pair =
        type === 'rsa'
          ? generateKeyPairSync('rsa', { modulusLength: 2048 })
          : generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
      const privatePem = pair.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      const publicPem = pair.publicKey.export({ type: 'spki', format: 'pem' }).toString();
      const reader = new MemoryReader();
      const account = {
        apiVersion: 'v1',
        kind: 'ServiceAccount',
        metadata: { name: 'sa', namespace: 'ns', uid: 'u1' },
      } as ServiceAccount;
      const pod = {
        apiVersion: 'v1',
        kind: 'Pod',
        metadata: { name: 'p', namespace: 'ns', uid: 'u2' },
        spec: { serviceAccountName: 'sa', nodeName: 'n1', containers: [] },
      } as KubeObject;
      reader.put(account, pod, { apiVersion: 'v1', kind: 'Node', metadata: { name: 'n1', uid: 'u3' } });
      let now = NOW;
      const issuer = createTokenIssuer({
        issuer: ISSUER,
        signingKeyPem: privatePem,
        audiences: [],
        reader,
        now: () => now,
      });
      const auth = createAuthenticator(
        options({
          reader,
          now: () => now,
          serviceAccounts: { issuer: ISSUER, publicKeys: [publicPem], audiences: [] },
        }),
      );
      const boundObjectRef = { kind: 'Pod', apiVersion: 'v1', name: 'p', uid: 'u2' };
      const { status, spec } = issuer.issueToken(account, {
        spec: { audiences: [], expirationSeconds: 3607, boundObjectRef },
      });
      const token = status!.token!;
      t.equal(
        new Date(String(status!.expirationTimestamp)).getTime(),
        (Math.floor(NOW.getTime() / 1000) + 3607) * 1000,
      );
      t.same(spec.audiences, [ISSUER]);

      const [header = '', payload = '', signature = ''] = token.split('.');
      const claims = JSON.parse(Buffer.from(payload, 'base64url').toString());
      t.match(claims, {
        iss: ISSUER,
        sub: 'system:serviceaccount:ns:sa',
        'kubernetes.io': {
          namespace: 'ns',
          pod: { name: 'p', uid: 'u2' },
          node: { name: 'n1', uid: 'u3' },
          serviceaccount: { name: 'sa', uid: 'u1' },
        },
      });
      t.equal(claims.exp - claims.iat, 365 * 86400, 'a pod token lives longer and warns');
      t.equal(claims['kubernetes.io'].warnafter, claims.iat + 3607);
      if (type === 'rsa') {
        const dir = t.testdir({
          'key.pem': publicPem,
          input: `${header}.${payload}`,
          signature: Buffer.from(signature, 'base64url'),
        });
        const out = execFileSync(
          'openssl',
          ['dgst', '-sha256', '-verify', `${dir}/key.pem`, '-signature', `${dir}/signature`, `${dir}/input`],
          { encoding: 'utf8' },
        );
        t.match(out, 'Verified OK');
      }
      const { keys } = JSON.parse(issuer.serveJwks().body);
      const jwk = createPublicKey({ key: keys[0], format: 'jwk' });
      t.ok(
        verify(
          'sha256',
          Buffer.from(`${header}.${payload}`),
          { key: jwk, dsaEncoding: 'ieee-p1363' },
          Buffer.from(signature, 'base64url'),
        ),
        'by the published key',
      );
      const der = pair.publicKey.export({ type: 'spki', format: 'der' });
      t.equal(keys[0].kid, createHash('sha256').update(der).digest('base64url'));
      t.match(JSON.parse(issuer.serveOpenIdConfiguration().body), {
        issuer: ISSUER,
        jwks_uri: `${ISSUER}/openid/v1/jwks`,
      });

      t.match(await auth.authenticate(bearer(token)), {
        name: 'system:serviceaccount:ns:sa',
        uid: 'u1',
        groups: ['system:serviceaccounts', 'system:serviceaccounts:ns', 'system:authenticated'],
        extra: {
          'authentication.kubernetes.io/pod-name': ['p'],
          'authentication.kubernetes.io/node-name': ['n1'],
          'authentication.kubernetes.io/credential-id': [`JTI=${claims.jti}`],
        },
      });
      const forged = `${header}.${Buffer.from(JSON.stringify({ ...claims, sub: 'system:serviceaccount:kube-system:x' })).toString('base64url')}.${signature}`;
      await t.rejects(auth.authenticate(bearer(forged)), UNAUTHORIZED, 'changed claims');
      const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${payload}.`;
      await t.rejects(auth.authenticate(bearer(none)), UNAUTHORIZED, 'alg none');
      const elsewhere = issuer.issueToken(account, { spec: { audiences: ['vault'] } }).status!.token!;
      await t.rejects(auth.authenticate(bearer(elsewhere)), UNAUTHORIZED, 'another audience');
      t.same(auth.authenticateToken(elsewhere, ['vault']).audiences, ['vault']);

      const reviews = createReviewHandlers({
        authenticator: auth,
        authorizer: createAuthorizer({ reader, modes: ['RBAC'] }),
      });
      const admin: UserInfo = { name: 'admin', groups: ['system:masters'] };
      const review = (token: string, audiences?: string[]) =>
        reviews.TokenReview(
          {
            apiVersion: 'authentication.k8s.io/v1',
            kind: 'TokenReview',
            spec: { token, audiences },
          } as KubeObject,
          admin,
          '',
        );
      t.match(await review(elsewhere, ['vault']), {
        status: {
          authenticated: true,
          audiences: ['vault'],
          user: { username: 'system:serviceaccount:ns:sa' },
        },
      });
      t.match(await review(elsewhere), { status: { error: /audiences/ } });

      now = new Date(NOW.getTime() + 366 * 864e5);
      await t.rejects(auth.authenticate(bearer(token)), UNAUTHORIZED, 'expired');
      now = NOW;
      reader.put({ ...pod, metadata: { ...pod.metadata, uid: 'other' } });
      await t.rejects(auth.authenticate(bearer(token)), UNAUTHORIZED, 'the pod was made anew');
      t.throws(() => issuer.issueToken(account, { spec: { audiences: [], boundObjectRef } }), { code: 409 });
      reader.remove(account);
      await t.rejects(auth.authenticate(bearer(token)), UNAUTHORIZED, 'the account is gone');
      t.throws(() => issuer.issueToken(account, { spec: { audiences: [], expirationSeconds: 60 } }), {
        code: 422,
        message: /may not specify a duration less than 10 minutes/,
      });
      t.throws(
        () =>
          issuer.issueToken(account, {
            spec: { audiences: [], boundObjectRef: { ...boundObjectRef, name: 'q' } },
          }),
        { code: 404 },
      );
    },
  );
}

t.test('applyImpersonation() needs the permission for every part', async (t) => {
  const user: UserInfo = { name: 'bob', groups: ['system:authenticated'] };
  const asked: string[] = [];
  const authorizer: Authorizer = {
    authorize(attributes) {
      if (attributes.kind !== 'resource') throw new Error('path');
      asked.push(
        `${attributes.resource}/${attributes.subresource} ${attributes.namespace}/${attributes.name}`,
      );
      return { isAllowed: attributes.name !== 'root', reason: '' };
    },
  };
  const run = (headers: IncomingHttpHeaders) => applyImpersonation({ user, headers, authorizer });
  t.equal(await run({}), user, 'no headers');
  t.same(
    await run({
      'impersonate-user': 'eve',
      'impersonate-group': 'a, b',
      'impersonate-uid': '7',
      'impersonate-extra-scope': 'x',
    }),
    {
      name: 'eve',
      uid: '7',
      groups: ['a', 'b', 'system:authenticated'],
      extra: { scope: ['x'] },
    },
  );
  t.same(asked, ['users/ /eve', 'groups/ /a', 'groups/ /b', 'uids/ /7', 'userextras/scope /x']);
  t.match(await run({ 'impersonate-user': 'system:serviceaccount:ns:sa' }), {
    groups: ['system:serviceaccounts', 'system:serviceaccounts:ns', 'system:authenticated'],
  });
  t.match(await run({ 'impersonate-user': 'system:anonymous' }), { groups: ['system:unauthenticated'] });
  await t.rejects(run({ 'impersonate-user': 'root' }), {
    code: 403,
    message:
      'users "root" is forbidden: User "bob" cannot impersonate resource "users" in API group "" at the cluster scope',
  });
  await t.rejects(run({ 'impersonate-group': 'a' }), { code: 400 });
});

t.test('createReviewHandlers() answers access reviews', async (t) => {
  const reader = new MemoryReader();
  reader.put(
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'Role',
      metadata: { name: 'r', namespace: 'a' },
      rules: [{ verbs: ['get'], apiGroups: [''], resources: ['pods'] }],
    } as KubeObject,
    {
      apiVersion: 'rbac.authorization.k8s.io/v1',
      kind: 'RoleBinding',
      metadata: { name: 'r', namespace: 'a' },
      roleRef: { kind: 'Role', name: 'r', apiGroup: '' },
      subjects: [{ kind: 'User', name: 'bob' }],
    } as KubeObject,
  );
  const handlers = createReviewHandlers({
    authenticator: createAuthenticator(options({ reader })),
    authorizer: createAuthorizer({ reader, modes: ['RBAC'] }),
  });
  const bob: UserInfo = { name: 'bob', groups: [] };
  const ask = (kind: keyof typeof handlers, spec: object, namespace = '') =>
    handlers[kind]({ apiVersion: 'authorization.k8s.io/v1', kind, spec } as KubeObject, bob, namespace);
  const resourceAttributes = { verb: 'get', resource: 'pods', namespace: 'a' };
  t.match(await ask('SelfSubjectAccessReview', { resourceAttributes }), { status: { allowed: true } });
  t.match(await ask('SubjectAccessReview', { user: 'eve', resourceAttributes }), {
    status: { allowed: false },
  });
  t.match(
    await ask('SubjectAccessReview', { user: 'bob', nonResourceAttributes: { verb: 'get', path: '/x' } }),
    { status: { allowed: false } },
  );
  t.match(await ask('LocalSubjectAccessReview', { user: 'bob', resourceAttributes }, 'a'), {
    status: { allowed: true },
  });
  await t.rejects(ask('LocalSubjectAccessReview', { user: 'bob', resourceAttributes }, 'b'), { code: 422 });
  await t.rejects(ask('SelfSubjectAccessReview', {}), { code: 422 });
  t.match(await ask('SelfSubjectRulesReview', { namespace: 'a' }), {
    status: { incomplete: false, resourceRules: [{ verbs: ['get'], apiGroups: [''], resources: ['pods'] }] },
  });
  t.match(await ask('SelfSubjectReview', {}), { status: { userInfo: { username: 'bob' } } });
});
