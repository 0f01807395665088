import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t, { type Test } from 'tap';
import { CERTIFICATES, type CertificateInput, findCertificate } from '../../pki/certificates.ts';
import { inspectExternalLeaves, isExternalCa, refuseIncomplete } from '../../pki/external-ca.ts';
import { inspectCertificate } from '../../pki/inspect.ts';
import { type PkiContext, planCertificate, selectMissing } from '../../pki/plan.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';

const DAY_MS = 24 * 3600_000;
const NOW = new Date(Math.floor(Date.now() / 1000) * 1000);
const INPUT: CertificateInput = {
  nodeRegistration: { name: 'node-1' },
  localAPIEndpoint: { advertiseAddress: '10.0.0.5' },
  cluster: {
    networking: { serviceSubnet: '10.96.0.0/12', dnsDomain: 'cluster.local' },
    apiServer: {},
    etcd: { local: {} },
  },
};

/** A directory with every certificate, and the context that made them. */
async function makePki(t: Test, { name = 'pki', now = NOW } = {}) {
  const warnings: string[] = [];
  const context: PkiContext & { readonly warnings: readonly string[] } = {
    host: { readFile: readFileIfExists },
    certificatesDir: join(t.testdirName, name),
    input: INPUT,
    algorithm: 'ECDSA-P256',
    certificateValidityMs: 365 * DAY_MS,
    caCertificateValidityMs: 3650 * DAY_MS,
    now,
    warn: (message: string) => void warnings.push(message),
    warnings,
  };
  for (const row of CERTIFICATES) {
    for (const file of await planCertificate(row, context)) {
      mkdirSync(dirname(file.path), { recursive: true });
      writeFileSync(file.path, file.content);
    }
  }
  return context;
}

const AUTHORITIES = [
  { name: 'ca', leaves: ['apiserver', 'apiserver-kubelet-client'] },
  { name: 'front-proxy-ca', leaves: ['front-proxy-client'] },
  {
    name: 'etcd-ca',
    leaves: ['etcd/server', 'etcd/peer', 'etcd/healthcheck-client', 'apiserver-etcd-client'],
  },
] as const;

for (const { name, leaves } of AUTHORITIES) {
  t.test(
    `${name} without its key serves when all that it issues is there, and else names each file`,
    async (t) => {
      t.testdir();
      const context = await makePki(t);
      const ca = findCertificate(name);
      t.notOk(await isExternalCa(ca, context), 'with its key');
      rmSync(join(context.certificatesDir, `${ca.baseName}.key`));
      t.ok(await isExternalCa(ca, context));
      t.same(await inspectExternalLeaves(ca, context, { hasLocalEtcd: true }), []);
      t.same(await selectMissing(context), [], 'nothing is made anew');
      for (const other of CERTIFICATES.filter((row) => !('issuer' in row) && row.name !== name))
        t.notOk(await isExternalCa(other, context), `${other.name} is not external`);
      const gone = leaves.flatMap((leaf) => [`${leaf}.crt`, `${leaf}.key`]);
      for (const file of gone) rmSync(join(context.certificatesDir, file));
      const problems = await inspectExternalLeaves(ca, context, { hasLocalEtcd: true });
      t.same(
        problems.map((problem) => problem.path).sort(),
        gone.map((file) => join(context.certificatesDir, file)).sort(),
      );
      t.throws(() => refuseIncomplete(['/ca.crt'], problems), {
        code: 'PKI_EXTERNAL_CA',
        message: new RegExp(gone.map((file) => file.replace('.', '\\.')).join('.*is not there.*')),
        hint: /generate-csr/,
      });
    },
  );
}

t.test('inspectExternalLeaves() checks what is there against that CA', async (t) => {
  t.testdir();
  const [context, other] = [await makePki(t), await makePki(t, { name: 'other' })];
  const inspect = (input = INPUT, now = NOW) =>
    inspectExternalLeaves(findCertificate('ca'), { ...context, input, now }, { hasLocalEtcd: true });
  const path = join(context.certificatesDir, 'apiserver.crt');
  const own = readFileSync(path, 'utf8');
  writeFileSync(path, readFileSync(join(other.certificatesDir, 'apiserver.crt')));
  t.same(await inspect(), [
    { path, state: `its key does not belong to it; the key of "CN = kubernetes" did not sign it` },
  ]);
  writeFileSync(path, own);
  const moved = { ...INPUT, localAPIEndpoint: { advertiseAddress: '10.0.0.9' } };
  t.same(await inspect(moved), [{ path, state: 'it is not valid for "10.0.0.9"' }]);
  t.match(await inspect(INPUT, new Date(NOW.getTime() + 400 * DAY_MS)), [
    { path, state: /^it expired at/ },
    { path: /apiserver-kubelet-client/, state: /^it expired at/ },
  ]);
});

t.test('inspectExternalLeaves() leaves etcd alone where no etcd is run', async (t) => {
  t.testdir();
  const context = await makePki(t);
  rmSync(join(context.certificatesDir, 'etcd'), { recursive: true });
  t.same(await inspectExternalLeaves(findCertificate('etcd-ca'), context, { hasLocalEtcd: false }), []);
});

/** What makes an existing certificate unfit, and whether a renewal is the answer. */
const STALE = [
  {
    what: 'a name that it lacks',
    change: { cluster: { ...INPUT.cluster, apiServer: { certSANs: ['api.example.com'] } } },
    problem: /not valid for "api\.example\.com"/,
    hint: /^tkadm certs renew apiserver --config FILE/,
  },
  {
    what: 'an address that it lacks',
    change: { localAPIEndpoint: { advertiseAddress: 'fd00::5' } },
    problem: /not valid for "fd00::5"/,
    hint: /^tkadm certs renew apiserver/,
  },
  { what: 'its end', days: 366, problem: /it expired at/, hint: /^tkadm certs renew apiserver/ },
  {
    what: 'the end of its CA',
    days: 3651,
    problem: /"CN = kubernetes" expired at/,
    hint: /^Move the files away/,
  },
  {
    what: 'a key of another',
    file: 'apiserver.key',
    source: 'apiserver-kubelet-client.key',
    problem: /its key does not belong to it/,
    hint: /^Move the files away/,
  },
  {
    what: 'another use',
    file: 'apiserver.crt',
    source: 'apiserver-kubelet-client.crt',
    problem: /lacks the usage "server auth"/,
    hint: /^Move the files away/,
  },
  { what: 'damage', file: 'apiserver.crt', text: 'x', problem: /Cannot read a certificate/, hint: /^Move/ },
] as const;

for (const row of STALE) {
  t.test(`planCertificate() refuses an existing certificate for ${row.what}`, async (t) => {
    t.testdir();
    const context = await makePki(t);
    const at = (name: string) => join(context.certificatesDir, name);
    if ('source' in row) writeFileSync(at(row.file), readFileSync(at(row.source)));
    if ('text' in row) writeFileSync(at(row.file), row.text);
    const now = new Date(NOW.getTime() + ('days' in row ? row.days : 0) * DAY_MS);
    const input = { ...INPUT, ...('change' in row ? row.change : {}) };
    await t.rejects(planCertificate(findCertificate('apiserver'), { ...context, input, now }), {
      code: 'PKI_CERTIFICATE_STALE',
      message: row.problem,
      hint: row.hint,
    });
  });
}

t.test(
  'planCertificate() warns of a leaf that outlives its CA, and of one that is not valid yet',
  async (t) => {
    t.testdir();
    const context = await makePki(t);
    t.same(context.warnings, []);
    rmSync(join(context.certificatesDir, 'apiserver.crt'));
    rmSync(join(context.certificatesDir, 'apiserver.key'));
    const files = await planCertificate(findCertificate('apiserver'), {
      ...context,
      certificateValidityMs: 4000 * DAY_MS,
    });
    t.equal(files.length, 2);
    t.match(context.warnings, [/"apiserver" outlives its CA/]);
    await planCertificate(findCertificate('front-proxy-client'), {
      ...context,
      now: new Date(NOW.getTime() - DAY_MS),
    });
    t.match(context.warnings[1], /front-proxy-client\.crt": it is valid from/);
  },
);

t.test('inspectCertificate() takes a CA that another one signed', async (t) => {
  const dir = t.testdir();
  const openssl = (...args: string[]) => execFileSync('openssl', args, { cwd: dir, stdio: 'pipe' });
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  openssl('req', '-x509', ...key, '-keyout', 'root.key', '-out', 'root.crt', '-subj', '/CN=root');
  openssl('req', '-new', ...key, '-keyout', 'ca.key', '-out', 'ca.csr', '-subj', '/CN=kubernetes');
  writeFileSync(join(dir, 'ext'), 'basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign\n');
  const sign = ['-CA', 'root.crt', '-CAkey', 'root.key', '-CAcreateserial', '-extfile', 'ext'];
  openssl('x509', '-req', '-in', 'ca.csr', '-out', 'ca.crt', '-days', '30', ...sign);
  const context = {
    host: { readFile: readFileIfExists },
    certificatesDir: dir,
    input: INPUT,
    algorithm: 'RSA-2048',
    certificateValidityMs: DAY_MS,
    caCertificateValidityMs: DAY_MS,
    now: new Date(NOW.getTime() + 60_000),
  } as const;
  t.match(await inspectCertificate(findCertificate('ca'), context), { state: 'present', problems: [] });
  for (const file of await planCertificate(findCertificate('apiserver'), context))
    writeFileSync(file.path, file.content);
  const chain = ['-CAfile', 'root.crt', '-untrusted', 'ca.crt', 'apiserver.crt'];
  t.match(String(openssl('verify', ...chain)), /apiserver.crt: OK/);
});
