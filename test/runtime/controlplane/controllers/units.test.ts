import { createHmac, createPrivateKey, generateKeyPairSync, X509Certificate } from 'node:crypto';
import t from 'tap';
import * as der from '../../../../runtime/controlplane/component/der.ts';
import { createSelfSignedIdentity } from '../../../../runtime/controlplane/component/self-signed.ts';
import { signDetached } from '../../../../runtime/controlplane/controllers/bootstrap-token.ts';
import {
  nextCronTime,
  parseCronSchedule,
} from '../../../../runtime/controlplane/controllers/cron-schedule.ts';
import { formatIndexes, parseIndexes } from '../../../../runtime/controlplane/controllers/job-index.ts';
import {
  findFreeCidr,
  formatCidr,
  parseCidr,
} from '../../../../runtime/controlplane/controllers/node-ipam.ts';
import {
  CONTROLLERS,
  selectControllers,
  UNSUPPORTED_CONTROLLERS,
} from '../../../../runtime/controlplane/controllers/table.ts';

t.test('selectControllers() takes the list as upstream does and refuses unknown names', (t) => {
  const names = (entries: readonly string[]) => selectControllers(entries).map((row) => row.name);
  t.ok(names(['*']).includes('deployment-controller'));
  t.notOk(names(['*']).includes('bootstrap-signer-controller'));
  t.ok(names(['*', 'bootstrapsigner', 'tokencleaner']).includes('token-cleaner-controller'));
  t.notOk(names(['*', '-job']).includes('job-controller'));
  t.same(names(['namespace']), ['namespace-controller']);
  t.throws(() => selectControllers(['*', 'nonsense']), { code: 'UNSUPPORTED' });
  t.throws(() => selectControllers(['horizontal-pod-autoscaler-controller']), { code: 'UNSUPPORTED' });
  t.doesNotThrow(() => selectControllers(['*', '-horizontal-pod-autoscaler-controller']));
  t.end();
});

t.test('CONTROLLERS and UNSUPPORTED_CONTROLLERS have each name once', (t) => {
  const names = CONTROLLERS.flatMap((row) => [row.name, ...(row.aliases ?? [])]);
  const all = [...names, ...UNSUPPORTED_CONTROLLERS];
  t.equal(new Set(all).size, all.length);
  t.end();
});

t.test('findFreeCidr() gives blocks in order, without overlap, until none is left', (t) => {
  const pool = parseCidr('10.244.0.0/22');
  const used = [parseCidr('10.244.1.0/24')];
  const given: string[] = [];
  for (let free = findFreeCidr(pool, 24, used); free; free = findFreeCidr(pool, 24, used)) {
    used.push(free);
    given.push(formatCidr(free));
  }
  t.same(given, ['10.244.0.0/24', '10.244.2.0/24', '10.244.3.0/24']);
  t.equal(
    formatCidr(findFreeCidr(parseCidr('fd00:10::/48'), 64, [parseCidr('fd00:10::/64')])!),
    'fd00:10:0:1::/64',
  );
  t.end();
});

t.test('nextCronTime() finds the next moment in the time zone', (t) => {
  const cases = [
    {
      schedule: '*/15 * * * *',
      after: '2026-03-01T10:07:30Z',
      zone: 'UTC',
      next: '2026-03-01T10:15:00.000Z',
    },
    {
      schedule: '0 3 * * mon-fri',
      after: '2026-03-06T04:00:00Z',
      zone: 'UTC',
      next: '2026-03-09T03:00:00.000Z',
    },
    { schedule: '@monthly', after: '2026-03-06T04:00:00Z', zone: 'UTC', next: '2026-04-01T00:00:00.000Z' },
    {
      schedule: '0 9 * * *',
      after: '2026-07-01T00:00:00Z',
      zone: 'Europe/Berlin',
      next: '2026-07-01T07:00:00.000Z',
    },
    { schedule: '0 0 29 2 *', after: '2026-01-01T00:00:00Z', zone: 'UTC', next: '2028-02-29T00:00:00.000Z' },
  ];
  for (const { schedule, after, zone, next } of cases) {
    t.equal(nextCronTime(parseCronSchedule(schedule), new Date(after), zone)?.toISOString(), next, schedule);
  }
  t.throws(() => parseCronSchedule('61 * * * *'), { code: 'FLAG_INVALID' });
  t.end();
});

t.test('formatIndexes() and parseIndexes() agree', (t) => {
  for (const text of ['', '0', '0,1', '0-3', '1,3-5,7']) t.equal(formatIndexes(parseIndexes(text)), text);
  t.end();
});

t.test('signDetached() makes the signature that token discovery verifies', (t) => {
  const [header = '', payload, signature] = signDetached('content', { id: 'abcdef', secret: 'secret' }).split(
    '.',
  );
  t.same(JSON.parse(Buffer.from(header, 'base64url').toString()), { alg: 'HS256', kid: 'abcdef' });
  t.equal(payload, '');
  const input = `${header}.${Buffer.from('content').toString('base64url')}`;
  t.equal(signature, createHmac('sha256', 'secret').update(input).digest('base64url'));
  t.end();
});

t.test('createSelfSignedIdentity() makes a certificate that its own key signed', (t) => {
  const { certPem, keyPem } = createSelfSignedIdentity('kube-scheduler', new Date());
  const certificate = new X509Certificate(certPem);
  t.ok(certificate.verify(certificate.publicKey));
  t.ok(certificate.checkPrivateKey(createPrivateKey(keyPem)));
  t.end();
});

t.test('der.fromPem() reads what der.toPem() wrote', (t) => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const bytes = publicKey.export({ type: 'spki', format: 'der' });
  t.same(der.fromPem('PUBLIC KEY', der.toPem('PUBLIC KEY', bytes)), bytes);
  t.same(der.encode(der.decode(bytes)), bytes);
  t.end();
});
