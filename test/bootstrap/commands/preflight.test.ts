import { load } from 'js-yaml';
import t from 'tap';
import { planChecks } from '../../../bootstrap/phases/preflight.ts';
import { EXIT_CODES } from '../../../runtime/base/errors.ts';
import { createPrivateMachine, type PrivateMachine } from '../../hosts/private-machine.ts';
import { CLI } from './tkadm.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const FORWARD = 'FileContent--proc-sys-net-ipv4-ip_forward';
const UPSTREAM = `apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration: {criSocket: "unix:///run/containerd/containerd.sock", ignorePreflightErrors: [CRI]}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
etcd: {local: {dataDir: /var/lib/etcd}}
---
apiVersion: tkadm.io/v1alpha1
kind: TkadmConfiguration
engine: upstream
store: etcd
`;

interface Report {
  readonly ok: boolean;
  readonly findings: readonly {
    readonly check: string;
    readonly severity: string;
    readonly isIgnored?: boolean;
  }[];
  readonly repairs: readonly { readonly check: string; readonly summary: string }[];
  readonly checks: readonly { readonly name: string; readonly result: string; readonly looksAt: string }[];
}

/** `tkadm` on the machine, which nothing but its own files and sockets belong to. */
async function tkadm(machine: PrivateMachine, args: readonly string[], input?: string) {
  // tap follows every Node.js process and lets it write into its own directory, which another user may not.
  const command = ['env', '-u', 'NODE_OPTIONS', process.execPath, CLI, ...args];
  return machine.host.run(command, { timeoutMs: 60_000, ...(input === undefined ? {} : { input }) });
}

function names(report: Report, severity: string): readonly string[] {
  return report.findings.filter((row) => row.severity === severity).map((row) => row.check);
}

t.test('tkadm preflight on a machine that is as it should be', { skip }, async (t) => {
  const machine = await createPrivateMachine();
  t.teardown(() => machine.close());
  const json = await tkadm(machine, ['preflight', '-o', 'json']);
  t.equal(json.exitCode, 0, json.stderr);
  t.equal(json.stdout.trim().split('\n').length, 1, 'one document');
  const report: Report = JSON.parse(json.stdout);
  t.equal(report.ok, true);
  t.ok(report.checks.every((row) => row.looksAt.length > 10 && row.result !== 'skipped'));
  const yaml = load((await tkadm(machine, ['preflight', 'init', '-o', 'yaml'])).stdout) as Report;
  t.same(
    yaml.checks.map((row) => row.name),
    report.checks.map((row) => row.name),
  );
  const text = await tkadm(machine, ['preflight']);
  t.match(text.stdout, /^\d+ checks: \d+ passed.* \(\d+ ms\)$/m);
  const list = await tkadm(machine, ['preflight', '--list']);
  t.match(list.stdout, /^NumCPU +error +init,join-control-plane +/m);
  const mixed = await tkadm(machine, ['preflight', '--ignore-preflight-errors=all,Swap']);
  t.equal(mixed.exitCode, EXIT_CODES.usage, '"all" stands alone');
});

t.test('tkadm preflight --fix repairs and tells, not what is ignored', { skip }, async (t) => {
  const machine = await createPrivateMachine({ setup: 'echo 0 > /proc/sys/net/ipv4/ip_forward' });
  t.teardown(() => machine.close());
  const found = await tkadm(machine, ['preflight']);
  t.equal(found.exitCode, EXIT_CODES.preflight);
  t.match(found.stdout, new RegExp(`^ERROR +${FORWARD}$`, 'm'));
  t.match(found.stdout, /^ +seen +\/proc\/sys\/net\/ipv4\/ip_forward is 0$/m);
  t.match(found.stdout, /^ +fix +sysctl -w .*\(--fix does it\)$/m);
  t.match(found.stderr, new RegExp(`${FORWARD}\n  try: .*--fix`));
  const json = await tkadm(machine, ['preflight', '-o', 'json']);
  t.equal(json.exitCode, EXIT_CODES.preflight);
  t.equal(json.stderr, '');
  t.same(names(JSON.parse(json.stdout), 'error'), [FORWARD]);
  const init = await tkadm(machine, ['init', '--dry-run']);
  t.equal(init.exitCode, EXIT_CODES.preflight, 'init refuses with the same code');
  const value = () => machine.host.readFile('/proc/sys/net/ipv4/ip_forward');
  const ignored = await tkadm(machine, [
    'preflight',
    '--fix',
    `--ignore-preflight-errors=${FORWARD.toUpperCase()}`,
  ]);
  t.equal(ignored.exitCode, 0);
  t.match(ignored.stdout, new RegExp(`^IGNORED +${FORWARD}$`, 'm'));
  t.equal(await value(), '0\n');
  const dry = await tkadm(machine, ['preflight', '--fix', '--dry-run']);
  t.match(dry.stdout, /^WOULD +fix FileContent/m);
  t.equal(await value(), '0\n');
  const fixed = await tkadm(machine, ['preflight', '--fix']);
  t.equal(fixed.exitCode, 0, fixed.stdout);
  t.match(fixed.stdout, /^DONE +fix FileContent.*ip_forward: sysctl -w/m);
  t.equal(await value(), '1\n');
});

t.test('init --fix looks again after its repairs, and fails on what is still there', { skip }, async (t) => {
  // A package manager that says it has installed the package.
  const setup =
    'rm /usr/sbin/losetup; ln -sf /bin/true /usr/bin/apt-get; echo 0 > /proc/sys/net/ipv4/ip_forward';
  const machine = await createPrivateMachine({ setup });
  t.teardown(() => machine.close());
  const result = await tkadm(machine, ['init', 'phase', 'preflight', '--fix']);
  t.equal(result.exitCode, EXIT_CODES.preflight, result.stdout + result.stderr);
  t.match(result.stdout, /\[preflight\] fix FileExisting-losetup: apt-get install/);
  t.match(
    result.stderr,
    /after its repairs preflight still finds:\n +\[ERROR FileExisting-losetup\].*\n +try: --ignore-preflight-errors=FileExisting-losetup /,
  );
  t.notMatch(result.stderr, FORWARD, 'what was repaired is told no more');
});

t.test(
  'planChecks() has what had not passed looked at again, and all after a package',
  { skip },
  async (t) => {
    const machine = await createPrivateMachine({ setup: 'echo 0 > /proc/sys/net/ipv4/ip_forward' });
    t.teardown(() => machine.close());
    const input = { scope: 'join', nodeName: 'node', ports: [], isOwnNode: false, ignored: [] } as const;
    const empty = { absentFiles: [], podCidrs: [], serviceCidrs: [] } as const;
    const plan = async () => {
      const actions = await planChecks(
        machine.host,
        { ...input, ...empty },
        { shouldFix: true, warn: () => {} },
      );
      return actions.map((action) => action.kind === 'run' && action.unpassed);
    };
    const unpassed = (await plan())[0] || [];
    t.ok(unpassed.includes('FileContent'), `${unpassed}`);
    t.notOk(unpassed.includes('IsPrivilegedUser'), 'what has passed is done with');
    await machine.host.run(['rm', '/usr/sbin/losetup']);
    t.same(await plan(), [undefined, undefined]);
  },
);

t.test('reset runs its checks, and ignores what it is told to', { skip }, async (t) => {
  const setup =
    'cp /bin/sleep /run/kubelet; /run/kubelet 1000 & until grep -q . /proc/$!/cmdline; do :; done; mkdir -p /var/log/pods/of-the-kubelet';
  const machine = await createPrivateMachine({ setup });
  t.teardown(() => machine.close());
  const logs = () => machine.host.stat('/var/log/pods/of-the-kubelet');
  for (const args of [
    ['reset', '-f'],
    ['reset', 'phase', 'preflight', '-f'],
  ]) {
    const refused = await tkadm(machine, args);
    t.equal(refused.exitCode, EXIT_CODES.preflight, refused.stdout + refused.stderr);
    t.match(refused.stderr, /\[ERROR OtherCluster\] a kubelet runs/);
  }
  t.ok(await logs(), 'nothing was removed');
  const ignoring = await tkadm(machine, ['reset', '-f', '--ignore-preflight-errors=OtherCluster']);
  t.equal(ignoring.exitCode, 0, ignoring.stderr);
  t.match(ignoring.stdout, /\[warning\] OtherCluster, ignored: a kubelet runs/);
  t.notOk(await logs());
});

t.test(
  'root is asked for where the machine is changed, unless that is to be ignored',
  { skip },
  async (t) => {
    const machine = await createPrivateMachine({ uid: 65534 });
    t.teardown(() => machine.close());
    const refused = await tkadm(machine, ['reset', '-f']);
    t.equal(refused.exitCode, EXIT_CODES.preflight);
    t.match(refused.stderr, /root is needed/);
    const ignoring = await tkadm(machine, ['reset', '-f', '--ignore-preflight-errors=isprivilegeduser']);
    t.match(ignoring.stdout, /\[warning\] IsPrivilegedUser, ignored/, ignoring.stdout + ignoring.stderr);
    const certs = await tkadm(machine, ['init', 'phase', 'certs', 'ca', '--cert-dir', '/tmp/pki']);
    t.equal(certs.exitCode, 0, certs.stderr);
    t.ok(await machine.host.stat('/tmp/pki/ca.key'), 'files are written by whoever may write them');
  },
);

t.test('files that only root reads are no obstacle to saying that root is needed', { skip }, async (t) => {
  const manifest = '/etc/kubernetes/manifests/kube-apiserver.yaml';
  const setup = `mkdir -p /etc/kubernetes/manifests; (umask 077; : > ${manifest})`;
  const machine = await createPrivateMachine({ uid: 65534, setup });
  t.teardown(() => machine.close());
  const checks = await tkadm(machine, ['preflight']);
  t.equal(checks.exitCode, EXIT_CODES.preflight, checks.stderr);
  t.match(checks.stdout, /^ERROR +IsPrivilegedUser$/m);
});

t.test('tkadm preflight looks for what the configuration plans', { skip }, async (t) => {
  const machine = await createPrivateMachine({
    setup: `mkdir -p /var/lib/etcd/member /etc/kubernetes/pki; echo no certificate > /etc/kubernetes/pki/ca.crt`,
  });
  t.teardown(() => machine.close());
  const look = async (args: readonly string[], input?: string): Promise<Report> =>
    JSON.parse((await tkadm(machine, ['preflight', ...args, '-o', 'json'], input)).stdout);

  await t.test("the upstream engine's etcd, kubelet and runtime; flag and file are united", async (t) => {
    const args = ['init', '--config', '-', '--ignore-preflight-errors', 'KubeletVersion,Swapp'];
    const report = await look(args, UPSTREAM);
    t.ok(names(report, 'error').includes('DirAvailable--var-lib-etcd'));
    const ignored = report.findings.filter((row) => row.isIgnored).map((row) => row.check);
    t.same([...ignored].sort(), ['CRI', 'KubeletVersion']);
    t.ok(names(report, 'warning').includes('IgnorePreflightErrors'));
  });

  await t.test('the proxies of the environment', async (t) => {
    const withProxy = [
      'env',
      'HTTPS_PROXY=http://user:secret@proxy:3128',
      'NO_PROXY=10.9.0.5',
      process.execPath,
    ];
    const command = [...withProxy, CLI, 'preflight', '-o', 'json'];
    const { stdout } = await machine.host.run(command, { timeoutMs: 60_000 });
    const found = names(JSON.parse(stdout), 'warning').filter((name) => name.startsWith('HTTPProxy'));
    t.same(found, ['HTTPProxyCIDR', 'HTTPProxyCIDR'], 'pods and Services; the address is excepted');
    t.notMatch(stdout, 'secret');
  });

  await t.test('a join, with the CA of another cluster on disk', async (t) => {
    const pin = `sha256:${'0'.repeat(64)}`;
    const flags = ['--token', 'abcdef.0123456789abcdef', '--discovery-token-ca-cert-hash', pin];
    const report = await look(['join', '10.9.0.1', ...flags]);
    t.same(names(report, 'error'), ['FileAvailable--etc-kubernetes-pki-ca.crt']);
    t.ok(
      report.findings.some((row) => row.check === 'ClockSkew'),
      'the API server was asked',
    );
    t.notOk(report.checks.some((row) => row.name === 'NumCPU'));
  });

  await t.test('an upgrade and a reset', async (t) => {
    t.ok(names(await look(['upgrade']), 'error').includes('StaticPodManifest'));
    const upgrade =
      'apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\nnode: {ignorePreflightErrors: [StaticPodManifest]}\n';
    const ignoring = await look(['upgrade', '--config', '-'], upgrade);
    const found = ignoring.findings.filter((row) => row.check === 'StaticPodManifest');
    t.match(found, [{ severity: 'warning', isIgnored: true }], 'a machine without admin.conf is a worker');
    const forControlPlanes = await look(['upgrade', '--config', '-'], upgrade.replace('node:', 'apply:'));
    t.ok(names(forControlPlanes, 'error').includes('StaticPodManifest'));
    const wrong = await tkadm(machine, ['preflight', 'reset', '--config', '-'], upgrade);
    t.equal(wrong.exitCode, EXIT_CODES.usage);
    t.match(wrong.stderr, /ResetConfiguration/);
    t.same(
      (await look(['reset'])).checks.map((row) => row.name),
      ['IsPrivilegedUser', 'OtherCluster'],
    );
  });
});
