import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parseCertificate } from '../../pki/certificate.ts';
import { createCa, validityFrom } from '../../pki/issue.ts';
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
