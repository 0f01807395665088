import t from 'tap';
import {
  apply,
  getJson,
  initCluster,
  joinArguments,
  kubectl,
  kubectlText,
  labObstacle,
  readyNodes,
  type TimedOutput,
  TKADM,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** A second init on a running cluster may take this much of a processor; the clock depends on the machine's load. */
const AGAIN_CPU_SECONDS = 1.5;

/** Every file below the directories that init writes to, with its time of change. */
const FILES = `find /etc/kubernetes /var/lib/kubelet/*.* /var/lib/tkadm/bundle -maxdepth 3 -printf '%p %m %C@\\n' 2>/dev/null | sort`;

t.test('phases on a running cluster', { skip: labObstacle(), timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];

  await t.test('init --dry-run on a clean machine shows everything and leaves nothing', async (t) => {
    const before = await leftovers(cp);
    const result = await tkadm(cp, ['init', '--fix', '--dry-run']);
    succeeds(t, result);
    t.match(result.stdout, /\+\+\+ \/etc\/kubernetes\/manifests\/kube-apiserver\.yaml \(mode 0600\)/);
    t.match(result.stdout, /would apply ConfigMap kube-system\/kubeadm-config/);
    t.match(result.stdout, /changes would be made; nothing was changed/);
    t.notMatch(result.stdout, /PRIVATE KEY-----\n\s*\+?[A-Za-z0-9/+]{20}/, 'no key');
    t.notMatch(result.stdout, /token-secret: (?!\(secret\))/, 'no token');
    t.same(await leftovers(cp), before);
    const json = await tkadm(cp, ['init', '--fix', '--dry-run', '-o', 'json']);
    const events = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    t.match(
      events.find((event) => /kube-scheduler\.yaml/.test(event.summary ?? '')),
      {
        type: 'action',
        isDryRun: true,
        preview: /@@ -0,0 \+1,/,
      },
    );
  });

  await t.test('a dry run needs no root, and asks about no phase that is none', async (t) => {
    const asNobody = ['setpriv', '--reuid=65534', '--regid=65534', '--clear-groups', process.execPath, TKADM];
    const result = await cp.exec([...asNobody, 'init', '--dry-run', '--fix'], { timeoutMs: 60_000 });
    t.equal(result.exitCode, 0, result.stderr);
    t.match(result.stdout, /not root/);
    t.match(result.stdout, /kube-apiserver\.yaml/);
    const refused = await tkadm(cp, ['init', '--skip-phases', 'addon/corednss']);
    t.equal(refused.exitCode, 2, 'usage');
    t.match(refused.stderr, /invalid phase name; valid ones are addon\/pod-network, addon\/coredns/);
    t.match(refused.stderr, /did you mean "addon\/coredns"/);
  });

  await t.test('phases that write files work with the upstream engine', async (t) => {
    const input = 'apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: upstream\n';
    for (const phase of ['certs all', 'kubeconfig all', 'etcd local', 'control-plane all']) {
      succeeds(t, await tkadm(cp, ['init', 'phase', ...phase.split(' '), '--config', '-'], { input }), phase);
    }
    const script = 'stat -c "%a %n" /etc/kubernetes/manifests /etc/kubernetes/manifests/* /var/lib/etcd';
    t.equal(
      (await cp.exec(['sh', '-c', script])).stdout,
      [
        '700 /etc/kubernetes/manifests',
        ...['etcd', 'kube-apiserver', 'kube-controller-manager', 'kube-scheduler'].map(
          (name) => `600 /etc/kubernetes/manifests/${name}.yaml`,
        ),
        '700 /var/lib/etcd',
        '',
      ].join('\n'),
    );
    t.match((await tkadm(cp, ['init', '--config', '-'], { input })).stderr, /engine "upstream"/);
    await cp.exec(['sh', '-c', 'rm -rf /etc/kubernetes/* /var/lib/etcd']);
  });

  const join = await initCluster(cp);

  await t.test('a second init does nothing, says so and prints a join command that works', async (t) => {
    const before = await state(cp);
    const result = await tkadm(cp, ['init']);
    succeeds(t, result);
    const seconds = await cpuSeconds(cp, ['init']);
    t.ok(
      seconds < AGAIN_CPU_SECONDS,
      `${seconds.toFixed(2)} s of a processor, ${result.seconds.toFixed(2)} s in all`,
    );
    t.match(result.stdout, /\[certs\/ca\] Already there/);
    t.match(result.stdout, /\[etcd\/local\] Nothing to do: .*embedded store/);
    t.match(result.stdout, /Nothing was changed/);
    t.notMatch(result.stdout, /\] (write|apply|patch|start|install|wait) /);
    t.same(await state(cp), before);
    t.match(result.stdout, join.token, 'the token of the first run');
    const json = await asReader(cp, () => tkadm(cp, ['init', '-o', 'json']));
    t.match(JSON.parse(json.stdout.trim().split('\n').at(-1) ?? ''), { ok: true, changes: 0 }, json.stderr);
    const seen = await inTerminal(cp, 'init');
    t.equal(seen.exitCode, 0);
    t.match(seen.stdout, /Generate certificates \(already there\)/);
  });

  await t.test('--dry-run with other settings shows only what differs', async (t) => {
    const before = await state(cp);
    const result = await tkadm(cp, ['init', '--dry-run', '--config', '-'], {
      input: [
        'apiVersion: kubeadm.k8s.io/v1beta4',
        'kind: ClusterConfiguration',
        'scheduler: {extraArgs: [{name: v, value: "4"}]}',
        '',
      ].join('\n'),
    });
    succeeds(t, result);
    const changes = result.stdout.split('\n').filter((line) => /^\[.*\] would/.test(line));
    t.same(changes, [
      '[control-plane/scheduler] would write /etc/kubernetes/manifests/kube-scheduler.yaml',
      '[upload-config/kubeadm] would apply ConfigMap kube-system/kubeadm-config',
    ]);
    const lines = result.stdout.split('\n').filter((line) => /^ {4}[-+] /.test(line));
    t.ok(lines.some((line) => line.includes('- --v=4')));
    t.ok(lines.length < 12, lines.join('\n'));
    t.same(await state(cp), before);
  });

  await t.test('an add-on that is skipped is disabled in the cluster, and stays', async (t) => {
    const result = await tkadm(cp, ['init', '--dry-run', '--skip-phases', 'addon/coredns']);
    t.match(result.stdout, /\[addon\/coredns\] Skipped/);
    t.match(result.stdout, / dns:\n\s+- +disabled: false\n\s+\+ +disabled: true/);
    const only = result.stdout.split('\n').filter((line) => /^\[.*\] would/.test(line));
    t.same(only, ['[upload-config/kubeadm] would apply ConfigMap kube-system/kubeadm-config']);
  });

  await t.test('add-ons are printed as documents that kubectl reads', async (t) => {
    const { stdout } = await tkadm(cp, ['init', 'phase', 'addon', 'all', '--print-manifest']);
    const applied = await kubectl(cp, ['apply', '--dry-run=server', '-f', '-'], { input: stdout });
    t.equal(applied.exitCode, 0, applied.all);
    t.match(applied.stdout, /deployment.apps\/coredns .*\n/);
    t.match(applied.stdout, /daemonset.apps\/kube-proxy .*\n/);
  });

  await t.test('what was removed is made again by its phase alone', async (t) => {
    const steps = [
      ['clusterrolebinding', 'kubeadm:get-nodes', 'bootstrap-token'],
      ['configmap -n kube-system', 'kubelet-config', 'upload-config kubelet'],
      ['service -n kube-system', 'kube-dns', 'addon/coredns'],
    ] as const;
    for (const [kind, name, phase] of steps) {
      await kubectlText(cp, ['delete', ...kind.split(' '), name]);
      const result = await tkadm(cp, ['init', 'phase', ...phase.split(' ')]);
      succeeds(t, result);
      t.equal(result.stdout.match(/\] apply /g)?.length, 1, result.stdout);
      t.equal((await kubectl(cp, ['get', ...kind.split(' '), name])).exitCode, 0, name);
    }
    await kubectlText(cp, ['label', 'node', 'cp', 'node-role.kubernetes.io/control-plane-']);
    t.match((await tkadm(cp, ['init', 'phase', 'mark-control-plane'])).stdout, /patch Node cp/);
  });

  await t.test('what users changed in the cluster is kept', async (t) => {
    await kubectlText(cp, ['scale', '-n', 'kube-system', 'deployment/coredns', '--replicas=2']);
    const corefile = await kubectlText(cp, [
      'get',
      'cm',
      '-n',
      'kube-system',
      'coredns',
      '-o',
      'jsonpath={.data.Corefile}',
    ]);
    const changed = corefile.replace('ttl 30', 'ttl 5');
    await kubectlText(cp, [
      'patch',
      'cm',
      '-n',
      'kube-system',
      'coredns',
      '-p',
      JSON.stringify({ data: { Corefile: changed } }),
    ]);
    await kubectlText(cp, ['annotate', 'cm', '-n', 'kube-system', 'kube-proxy', 'mine=yes']);
    const result = await tkadm(cp, ['init', 'phase', 'addon', 'all']);
    succeeds(t, result);
    t.notMatch(result.stdout, /\] apply /);
    const { spec } = await getJson<{ spec: { replicas: number } }>(cp, [
      'deployment',
      '-n',
      'kube-system',
      'coredns',
    ]);
    t.equal(spec.replicas, 2);
  });

  await t.test('the super administrator may be gone: init does not need it again', async (t) => {
    await cp.exec(['mv', '/etc/kubernetes/super-admin.conf', '/root/']);
    const result = await tkadm(cp, ['init', 'phase', 'wait-control-plane']);
    succeeds(t, result);
    await cp.exec(['mv', '/root/super-admin.conf', '/etc/kubernetes/']);
  });

  await t.test('a used-up token is replaced, and without one show-join-command says so', async (t) => {
    await tkadm(cp, ['token', 'delete', join.token.slice(0, 6)]);
    const none = await tkadm(cp, ['init', 'phase', 'show-join-command']);
    t.match(none.stdout, /no bootstrap token.*\n[\s\S]*token create --print-join-command/);
    const skipped = await tkadm(cp, ['init', '--skip-phases', 'bootstrap-token']);
    t.match(skipped.stdout, /\[bootstrap-token\] Skipped/);
    t.equal(skipped.stderr, '', 'nothing on standard error');
    t.match(skipped.stdout, /no bootstrap token/);
    const again = await tkadm(cp, ['init']);
    t.match(again.stdout, /apply Secret kube-system\/bootstrap-token-/);
  });

  await t.test('join, phase by phase', async (t) => {
    const shown = await tkadm(cp, ['init', 'phase', 'show-join-command', '-o', 'json']);
    const { joinCommand } = JSON.parse(shown.stdout.trim().split('\n').at(-1) ?? '');
    const [, endpoint = '', token = '', pin = ''] =
      /join (\S+) --token (\S+) --discovery-token-ca-cert-hash (\S+)/.exec(joinCommand) ?? [];
    const args = joinArguments({ endpoint, token, pin });
    const dry = await tkadm(node1, ['join', ...args, '--fix', '--dry-run']);
    succeeds(t, dry);
    t.match(dry.stdout, /\+\+\+ \/etc\/kubernetes\/bootstrap-kubelet\.conf/);
    t.notMatch(dry.stdout, token.slice(7));
    t.equal((await node1.exec(['ls', '-A', '/etc/kubernetes'])).stdout, '');
    const phases = ['preflight', 'bundle', 'runtime', 'kubelet-start', 'kubelet-wait-bootstrap', 'wait-node'];
    for (const phase of phases) {
      const fix = phase === 'preflight' ? ['--fix'] : [];
      const result = await tkadm(node1, ['join', 'phase', phase, ...args, ...fix]);
      succeeds(t, result, phase);
    }
    t.same(await readyNodes(cp), ['cp', 'node1']);
  });

  await t.test('reset, phase by phase, with its configuration file', async (t) => {
    await node1.exec(['mkdir', '-p', '/var/lib/etcd/member', '/etc/kubernetes/tmp/x']);
    const question = await tkadm(node1, ['reset', 'phase', 'preflight']);
    t.equal(question.exitCode, 2, question.all);
    const refused = await inTerminal(node1, 'reset', 'n\n');
    t.equal(refused.exitCode, 2, 'the answer was no');
    t.match(refused.stdout, /Go on\? \[y\/N\]/);
    t.same(await readyNodes(cp), ['cp', 'node1'], 'the cluster is as it was');
    const dry = await tkadm(node1, ['reset', '--dry-run']);
    t.match(dry.stdout, /would remove \/etc\/kubernetes\/kubelet\.conf/);
    const member = await tkadm(node1, ['reset', 'phase', 'remove-etcd-member']);
    t.match(member.stdout, /\/var\/lib\/etcd is left as it is/);
    const pods = await tkadm(node1, ['reset', 'phase', 'cleanup-node', 'pods']);
    succeeds(t, pods);
    const input = `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\nforce: true\ncleanupTmpDir: true\nunmountFlags: [MNT_DETACH]\n`;
    const rest = await tkadm(node1, ['reset', '--config', '-'], { input });
    succeeds(t, rest);
    t.equal((await node1.exec(['ls', '-A', '/etc/kubernetes'])).stdout, '');
    t.equal((await node1.exec(['ls', '/var/lib/etcd'])).stdout, 'member\n', 'not its own');
  });
});

const READER = `
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
  - {apiGroups: ['*'], resources: ['*'], verbs: [get, list, watch]}
  - {nonResourceURLs: ['*'], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: reader}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: reader}]
`;

/** Work with administrators' kubeconfigs whose user may only read: whatever it asks to be written is refused. */
async function asReader<T>(host: LabHost, work: () => Promise<T>): Promise<T> {
  await apply(host, READER);
  const { stdout: input } = await tkadm(host, ['kubeconfig', 'user', '--client-name', 'reader']);
  const files = '/etc/kubernetes/admin.conf /etc/kubernetes/super-admin.conf';
  await host.exec(['sh', '-ec', `mkdir /run/kept && cp -p ${files} /run/kept && tee ${files}`], { input });
  try {
    const write = await kubectl(host, ['create', 'configmap', 'mine']);
    if (!/forbidden/.test(write.stderr)) throw new Error(`the reader may write: ${write.all}`);
    return await work();
  } finally {
    await host.exec(['sh', '-ec', 'cp -p /run/kept/* /etc/kubernetes && rm -r /run/kept']);
  }
}

/** The output is long: it is only told when the command fails. */
function succeeds(t: Tap, { exitCode, all }: TimedOutput, what = 'exit code'): void {
  t.equal(exitCode, 0, exitCode === 0 ? what : `${what}: ${all}`);
}

type Tap = Pick<typeof t, 'equal'>;

/** The command with a terminal (script(1)). */
function inTerminal(host: LabHost, command: string, input = '') {
  const line = `stty cols 120 rows 60; ${process.execPath} ${TKADM} ${command}`;
  return host.exec(['script', '-qec', line, '/dev/null'], { input, timeoutMs: 60_000 });
}

/** User and system time of a command (times(2)). */
async function cpuSeconds(host: LabHost, args: readonly string[]): Promise<number> {
  const script = '"$@" > /dev/null; times';
  const { stdout } = await host.exec(['sh', '-c', script, 'sh', process.execPath, TKADM, ...args]);
  const [, children = ''] = stdout.trim().split('\n');
  return [...children.matchAll(/(\d+)m([\d.]+)s/g)]
    .map(([, minutes, seconds]) => Number(minutes) * 60 + Number(seconds))
    .reduce((sum, value) => sum + value, 0);
}

/** What a dry run must not leave: any file that is newer than before it. */
async function leftovers(host: LabHost): Promise<string> {
  const script = `${FILES}; ls -A /etc/kubernetes /var/lib/tkadm /run/tkadm /tmp 2>&1 | grep -v tsx`;
  return (await host.exec(['sh', '-c', script])).stdout;
}

/** Files and objects that init is about, and the agent's pid. */
async function state(host: LabHost): Promise<string> {
  const script = `${FILES}; cat /run/tkadm/*.pid`;
  const objects = await kubectlText(host, [
    'get',
    'cm,secret,sa,svc,deployment,daemonset,role,rolebinding,clusterrole,clusterrolebinding',
    '-A',
    '--field-selector=metadata.name!=kube-root-ca.crt',
    '-o',
    'jsonpath={range .items[*]}{.kind} {.metadata.namespace}/{.metadata.name} {.metadata.resourceVersion}{"\\n"}{end}',
  ]);
  // Status is written by the controllers meanwhile.
  const still = objects.split('\n').filter((line) => !/^(Deployment|DaemonSet) /.test(line));
  return `${(await host.exec(['sh', '-c', script])).stdout}\n${still.join('\n')}`;
}
