import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { formatCaPin, parseCertificate, verifyChain } from '../../pki/certificate.ts';
import {
  buildCertificateSpec,
  buildSubjectAltNames,
  CERTIFICATES,
  type CertificateInput,
  findCertificate,
} from '../../pki/certificates.ts';
import { createCertificateRequest, parseCertificateRequest, signCertificateRequest } from '../../pki/csr.ts';
import { KEY_USAGES, normalizeSubjectAltNames } from '../../pki/extensions.ts';
import { createCa, issueCertificate, validityFrom } from '../../pki/issue.ts';
import { derivePublicKeyPem, generateKeyPair, KEY_ALGORITHMS } from '../../pki/keys.ts';
import { type PkiContext, planCertificate, planServiceAccountKeys, selectMissing } from '../../pki/plan.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';

const YEAR_MS = 365 * 24 * 3600_000;
const NOW = new Date(Math.floor(Date.now() / 1000) * 1000);
const INPUT: CertificateInput = {
  nodeRegistration: { name: 'node-1' },
  localAPIEndpoint: { advertiseAddress: '10.0.0.5' },
  cluster: {
    controlPlaneEndpoint: 'LB.example.com:7443',
    networking: { serviceSubnet: '10.96.0.0/12', dnsDomain: 'cluster.local' },
    apiServer: { certSANs: ['*.Example.org', '192.0.2.7', '10.0.0.5', 'fd00:0::1'] },
    etcd: { local: { serverCertSANs: ['etcd.example.com'] } },
  },
};

function openssl(args: readonly string[], input?: string): string {
  return execFileSync('openssl', [...args], { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });
}

t.test('CERTIFICATES has unique names and paths, and issuers before leaves', (t) => {
  const seen = new Set<string>();
  for (const row of CERTIFICATES) {
    t.notOk(seen.has(row.name), row.name);
    if ('issuer' in row) t.ok(seen.has(row.issuer), `${row.name} after ${row.issuer}`);
    seen.add(row.name);
  }
  t.equal(new Set(CERTIFICATES.map((row) => row.baseName)).size, CERTIFICATES.length);
  t.equal(new Set(KEY_USAGES.map((row) => row.name)).size, KEY_USAGES.length);
  t.end();
});

for (const { name: algorithm } of KEY_ALGORITHMS) {
  t.test(`issueCertificate() with ${algorithm} satisfies openssl`, async (t) => {
    const dir = t.testdir();
    const row = findCertificate('apiserver');
    const ca = await createCa({ commonName: 'kubernetes', algorithm, ...validityFrom(NOW, 10 * YEAR_MS) });
    const leaf = await issueCertificate({
      spec: buildCertificateSpec(row, INPUT),
      subjectAltNames: buildSubjectAltNames(row, INPUT),
      ca,
      algorithm,
      ...validityFrom(NOW, YEAR_MS),
    });
    writeFileSync(join(dir, 'ca.crt'), ca.certPem);
    writeFileSync(join(dir, 'leaf.crt'), leaf.certPem);
    const verified = openssl([
      'verify',
      '-x509_strict',
      '-purpose',
      'sslserver',
      '-CAfile',
      join(dir, 'ca.crt'),
      join(dir, 'leaf.crt'),
    ]);
    t.match(verified, /leaf\.crt: OK/);
    const caText = openssl(['x509', '-noout', '-text'], ca.certPem);
    t.match(caText, /X509v3 Key Usage: critical\n\s+Digital Signature, Key Encipherment, Certificate Sign\n/);
    t.match(caText, /X509v3 Basic Constraints: critical\n\s+CA:TRUE\n/);
    t.match(caText, /X509v3 Subject Key Identifier/);
    t.notMatch(caText, /Authority Key Identifier/);
    t.match(caText, /DNS:kubernetes\n/);
    const text = openssl(['x509', '-noout', '-text'], leaf.certPem);
    t.match(text, /X509v3 Key Usage: critical\n\s+Digital Signature, Key Encipherment\n/);
    t.match(text, /X509v3 Extended Key Usage: \n\s+TLS Web Server Authentication\n/);
    t.match(text, /X509v3 Basic Constraints: critical\n\s+CA:FALSE\n/);
    t.match(text, /X509v3 Authority Key Identifier/);
    t.notMatch(text, /Subject Key Identifier/);
    t.match(text, /Subject: CN = kube-apiserver\n/);
    t.match(
      text,
      'DNS:*.example.org, DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, ' +
        'DNS:kubernetes.default.svc.cluster.local, DNS:lb.example.com, DNS:node-1, IP Address:10.96.0.1, ' +
        'IP Address:10.0.0.5, IP Address:192.0.2.7, IP Address:FD00:0:0:0:0:0:0:1',
    );
    const pem = algorithm.startsWith('RSA') ? /BEGIN RSA PRIVATE KEY/ : /BEGIN EC PRIVATE KEY/;
    t.match(leaf.keyPem, pem);
    t.equal(
      openssl(['pkey', '-pubout'], leaf.keyPem),
      openssl(['x509', '-pubkey', '-noout'], leaf.certPem),
      'key belongs to certificate',
    );
    const pin = openssl(['x509', '-pubkey', '-noout'], ca.certPem);
    writeFileSync(join(dir, 'spki.der'), Buffer.from(pin.replace(/-----[^-]+-----|\s/g, ''), 'base64'));
    const digest = openssl(['dgst', '-sha256', join(dir, 'spki.der')])
      .trim()
      .split('= ')[1];
    t.equal(formatCaPin(ca.certPem), `sha256:${digest}`);
  });
}

t.test('parseCertificate() reads what was written', async (t) => {
  const ca = await createCa({ commonName: 'ca', algorithm: 'ECDSA-P256', ...validityFrom(NOW, YEAR_MS) });
  const leaf = await issueCertificate({
    spec: { commonName: 'admin', organizations: ['system:masters', 'dév', 'b'], usages: ['client auth'] },
    ca,
    algorithm: 'ECDSA-P256',
    ...validityFrom(NOW, 60 * YEAR_MS),
  });
  const certificate = parseCertificate(leaf.certPem);
  t.equal(certificate.subject.commonName, 'admin');
  t.same([...certificate.subject.organizations].sort(), ['b', 'dév', 'system:masters']);
  t.same(certificate.usages, ['digital signature', 'key encipherment', 'client auth']);
  t.equal(certificate.notBefore.getTime(), NOW.getTime() - 300_000);
  t.equal(certificate.notAfter.getTime(), NOW.getTime() + 60 * YEAR_MS, 'GeneralizedTime beyond 2049');
  t.notOk(certificate.isCa);
  t.ok(parseCertificate(ca.certPem).isCa);
  t.equal(
    openssl(['x509', '-noout', '-serial'], leaf.certPem).trim().toLowerCase(),
    `serial=${certificate.serialNumber}`,
  );
  t.ok(BigInt(`0x${certificate.serialNumber}`) < 1n << 63n);
  t.throws(() => parseCertificate('nothing'), { code: 'PKI_CERTIFICATE_INVALID' });
  const broken = leaf.certPem.replace(/\n[A-Za-z0-9+/]{10}/, '\nMIIAAAAAAA');
  t.throws(() => parseCertificate(broken), { code: 'PKI_CERTIFICATE_INVALID' });
});

t.test('verifyChain() tells what is wrong', async (t) => {
  const make = (commonName: string) =>
    createCa({ commonName, algorithm: 'ECDSA-P256', ...validityFrom(NOW, 2 * YEAR_MS) });
  const [ca, twin, other] = await Promise.all([make('a'), make('a'), make('b')]);
  const leaf = await issueCertificate({
    spec: { commonName: 'x', organizations: [], usages: ['client auth'] },
    ca: ca!,
    algorithm: 'ECDSA-P256',
    ...validityFrom(NOW, YEAR_MS),
  });
  const kinds = (caPem: string, now: Date) =>
    verifyChain(parseCertificate(leaf.certPem), parseCertificate(caPem), now).map((row) => row.kind);
  t.same(kinds(ca!.certPem, NOW), []);
  t.same(kinds(twin!.certPem, NOW), ['signature']);
  t.same(kinds(other!.certPem, NOW), ['issuer']);
  t.same(kinds(leaf.certPem, NOW), ['issuer', 'not-ca']);
  t.same(kinds(ca!.certPem, new Date(NOW.getTime() - 600_000)), ['not-yet-valid']);
  t.same(kinds(ca!.certPem, new Date(NOW.getTime() + 1.5 * YEAR_MS)), ['expired']);
  t.same(kinds(ca!.certPem, new Date(NOW.getTime() + 3 * YEAR_MS)), ['expired', 'issuer-expired']);
});

t.test('signCertificateRequest() signs openssl requests and our own', async (t) => {
  const dir = t.testdir();
  const ca = await createCa({
    commonName: 'kubernetes',
    algorithm: 'RSA-2048',
    ...validityFrom(NOW, YEAR_MS),
  });
  const validity = validityFrom(NOW, YEAR_MS);
  openssl([
    'req',
    '-new',
    '-newkey',
    'ec',
    '-pkeyopt',
    'ec_paramgen_curve:P-256',
    '-nodes',
    '-keyout',
    join(dir, 'k'),
    '-subj',
    '/O=system:nodes/CN=system:node:n1',
    '-addext',
    'subjectAltName=DNS:n1,IP:10.0.0.1',
    '-out',
    join(dir, 'r'),
  ]);
  const foreign = readFileSync(join(dir, 'r'), 'utf8');
  const certPem = signCertificateRequest({
    caCertPem: ca.certPem,
    caKeyPem: ca.keyPem,
    csrPem: foreign,
    usages: ['digital signature', 'client auth'],
    ...validity,
  });
  writeFileSync(join(dir, 'ca'), ca.certPem);
  writeFileSync(join(dir, 'c'), certPem);
  t.match(openssl(['verify', '-purpose', 'sslclient', '-CAfile', join(dir, 'ca'), join(dir, 'c')]), /: OK/);
  const text = openssl(['x509', '-noout', '-text'], certPem);
  t.match(text, /Subject: O = system:nodes, CN = system:node:n1/);
  t.match(text, /Key Usage: critical\n\s+Digital Signature\n/);
  t.match(text, /DNS:n1, IP Address:10.0.0.1/);

  const { privateKeyPem } = await generateKeyPair('ECDSA-P384');
  const own = createCertificateRequest({
    keyPem: privateKeyPem,
    subject: { commonName: 'u', organizations: ['g'] },
    subjectAltNames: normalizeSubjectAltNames(['Host', '::1']),
  });
  const report = openssl(['req', '-noout', '-verify', '-text'], own);
  t.match(report, /Subject: O = g, CN = u/);
  t.match(report, /DNS:host, IP Address:0:0:0:0:0:0:0:1/);
  t.match(parseCertificateRequest(own), {
    subject: { commonName: 'u', organizations: ['g'] },
    dnsNames: ['host'],
    ipAddresses: ['::1'],
    keyType: 'ec',
  });
  const body = own.split('\n');
  body[3] = [...body[3]!].reverse().join('');
  t.throws(() => parseCertificateRequest(body.join('\n')), { code: 'PKI_CSR_INVALID' });
});

t.test(
  'signCertificateRequest() takes over the whole subject, names of every kind, and ends with its CA',
  async (t) => {
    const dir = t.testdir();
    const ca = await createCa({ ...validityFrom(NOW, YEAR_MS), commonName: 'ca', algorithm: 'ECDSA-P256' });
    openssl([
      ...['req', '-new', '-newkey', 'ed25519', '-nodes', '-keyout', join(dir, 'k'), '-out', join(dir, 'r')],
      ...['-subj', '/C=DE/OU=team/CN=u', '-addext', 'subjectAltName=email:u@example.com,DNS:n1'],
    ]);
    const csrPem = readFileSync(join(dir, 'r'), 'utf8');
    t.match(parseCertificateRequest(csrPem), { hasOtherNames: true, dnsNames: ['n1'], keyType: 'ed25519' });
    const certPem = signCertificateRequest({
      caCertPem: ca.certPem,
      caKeyPem: ca.keyPem,
      csrPem,
      usages: ['client auth'],
      ...validityFrom(NOW, 2 * YEAR_MS),
    });
    const text = openssl(['x509', '-noout', '-text'], certPem);
    t.match(text, /Subject: C = DE, OU = team, CN = u/);
    t.match(text, /email:u@example.com, DNS:n1/);
    t.same(parseCertificate(certPem).notAfter, parseCertificate(ca.certPem).notAfter);
  },
);

t.test('plan functions create all files once and report what does not fit', async (t) => {
  const dir = t.testdir();
  const context: PkiContext = {
    host: { readFile: readFileIfExists },
    certificatesDir: dir,
    input: INPUT,
    algorithm: 'ECDSA-P256',
    certificateValidityMs: YEAR_MS,
    caCertificateValidityMs: 10 * YEAR_MS,
    now: NOW,
  };
  const write = (files: readonly { path: string; content: string }[]) => {
    for (const file of files) {
      mkdirSync(dirname(file.path), { recursive: true });
      writeFileSync(file.path, file.content);
    }
  };
  t.equal((await selectMissing(context)).length, CERTIFICATES.length);
  for (const row of CERTIFICATES) write(await planCertificate(row, context));
  write(await planServiceAccountKeys(context));
  t.same(await selectMissing(context), []);
  t.same(await planServiceAccountKeys(context), []);
  for (const row of CERTIFICATES) {
    if (!('issuer' in row)) continue;
    const issuer = findCertificate(row.issuer);
    t.match(
      openssl(['verify', '-CAfile', join(dir, `${issuer.baseName}.crt`), join(dir, `${row.baseName}.crt`)]),
      /OK/,
      row.name,
    );
  }
  const moved = { ...context, input: { ...INPUT, localAPIEndpoint: { advertiseAddress: '10.0.0.9' } } };
  await t.rejects(selectMissing(moved), {
    code: 'PKI_CERTIFICATE_STALE',
    message: /apiserver\.crt": it is not valid for "10\.0\.0\.9".*etcd\/server\.crt/,
  });

  const files = await planServiceAccountKeys({ ...context, certificatesDir: join(dir, 'none') });
  t.equal(files.length, 2);
  writeFileSync(join(dir, 'sa.pub'), files[1]!.content);
  await t.rejects(planServiceAccountKeys(context), { code: 'PKI_CERTIFICATE_STALE' });
  const caKey = readFileSync(join(dir, 'ca.key'), 'utf8');
  t.equal(derivePublicKeyPem(caKey), openssl(['pkey', '-pubout'], caKey));

  const external = t.testdir({ 'ca.crt': readFileSync(join(dir, 'ca.crt'), 'utf8') });
  await t.rejects(planCertificate(findCertificate('apiserver'), { ...context, certificatesDir: external }), {
    code: 'PKI_KEY_MISSING',
  });
});
