import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseCertificate } from '../../pki/certificate.ts';
import { createCa, validityFrom } from '../../pki/issue.ts';
import { KEY_ALGORITHMS } from '../../pki/keys.ts';
import { parseKubeconfig, resolveClientConfig } from '../../runtime/api/kubeconfig.ts';
import { readFileIfExists } from '../../runtime/base/files.ts';
import {
  buildKubeconfig,
  controlPlaneServer,
  describeKeptKubeconfig,
  KUBECONFIGS,
  type KubeconfigContext,
  planKubeconfig,
} from '../../templates/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';
import { matchGolden } from '../golden.ts';

const NOW = new Date();
const INPUT = {
  nodeRegistration: { name: 'node-1' },
  localAPIEndpoint: { advertiseAddress: '10.0.0.5', bindPort: 6443 },
  cluster: { clusterName: 'kubernetes', controlPlaneEndpoint: 'lb.example.com' },
};

t.test('planKubeconfig() writes each file once, with a certificate that fits', async (t) => {
  const directory = t.testdir();
  const ca = await createCa({
    commonName: 'kubernetes',
    algorithm: 'ECDSA-P256',
    ...validityFrom(NOW, 1e10),
  });
  const context: KubeconfigContext = {
    host: { readFile: readFileIfExists },
    input: INPUT,
    ca,
    algorithm: 'ECDSA-P256',
    certificateValidityMs: 1e9,
    now: NOW,
    directory,
  };
  for (const row of KUBECONFIGS) {
    const [file] = await planKubeconfig(row, context);
    t.match(file, { path: join(directory, row.fileName), mode: 0o600, secret: true });
    writeFileSync(file!.path, file!.content);
    const client = await resolveClientConfig(parseKubeconfig(file!.content, file!.path), file!.path);
    const server = row.server === 'local' ? 'https://10.0.0.5:6443' : 'https://lb.example.com:6443';
    t.equal(client.server, server, row.name);
    const certificate = parseCertificate(client.certPem!);
    const user = row.user.replace('{nodeName}', 'node-1');
    t.same(certificate.subject, { commonName: user, organizations: row.organizations });
    t.same(certificate.notBefore, parseCertificate(ca.certPem).notBefore);
    const current = execFileSync('kubectl', ['config', 'current-context', '--kubeconfig', file!.path], {
      encoding: 'utf8',
    });
    t.equal(current.trim(), `${user}@kubernetes`);
    t.same(await planKubeconfig(row, context), []);
    t.equal(describeKeptKubeconfig(row, file!.content, INPUT), undefined);
    t.match(
      describeKeptKubeconfig(row, file!.content, {
        ...INPUT,
        cluster: { clusterName: 'kubernetes' },
        localAPIEndpoint: { advertiseAddress: '10.0.0.6', bindPort: 6443 },
      }),
      /is kept: its server is/,
    );
  }
  const other = await createCa({
    commonName: 'kubernetes',
    algorithm: 'ECDSA-P256',
    ...validityFrom(NOW, 1e10),
  });
  await t.rejects(planKubeconfig(KUBECONFIGS[0], { ...context, ca: other }), {
    code: 'PKI_CERTIFICATE_STALE',
  });
  await t.rejects(
    planKubeconfig(KUBECONFIGS[0], { ...context, directory: '/nonexistent', ca: { certPem: ca.certPem } }),
    { code: 'PKI_KEY_MISSING' },
  );
});

for (const { name: algorithm } of KEY_ALGORITHMS) {
  t.test(`every kubeconfig with ${algorithm} holds a certificate as openssl and the table say`, async (t) => {
    const directory = t.testdir();
    const ca = await createCa({ commonName: 'kubernetes', algorithm, ...validityFrom(NOW, 1e10) });
    writeFileSync(join(directory, 'ca.crt'), ca.certPem);
    const openssl = (...args: readonly string[]) => execFileSync('openssl', args, { encoding: 'utf8' });
    const start = (path: string) => openssl('x509', '-noout', '-startdate', '-in', path);
    const subjects: Readonly<Record<string, string>> = {
      admin: 'O = kubeadm:cluster-admins, CN = kubernetes-admin',
      'super-admin': 'O = system:masters, CN = kubernetes-super-admin',
      kubelet: 'O = system:nodes, CN = system:node:node-1',
      'controller-manager': 'CN = system:kube-controller-manager',
      scheduler: 'CN = system:kube-scheduler',
    };
    for (const row of KUBECONFIGS) {
      const [file] = await planKubeconfig(row, {
        host: { readFile: readFileIfExists },
        input: INPUT,
        ca,
        algorithm,
        certificateValidityMs: 1e9,
        now: NOW,
        directory,
      });
      writeFileSync(file!.path, file!.content, { mode: file!.mode });
      const view = ['config', 'view', '--raw', '--minify', '-o', 'json', '--kubeconfig', file!.path];
      const config = JSON.parse(execFileSync('kubectl', view, { encoding: 'utf8' }));
      const { 'client-certificate-data': cert, 'client-key-data': key } = config.users[0].user;
      const paths = [`${file!.path}.crt`, `${file!.path}.key`] as const;
      writeFileSync(paths[0], Buffer.from(cert, 'base64'));
      writeFileSync(paths[1], Buffer.from(key, 'base64'));
      const verified = openssl(
        'verify',
        '-purpose',
        'sslclient',
        '-CAfile',
        join(directory, 'ca.crt'),
        paths[0],
      );
      t.match(verified, /: OK\n$/, row.name);
      const text = openssl('x509', '-noout', '-text', '-in', paths[0]);
      t.match(text, `Subject: ${subjects[row.name]}\n`);
      t.match(text, /X509v3 Extended Key Usage: \n\s+TLS Web Client Authentication\n/);
      t.match(text, /CA:FALSE/);
      t.notMatch(text, 'Subject Alternative Name');
      t.equal(start(paths[0]), start(join(directory, 'ca.crt')), 'as old as the CA');
      t.equal(
        openssl('pkey', '-pubout', '-in', paths[1]),
        openssl('x509', '-noout', '-pubkey', '-in', paths[0]),
      );
    }
  });
}

t.test('buildKubeconfig() matches its golden file', (t) => {
  const kubeconfig = buildKubeconfig({
    clusterName: 'kubernetes',
    server: 'https://10.0.0.5:6443',
    caPem: 'CA',
    user: 'admin',
    credentials: { certPem: 'CERT', keyPem: 'KEY' },
  });
  matchGolden(t, 'kubeconfig.yaml', renderYaml(kubeconfig));
  t.end();
});

t.test('controlPlaneServer() adds the port and brackets', (t) => {
  const server = (controlPlaneEndpoint: string | undefined) =>
    controlPlaneServer({ ...INPUT, cluster: { clusterName: 'k', controlPlaneEndpoint } });
  t.equal(server(undefined), 'https://10.0.0.5:6443');
  t.equal(server('a'), 'https://a:6443');
  t.equal(server('a:8443'), 'https://a:8443');
  t.equal(server('[fd00::1]:8443'), 'https://[fd00::1]:8443');
  t.equal(server('fd00::1'), 'https://[fd00::1]:6443');
  t.end();
});
