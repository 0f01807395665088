import { rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { formatExpiryWarning, readCertificateEnds } from '../../pki/expiry-warning.ts';
import { createCa, issueCertificate, validityFrom } from '../../pki/issue.ts';
import { buildKubeconfig } from '../../templates/kubeconfig.ts';
import { renderYaml } from '../../templates/yaml.ts';

const DAY_MS = 24 * 3600_000;
const NOW = new Date('2026-06-01T12:00:00Z');
const algorithm = 'ECDSA-P256' as const;

const inDays = (name: string, days: number) => ({ name, notAfter: new Date(NOW.getTime() + days * DAY_MS) });

/** Ends in days from now, and the line that tells of them. */
const LINES = [
  { ends: [], line: undefined },
  { ends: [inDays('apiserver', 30), inDays('ca', 3650)], line: undefined },
  {
    ends: [inDays('admin.conf', 29.9), inDays('apiserver', -3), inDays('ca', 3650)],
    line: 'certificates end: "apiserver" ended 3 days ago, "admin.conf" ends in 29 days; tkadm certs renew all',
  },
  { ends: [inDays('apiserver', 0.5)], line: /"apiserver" ends within a day; tkadm certs renew all$/ },
  { ends: [inDays('apiserver', -0.5)], line: /"apiserver" ended today;/ },
  { ends: [inDays('etcd/server', 1)], line: /"etcd\/server" ends in 1 day; tkadm certs renew all$/ },
  {
    ends: [{ ...inDays('apiserver', 5), isExternal: true }],
    line: /; the CA elsewhere has to issue new ones: tkadm certs generate-csr$/,
  },
  { ends: [inDays('ca', 5)], line: /"ca" ends in 5 days; a CA is not renewed in place/ },
  { ends: [inDays('etcd/ca', 5)], line: /; a CA is not renewed/ },
  { ends: [inDays('front-proxy-ca', 5)], line: /; a CA is not renewed/ },
  {
    ends: [inDays('kubelet-client', 5)],
    line: /the agent renews its own while it runs: tkadm service status$/,
  },
  { ends: [inDays('ca', 5), inDays('apiserver', 5)], line: /; tkadm certs renew all; a CA is not renewed/ },
] as const;

for (const { ends, line } of LINES) {
  t.test(`formatExpiryWarning() for ${ends.map(({ name }) => name).join(', ') || 'nothing'}`, (t) => {
    const text = formatExpiryWarning(ends, NOW);
    if (line instanceof RegExp) t.match(text, line);
    else t.equal(text, line);
    t.notMatch(text ?? '', '\n', 'one line');
    t.end();
  });
}

t.test('readCertificateEnds() reads certificates, kubeconfigs and the one of the agent', async (t) => {
  const dir = t.testdir({ kubernetes: { pki: { etcd: {} } }, kubelet: {} });
  const ca = await createCa({ commonName: 'kubernetes', algorithm, ...validityFrom(NOW, 100 * DAY_MS) });
  const leaf = await issueCertificate({
    spec: { commonName: 'x', organizations: [], usages: ['client auth'] },
    ca,
    algorithm,
    ...validityFrom(NOW, 10 * DAY_MS),
  });
  const kubeconfig = buildKubeconfig({
    clusterName: 'k',
    server: 'https://a',
    caPem: ca.certPem,
    user: 'u',
    credentials: leaf,
  });
  const files = {
    'kubernetes/pki/ca.crt': ca.certPem,
    'kubernetes/pki/ca.key': ca.keyPem,
    'kubernetes/pki/apiserver.crt': leaf.certPem,
    'kubernetes/pki/broken.crt': 'x',
    'kubernetes/pki/etcd/server.crt': leaf.certPem,
    'kubernetes/admin.conf': renderYaml(kubeconfig),
    'kubernetes/other.conf': 'apiVersion: v1\n',
    'kubernetes/json.conf': '{}',
    'kubelet/2026.pem': leaf.certPem + leaf.keyPem,
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(dir, name), text);
  symlinkSync('2026.pem', join(dir, 'kubelet/kubelet-client-current.pem'));
  const read = () => readCertificateEnds(join(dir, 'kubernetes'), join(dir, 'kubelet'));
  t.same(
    read().map(({ name, notAfter }) => [name, (notAfter.getTime() - NOW.getTime()) / DAY_MS]),
    [
      ['apiserver', 10],
      ['ca', 100],
      ['etcd/server', 10],
      ['admin.conf', 10],
      ['kubelet-client', 10],
    ],
  );
  t.same(readCertificateEnds('/nonexistent', '/nonexistent'), []);
  t.notOk(read().some((end) => end.isExternal));
  rmSync(join(dir, 'kubernetes/pki/ca.key'));
  t.ok(read().every((end) => end.isExternal));
});
