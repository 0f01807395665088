import t from 'tap';
import { CHECKS } from '../../preflight/checks.ts';
import type { PreflightScope, Severity } from '../../preflight/finding.ts';
import { isCheckName, isIgnoredName, reportUnknownNames } from '../../preflight/names.ts';

const I = 'init';
const J = 'join';
const C = 'join-control-plane';
const U = 'upgrade';

/** kubeadm 1.36's checks: name, commands, the gravest it can be. */
const KUBEADM: readonly (readonly [string, readonly PreflightScope[], Severity])[] = [
  ['IsPrivilegedUser', [I, J, C, U, 'reset'], 'error'],
  ['NumCPU', [I, C], 'error'],
  ['Mem', [I, C], 'error'],
  ['KubernetesVersion', [I, C], 'warning'],
  ['Firewalld', [I, C], 'warning'],
  ['Port-6443', [I, C], 'error'],
  ['Port-10259', [I, C], 'error'],
  ['Port-10257', [I, C], 'error'],
  ['Port-2379', [I, C], 'error'],
  ['Port-2380', [I, C], 'error'],
  ['Port-10250', [I, J, C], 'error'],
  ...['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'etcd'].map(
    (name) => [`FileAvailable--etc-kubernetes-manifests-${name}.yaml`, [I, C], 'error'] as const,
  ),
  ['FileAvailable--etc-kubernetes-kubelet.conf', [J, C], 'error'],
  ['FileAvailable--etc-kubernetes-bootstrap-kubelet.conf', [J, C], 'error'],
  ['FileAvailable--etc-kubernetes-pki-ca.crt', [J], 'error'],
  ['HTTPProxy', [I, J, C], 'warning'],
  ['HTTPProxyCIDR', [I], 'warning'],
  ['CRI', [I, J, C], 'error'],
  ['ContainerRuntimeVersion', [I, J, C, U], 'error'],
  ['Swap', [I, J, C], 'warning'],
  ['FileExisting-losetup', [I, J, C], 'error'],
  ['FileExisting-mount', [I, J, C], 'error'],
  ['FileExisting-cp', [I, J, C], 'error'],
  ['SystemVerification', [I, J, C, U], 'error'],
  ['Hostname', [I, J, C], 'error'],
  ['KubeletVersion', [I, J, C, U], 'error'],
  ['Service-kubelet', [I, J, C], 'warning'],
  ['FileContent--proc-sys-net-ipv4-ip_forward', [I, J, C], 'error'],
  ['FileContent--proc-sys-net-ipv6-conf-default-forwarding', [I, J, C], 'error'],
  ['DirAvailable--var-lib-etcd', [I, C], 'error'],
  ['ExternalEtcdVersion', [I, C], 'error'],
  ['ExternalEtcdClientCertificates', [I, C], 'error'],
  ['ImagePull', [I, C, U], 'error'],
  ['CoreDNSUnsupportedPlugins', [U], 'error'],
  ['CoreDNSMigration', [U], 'error'],
  ['CreateJob', [U], 'error'],
  ['ControlPlaneNodesReady', [U], 'error'],
  ['StaticPodManifest', [U], 'error'],
];

for (const [name, scopes, severity] of KUBEADM) {
  t.test(`CHECKS has ${name}`, (t) => {
    const row = CHECKS.find((check) => name === check.name || name.startsWith(`${check.name}-`));
    t.ok(row, 'a row has it');
    t.equal(row?.severity, severity);
    for (const scope of scopes) t.ok(row?.scopes.includes(scope), `it is looked at by ${scope}`);
    t.ok(isCheckName(name) && isCheckName(name.toLowerCase()));
    t.ok(isIgnoredName(name, [name.toUpperCase()]));
    t.end();
  });
}

t.test('CHECKS has unique names, says what it looks at, and reset has two rows', (t) => {
  t.equal(new Set(CHECKS.map((row) => row.name)).size, CHECKS.length);
  for (const { name, looksAt } of CHECKS) {
    const texts = typeof looksAt === 'string' ? [looksAt] : [looksAt.embedded, looksAt.upstream];
    for (const text of texts) t.ok(text.length > 10, `${name}: ${text}`);
  }
  t.same(
    CHECKS.filter((row) => row.scopes.includes('reset')).map((row) => row.name),
    ['IsPrivilegedUser', 'OtherCluster'],
  );
  t.same(
    CHECKS.filter((row) => row.stage === 'first').map((row) => row.name),
    ['IsPrivilegedUser'],
  );
  t.end();
});

t.test('reportUnknownNames() warns of a name that no check has and suggests the nearest', (t) => {
  const [finding, ...rest] = reportUnknownNames([
    'numcpu',
    'Swapp',
    'all',
    'FileExisting-crictl',
    'port-644',
  ]);
  t.same(rest, [], 'any port may be meant, and any file');
  t.match(finding, { severity: 'warning', reason: /"Swapp"/, fix: '--ignore-preflight-errors=Swap' });
  t.match(reportUnknownNames(['numcpus'])[0], { fix: '--ignore-preflight-errors=NumCPU' });
  t.match(reportUnknownNames(['Nonsense'])[0], { evidence: /tkadm preflight --list/, fix: undefined });
  t.end();
});
