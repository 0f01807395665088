import { createHmac } from 'node:crypto';
import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import t from 'tap';
import { parseCertificate } from '../../../../pki/certificate.ts';
import { createCertificateRequest } from '../../../../pki/csr.ts';
import { createCa, validityFrom } from '../../../../pki/issue.ts';
import { generateKeyPair } from '../../../../pki/keys.ts';
import type { ApiClient } from '../../../../runtime/api/client.ts';
import { CERTIFICATE_SIGNING_REQUESTS } from '../../../../runtime/api/kinds.ts';
import { formatCidr, parseCidr } from '../../../../runtime/base/cidr.ts';
import { parseFlags } from '../../../../runtime/base/flags.ts';
import { SILENT_LOGGER } from '../../../../runtime/base/log.ts';
import { flattenActions } from '../../../../runtime/controlplane/component/action.ts';
import { signDetached } from '../../../../runtime/controlplane/controllers/bootstrap-token.ts';
import { createCsrSigner } from '../../../../runtime/controlplane/controllers/certificate-signing.ts';
import {
  nextCronTime,
  parseCronSchedule,
} from '../../../../runtime/controlplane/controllers/cron-schedule.ts';
import { FLAGS } from '../../../../runtime/controlplane/controllers/flags.ts';
import { formatIndexes, parseIndexes } from '../../../../runtime/controlplane/controllers/job-index.ts';
import { findFreeCidr } from '../../../../runtime/controlplane/controllers/node-ipam.ts';
import { loadSettings } from '../../../../runtime/controlplane/controllers/settings.ts';
import {
  CONTROLLERS,
  selectControllers,
  UNSUPPORTED_CONTROLLERS,
} from '../../../../runtime/controlplane/controllers/table.ts';
import { viewOf } from '../component/view-of.ts';

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
  const range = (text: string) => parseCidr(text)!;
  const pool = range('10.244.0.0/22');
  const used = [range('10.244.1.0/24')];
  const given: string[] = [];
  for (let free = findFreeCidr(pool, 24, used); free; free = findFreeCidr(pool, 24, used)) {
    used.push(free);
    given.push(formatCidr(free));
  }
  t.same(given, ['10.244.0.0/24', '10.244.2.0/24', '10.244.3.0/24']);
  t.equal(findFreeCidr(range('10.0.0.0/30'), 31, [range('0.0.0.0/0')]), undefined);
  t.equal(formatCidr(findFreeCidr(range('fd00:10::/48'), 64, [range('fd00:10::/64')])!), 'fd00:10:0:1::/64');
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

t.test('createCsrSigner() signs approved requests of its signers, and says why not', async (t) => {
  const now = new Date('2026-01-01T00:00:00Z');
  const hourMs = 3_600_000;
  const algorithm = 'ECDSA-P256';
  const ca = await createCa({ ...validityFrom(now, 24 * hourMs), commonName: 'ca', algorithm });
  const signer = createCsrSigner({ ca: () => ca, maxDurationMs: hourMs });
  const sign = async (commonName: string, usages: readonly string[]) => {
    const subject = { commonName, organizations: ['system:nodes'] };
    const keyPem = (await generateKeyPair(algorithm)).privateKeyPem;
    const request = Buffer.from(createCertificateRequest({ keyPem, subject })).toString('base64');
    const signerName = 'kubernetes.io/kube-apiserver-client-kubelet';
    const csr: CertificateSigningRequest = {
      metadata: { name: 'csr' },
      spec: { request, signerName, usages: [...usages] },
      status: { conditions: [{ type: 'Approved', status: 'True' }] },
    };
    const view = viewOf([[CERTIFICATE_SIGNING_REQUESTS, [csr]]]);
    const context = { view, now, api: {} as ApiClient, log: SILENT_LOGGER, randomSuffix: () => 'x' };
    const [action] = flattenActions((await signer.reconcile('csr', context)).actions);
    if (action?.verb !== 'update') throw new Error(`the action is ${action?.verb}`);
    return (action.object as CertificateSigningRequest).status;
  };
  const signed = await sign('system:node:n1', ['digital signature', 'client auth']);
  const certificate = parseCertificate(Buffer.from(signed?.certificate ?? '', 'base64').toString());
  t.match(certificate.subject, { commonName: 'system:node:n1', organizations: ['system:nodes'] });
  t.same(certificate.usages, ['digital signature', 'client auth']);
  t.equal(certificate.notAfter.getTime(), now.getTime() + hourMs);
  for (const [commonName, usages, message] of [
    ['jane', ['client auth'], /common name does not begin with system:node:/],
    ['system:node:n1', ['server auth'], /did not include "client auth"/],
  ] as const) {
    t.match((await sign(commonName, usages))?.conditions?.at(-1), { type: 'Failed', message });
  }
});

t.test('loadSettings() takes flags of the signing CA without a value, as with an external CA', async (t) => {
  const flags = parseFlags(FLAGS, [
    '--kubeconfig=/etc/kubernetes/controller-manager.conf',
    '--cluster-signing-cert-file=',
    '--cluster-signing-key-file=',
  ]);
  t.match(await loadSettings(flags), { signing: undefined, files: [] });
});
