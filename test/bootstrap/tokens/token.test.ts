import t from 'tap';
import {
  buildTokenSecret,
  DEFAULT_TOKEN_GROUP,
  generateToken,
  isToken,
  parseToken,
  readTokenSecret,
} from '../../../bootstrap/tokens/token.ts';

t.test('generateToken() uses each character alike', (t) => {
  let next = 0;
  // Counts through all bytes, so that 252..255 come up and are dropped.
  const bytes = (count: number) => Uint8Array.from({ length: count }, () => next++ % 256);
  const seen = new Map<string, number>();
  for (let i = 0; i < 500; i += 1) {
    const token = generateToken(bytes);
    t.ok(isToken(token));
    for (const letter of token.replace('.', '')) seen.set(letter, (seen.get(letter) ?? 0) + 1);
  }
  t.equal(seen.size, 36);
  const counts = [...seen.values()];
  t.ok(Math.max(...counts) - Math.min(...counts) < 60, `${Math.min(...counts)}..${Math.max(...counts)}`);
  t.end();
});

t.test('parseToken() refuses without showing the text', (t) => {
  for (const text of [
    '',
    'abcdef',
    'ABCDEF.0123456789abcdef',
    'abcdef.0123456789abcdefX',
    'abcdef.0123456789abcde\n',
  ]) {
    t.throws(() => parseToken(text), { code: 'TOKEN_INVALID' }, JSON.stringify(text));
  }
  try {
    parseToken('topsecret.topsecrettopsecret');
    t.fail('accepted');
  } catch (error) {
    t.notMatch((error as Error).message, /topsecret/);
  }
  t.end();
});

t.test('buildTokenSecret() and readTokenSecret() agree', (t) => {
  const secret = buildTokenSecret({
    token: 'abcdef.0123456789abcdef',
    description: 'mine',
    expiresAt: new Date('2030-01-01T00:00:00.123Z'),
    usages: ['signing', 'authentication'],
    groups: [DEFAULT_TOKEN_GROUP],
  });
  t.equal(secret.type, 'bootstrap.kubernetes.io/token');
  t.same(secret.metadata, { name: 'bootstrap-token-abcdef', namespace: 'kube-system' });
  const values = Object.fromEntries(
    Object.entries(secret.data!).map(([key, value]) => [key, Buffer.from(value, 'base64').toString()]),
  );
  t.same(values, {
    'token-id': 'abcdef',
    'token-secret': '0123456789abcdef',
    description: 'mine',
    expiration: '2030-01-01T00:00:00Z',
    'usage-bootstrap-signing': 'true',
    'usage-bootstrap-authentication': 'true',
    'auth-extra-groups': DEFAULT_TOKEN_GROUP,
  });
  t.same(readTokenSecret(secret), {
    token: 'abcdef.0123456789abcdef',
    expires: '2030-01-01T00:00:00Z',
    usages: ['signing', 'authentication'],
    description: 'mine',
    groups: [DEFAULT_TOKEN_GROUP],
  });
  t.equal(readTokenSecret({ ...secret, type: 'Opaque' }), undefined);
  const base = { token: 'abcdef.0123456789abcdef', usages: ['signing'], groups: [] };
  t.equal(buildTokenSecret(base).data!['expiration'], undefined);
  t.throws(() => buildTokenSecret({ ...base, usages: ['other'] }), { code: 'TOKEN_INVALID' });
  t.throws(() => buildTokenSecret({ ...base, groups: ['system:masters'] }), { code: 'TOKEN_INVALID' });
  t.end();
});
