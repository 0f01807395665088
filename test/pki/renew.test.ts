import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseCertificate } from '../../pki/certificate.ts';
import { findCertificate } from '../../pki/certificates.ts';
import { createCa, issueCertificate, validityFrom } from '../../pki/issue.ts';
import { planRenewal } from '../../pki/renew.ts';
import { parseKubeconfig } from '../../runtime/api/kubeconfig.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';
import { buildKubeconfig } from '../../templates/kubeconfig.ts';
import { planKubeconfigRenewal } from '../../templates/kubeconfig-renewal.ts';
import { renderYaml } from '../../templates/yaml.ts';

const DAY_MS = 24 * 3600_000;
const THEN = new Date(Math.floor(Date.now() / 1000) * 1000 - 400 * DAY_MS);
const NOW = new Date(THEN.getTime() + 400 * DAY_MS);
const algorithm = 'ECDSA-P256' as const;

t.test('planRenewal() issues the same names again', async (t) => {
  const dir = t.testdir();
  const ca = await createCa({ commonName: 'kubernetes', algorithm, ...validityFrom(THEN, 4000 * DAY_MS) });
  const old = await issueCertificate({
    spec: { commonName: 'kube-apiserver', organizations: ['o'], usages: ['server auth'] },
    subjectAltNames: { dnsNames: ['a.example'], ipAddresses: ['10.0.0.1'] },
    ca,
    algorithm,
    ...validityFrom(THEN, 365 * DAY_MS),
  });
  const files = {
    'ca.crt': ca.certPem,
    'ca.key': ca.keyPem,
    'apiserver.crt': old.certPem,
    'apiserver.key': old.keyPem,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  const context = {
    host: { readFile: readFileIfExists },
    certificatesDir: dir,
    algorithm,
    certificateValidityMs: 365 * DAY_MS,
    now: NOW,
  };
  const [keyFile, certFile] = await planRenewal(findCertificate('apiserver'), context);
  t.match(keyFile, { path: join(dir, 'apiserver.key'), mode: 0o600, secret: true });
  t.not(keyFile!.content, old.keyPem);
  const fresh = parseCertificate(certFile!.content);
  t.same(fresh.subject, { commonName: 'kube-apiserver', organizations: ['o'] });
  t.same([fresh.dnsNames, fresh.ipAddresses], [['a.example'], ['10.0.0.1']]);
  t.same(fresh.usages, ['digital signature', 'key encipherment', 'server auth']);
  t.equal(fresh.notAfter.getTime(), NOW.getTime() + 365 * DAY_MS);
  writeFileSync(join(dir, 'fresh.crt'), certFile!.content);
  const verified = execFileSync('openssl', [
    'verify',
    '-CAfile',
    join(dir, 'ca.crt'),
    join(dir, 'fresh.crt'),
  ]);
  t.match(verified.toString(), /OK/);
  t.same(await planRenewal(findCertificate('front-proxy-client'), context), []);

  const text = renderYaml(
    buildKubeconfig({
      clusterName: 'kubernetes',
      server: 'https://a:6443',
      caPem: ca.certPem,
      user: 'u',
      credentials: old,
    }),
  );
  const renewed = await planKubeconfigRenewal('/x.conf', text, { ...context, ca });
  const before = parseKubeconfig(text, '');
  const after = parseKubeconfig(renewed.content, '');
  t.same({ ...after, users: [] }, { ...before, users: [] });
  const data = after.users![0]!.user['client-certificate-data']!;
  t.ok(parseCertificate(Buffer.from(data, 'base64').toString()).notAfter > NOW);
});
