import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { CERTIFICATES, type CertificateName, type CertificateRow } from '../../pki/certificates.ts';
import { KEY_ALGORITHMS } from '../../pki/keys.ts';
import { type PkiContext, planCertificate, planServiceAccountKeys } from '../../pki/plan.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';

const NOW = new Date(Math.floor(Date.now() / 1000) * 1000);
const LEAF_MS = 8760 * 3600_000;
const CA_MS = 87600 * 3600_000;
const ETCD_NAMES =
  'DNS:localhost, DNS:node-1, IP Address:10.0.0.5, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1';
const SERVER = 'TLS Web Server Authentication';
const CLIENT = 'TLS Web Client Authentication';

/** What openssl must print of each certificate, from the documented table of kubeadm's certificates. */
const EXPECTED: Readonly<
  Record<CertificateName, { subject: string; names?: string; usage?: string; ca?: string }>
> = {
  ca: { subject: 'CN = kubernetes', names: 'DNS:kubernetes' },
  'front-proxy-ca': { subject: 'CN = front-proxy-ca', names: 'DNS:front-proxy-ca' },
  'etcd-ca': { subject: 'CN = etcd-ca', names: 'DNS:etcd-ca' },
  apiserver: {
    subject: 'CN = kube-apiserver',
    names:
      'DNS:api.example.com, DNS:kubernetes, DNS:kubernetes.default, DNS:kubernetes.default.svc, ' +
      'DNS:kubernetes.default.svc.cluster.local, DNS:lb.example.com, DNS:node-1, IP Address:10.96.0.1, IP Address:10.0.0.5',
    usage: SERVER,
    ca: 'ca',
  },
  'apiserver-kubelet-client': { subject: 'CN = kube-apiserver-kubelet-client', usage: CLIENT, ca: 'ca' },
  'front-proxy-client': { subject: 'CN = front-proxy-client', usage: CLIENT, ca: 'front-proxy-ca' },
  'etcd-server': { subject: 'CN = node-1', names: ETCD_NAMES, usage: `${SERVER}, ${CLIENT}`, ca: 'etcd/ca' },
  'etcd-peer': { subject: 'CN = node-1', names: ETCD_NAMES, usage: `${SERVER}, ${CLIENT}`, ca: 'etcd/ca' },
  'etcd-healthcheck-client': { subject: 'CN = kube-etcd-healthcheck-client', usage: CLIENT, ca: 'etcd/ca' },
  'apiserver-etcd-client': { subject: 'CN = kube-apiserver-etcd-client', usage: CLIENT, ca: 'etcd/ca' },
};

const KEY_TEXTS: Readonly<Record<string, RegExp>> = {
  'RSA-2048': /Private-Key: \(2048 bit, 2 primes\)/,
  'RSA-3072': /Private-Key: \(3072 bit, 2 primes\)/,
  'RSA-4096': /Private-Key: \(4096 bit, 2 primes\)/,
  'ECDSA-P256': /NIST CURVE: P-256/,
  'ECDSA-P384': /NIST CURVE: P-384/,
};

function openssl(args: readonly string[], input?: string): string {
  return execFileSync('openssl', [...args], { encoding: 'utf8', input, stdio: ['pipe', 'pipe', 'pipe'] });
}

for (const { name: algorithm } of KEY_ALGORITHMS) {
  t.test(`every certificate with ${algorithm} is as openssl and the table say`, async (t) => {
    const dir = t.testdir();
    const context: PkiContext = {
      host: { readFile: readFileIfExists },
      certificatesDir: dir,
      input: {
        nodeRegistration: { name: 'node-1' },
        localAPIEndpoint: { advertiseAddress: '10.0.0.5' },
        cluster: {
          controlPlaneEndpoint: 'lb.example.com:6443',
          networking: { serviceSubnet: '10.96.0.0/12', dnsDomain: 'cluster.local' },
          apiServer: { certSANs: ['API.example.com'] },
          etcd: { local: {} },
        },
      },
      algorithm,
      certificateValidityMs: LEAF_MS,
      caCertificateValidityMs: CA_MS,
      now: NOW,
      warn: (message) => t.fail(message),
    };
    const write = (files: Awaited<ReturnType<typeof planCertificate>>) => {
      for (const { path, content } of files) {
        mkdirSync(dirname(path), { recursive: true });
        writeFileSync(path, content);
      }
    };
    for (const row of CERTIFICATES as readonly CertificateRow[]) {
      const files = await planCertificate(row, context);
      t.same(
        files.map(({ path, mode, secret }) => [path, mode, secret ?? false]),
        [
          [join(dir, `${row.baseName}.key`), 0o600, true],
          [join(dir, `${row.baseName}.crt`), 0o644, false],
        ],
        `${row.name}: paths and modes`,
      );
      write(files);
      const [key, cert] = files.map((file) => file.content);
      const expected = EXPECTED[row.name as CertificateName];
      const text = openssl(['x509', '-noout', '-text', '-dates'], cert);
      const isCa = expected.ca === undefined;
      t.match(text, `Subject: ${expected.subject}\n`, row.name);
      t.match(
        openssl(['x509', '-noout', '-issuer'], cert),
        isCa ? expected.subject : /CN = (kubernetes|.*-ca)\n/,
      );
      if (expected.names)
        t.match(text, `X509v3 Subject Alternative Name: \n                ${expected.names}\n`);
      else t.notMatch(text, 'Subject Alternative Name');
      if (expected.usage) t.match(text, `X509v3 Extended Key Usage: \n                ${expected.usage}\n`);
      else t.notMatch(text, 'Extended Key Usage');
      const usages = `Digital Signature, Key Encipherment${isCa ? ', Certificate Sign' : ''}`;
      t.match(text, `X509v3 Key Usage: critical\n                ${usages}\n`);
      t.match(text, `X509v3 Basic Constraints: critical\n                CA:${isCa ? 'TRUE' : 'FALSE'}\n`);
      t.equal(/Subject Key Identifier/.test(text), isCa, 'only a CA has a subject key identifier');
      t.equal(/Authority Key Identifier/.test(text), !isCa, 'only a leaf has that of its issuer');
      const [from, to] = ['notBefore', 'notAfter'].map((end) =>
        Date.parse(new RegExp(`${end}=(.*)`).exec(text)![1]!),
      );
      t.equal(from, NOW.getTime() - 300_000, 'begins five minutes ago');
      t.equal(to, NOW.getTime() + (isCa ? CA_MS : LEAF_MS));
      t.match(openssl(['pkey', '-noout', '-text'], key), KEY_TEXTS[algorithm]!);
      t.match(key, algorithm.startsWith('RSA') ? /^-----BEGIN RSA PRIVATE/ : /^-----BEGIN EC PRIVATE/);
      t.equal(openssl(['pkey', '-pubout'], key), openssl(['x509', '-noout', '-pubkey'], cert), 'its own key');
      const purpose = isCa
        ? []
        : ['-purpose', expected.usage!.startsWith(SERVER) ? 'sslserver' : 'sslclient'];
      const caFile = join(dir, `${expected.ca ?? row.baseName}.crt`);
      const chain = ['verify', '-x509_strict', ...purpose, '-CAfile', caFile];
      t.match(openssl([...chain, join(dir, `${row.baseName}.crt`)]), /: OK\n$/, 'chains to its CA');
    }
    const files = await planServiceAccountKeys(context);
    t.same(
      files.map(({ path, mode }) => [path, mode]),
      [
        [join(dir, 'sa.key'), 0o600],
        [join(dir, 'sa.pub'), 0o600],
      ],
    );
    t.equal(openssl(['pkey', '-pubout'], files[0]!.content), files[1]!.content);
    t.match(openssl(['pkey', '-noout', '-text'], files[0]!.content), KEY_TEXTS[algorithm]!);
  });
}
