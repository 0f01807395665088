import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import t from 'tap';
import {
  eventually,
  findPids,
  getJson,
  kubectlText,
  labObstacle,
  listTokens,
  readyNodes,
  type TimedOutput,
  TKADM,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost, signalEntered } from '../hosts/lab.ts';
import { inTerminal } from '../hosts/terminal.ts';

const FILE = '/root/cluster.yaml';
const KUBECONFIG = '/root/lab.kubeconfig';
/** What a join may leave on a machine. */
const PLACES = '/etc/kubernetes /var/lib/tkadm /var/lib/kubelet /run/tkadm';

interface HostEvent {
  readonly type: string;
  readonly host?: string;
  readonly ok?: boolean;
  readonly node?: string;
  readonly outcome?: string;
  readonly code?: string;
  readonly hosts?: readonly object[];
  readonly left?: readonly string[];
}

t.test('apply', { skip: labObstacle({ faketime: 'faketime' }), timeout: 280_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['admin', 'cp', 'w1', 'w2', 'w3'], withoutNode: ['w1', 'w2'] });
  t.teardown(() => lab.close());
  const [admin, cp, w1, w2, w3] = lab.hosts as [LabHost, LabHost, LabHost, LabHost, LabHost];
  const rows = {
    cp: `{address: ${cp.address}, role: control-plane}`,
    w1: `{address: ${w1.address}, role: worker, nodeName: one, interface: eth0, labels: {disk: ssd}, taints: [{key: test/a, effect: NoSchedule}]}`,
    w2: `{address: ${w2.address}, group: rest}`,
    w3: `{address: ${w3.address}, group: rest, ssh: {port: 2222}}`,
    // Nothing has the last address of the bridge's network.
    nobody: `{address: ${lab.gateway.replace(/\.1$/, '.250')}, group: rest}`,
  };
  const write = (names: readonly (keyof typeof rows)[], text: (file: string) => string = (file) => file) => {
    const hosts = names.map((name) => `    - ${rows[name]}`).join('\n');
    const file = `apiVersion: tkadm.io/v1alpha1
kind: Cluster
metadata: {name: lab}
spec:
  ssh: {hostKeys: accept-new}
  groups: {rest: {role: worker}}
  hosts:
${hosts}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
networking: {podSubnet: 10.77.0.0/16}
`;
    writeFileSync(`/proc/${admin.pid}/root${FILE}`, text(file.replace('10.77.0.0/16', '10.199.0.0/16')));
  };
  const apply = (...flags: string[]): Promise<TimedOutput> =>
    tkadm(admin, ['apply', '-f', FILE, ...flags], { env: { KUBECONFIG } });
  const applyJson = async (...flags: string[]) => {
    const result = await apply('-o', 'json', ...flags);
    const events = result.stdout
      .trim()
      .split('\n')
      .map((line): HostEvent => JSON.parse(line));
    return { ...result, events, last: events.at(-1), ends: events.filter(({ type }) => type === 'host') };
  };
  const filesOf = async (host: LabHost) =>
    (await host.exec(['sh', '-c', `find ${PLACES} -mindepth 1 2>/dev/null`])).stdout;

  await t.test(
    '--plan shows what would be made of machines that are bare, and touches nothing',
    async (t) => {
      write(['cp', 'w1']);
      const { exitCode, all, stdout } = await apply('--plan');
      t.equal(exitCode, 0, all);
      t.match(stdout, /\[kubeconfig\/admin\] would write \/etc\/kubernetes\/admin\.conf/);
      t.match(stdout, /would install the node bundle/);
      t.match(stdout, /podSubnet: 10\.199\.0\.0\/16/);
      t.notMatch(stdout, /client-key-data: [A-Za-z0-9+/]{20}/);
      for (const host of [cp, w1]) t.equal(await filesOf(host), '');
      t.notOk(existsSync(`/proc/${admin.pid}/root${KUBECONFIG}`));
    },
  );

  await t.test(
    'makes a cluster of those that can be reached, and says of each what became of it',
    async (t) => {
      write(['cp', 'w1', 'w2', 'w3', 'nobody']);
      // Whatever runs over its second sshd sees a clock that is an hour ahead.
      const clock = 'SetEnv LD_PRELOAD=/usr/$LIB/faketime/libfaketime.so.1 FAKETIME=+3600s';
      await w3.exec(['/usr/sbin/sshd', '-f', '/etc/ssh/sshd_lab_config', '-p', '2222', '-o', clock]);
      // A disk that is full before the programs are there.
      await w2.exec(['mount', '-t', 'tmpfs', '-o', 'size=20m', 'tmpfs', '/var/lib/tkadm']);
      const { exitCode, all, stdout } = await apply();
      t.equal(exitCode, 6, all);
      t.match(stdout, new RegExp(`^${cp.address} +cp +initialized$`, 'm'), all);
      t.match(stdout, new RegExp(`^${w1.address} +one +joined$`, 'm'));
      t.match(stdout, new RegExp(`^${w2.address} +- +failed +.*(space|DiskSpace|disk)`, 'im'));
      t.match(stdout, /^10\.77\.\d+\.250 +- +failed +Cannot connect to "10\.77\.\d+\.250" port 22/m);
      const { stdout: mode } = await admin.exec(['stat', '-c', '%a', KUBECONFIG]);
      t.equal(mode.trim(), '600');
      t.same(await readyNodes(cp), ['cp', 'one']);
      t.match(stdout, new RegExp(`^${w3.address} +- +failed +.*clock`, 'm'));
      await w2.exec(['umount', '/var/lib/tkadm']);
      t.notOk(existsSync(`/proc/${cp.pid}/root/root/.ssh/known_hosts`), 'the control plane reaches nobody');
      t.equal((await listTokens(cp)).length, 1, 'no token of a join stays');
    },
  );

  await t.test('Ctrl-C ends what runs on the machines; the next one goes on', async (t) => {
    write(['cp', 'w1', 'w2']);
    const tokens = await listTokens(cp);
    // The agent cannot keep its certificate: the join waits for it for minutes.
    await w2.exec(['sh', '-c', 'mkdir -p /var/lib/kubelet && touch /var/lib/kubelet/pki']);
    const running = admin.spawn([process.execPath, TKADM, 'apply', '-f', FILE], { env: { KUBECONFIG } });
    let shown = '';
    running.stdout?.on('data', (chunk: Buffer) => {
      shown += chunk;
    });
    await eventually(
      'a join that waits',
      100_000,
      async () => shown.includes(`${w2.address}: [kubelet-wait-bootstrap] wait`),
      async () => shown,
    );
    await signalEntered(running, 'SIGINT');
    t.equal((await running).exitCode, 130, shown);
    t.match(shown, new RegExp(`^${w2.address} +- +interrupted +.*goes on from there$`, 'm'));
    t.match(shown, new RegExp(`^${w2.address}: Warning: this join leaves `, 'm'));
    t.same(await findPids(w2, '^/var/lib/tkadm/.*/tkadm.js join'), []);
    t.same(await listTokens(cp), tokens, 'the token of its join is gone');
    await w2.exec(['rm', '/var/lib/kubelet/pki']);
    const { exitCode, all, stdout } = await apply();
    t.equal(exitCode, 0, all);
    t.match(
      stdout,
      new RegExp(
        `^${cp.address} +cp +unchanged\\n${w1.address} +one +unchanged\\n${w2.address} +w2 +joined$`,
        'm',
      ),
    );
  });

  await t.test('a second run changes nothing, also where only SSH leads to the API server', async (t) => {
    const block = ['add table ip block', 'add chain ip block out { type filter hook output priority 0; }'];
    for (const rule of [...block, 'add rule ip block out tcp dport 6443 drop'])
      await admin.exec(['nft', rule]);
    const { exitCode, all, last, ends } = await applyJson();
    await admin.exec(['nft', 'delete table ip block']);
    t.equal(exitCode, 0, all);
    t.same(
      ends.map(({ ok, outcome }) => [ok, outcome]),
      Array(3).fill([true, 'unchanged']),
    );
    t.match(last, { type: 'result', ok: true, kubeconfig: KUBECONFIG, left: [] });
  });

  await t.test(
    'labels and taints that drifted are corrected, a machine that was rebooted is started',
    async (t) => {
      await kubectlText(cp, ['label', 'node', 'one', 'disk-', 'mine=yes']);
      await kubectlText(cp, ['taint', 'node', 'one', 'test/a-']);
      await w2.reboot();
      const plan = await apply('--plan');
      t.equal(plan.exitCode, 0, plan.all);
      t.match(plan.stdout, /\[node\] would patch Node one[\s\S]*\+ +disk: ssd/);
      t.match(plan.stdout, new RegExp(`${w2.address}: \\[node\\] would start the services`));
      const { exitCode, all, ends } = await applyJson();
      t.equal(exitCode, 0, all);
      const outcomes = Object.fromEntries(ends.map(({ node, outcome }) => [node, outcome]));
      t.same(outcomes, { cp: 'unchanged', one: 'changed', w2: 'started' });
      const node = await getJson<{ metadata: { labels: object }; spec: { taints: readonly object[] } }>(cp, [
        'node',
        'one',
      ]);
      t.match(node.metadata.labels, { disk: 'ssd', mine: 'yes' });
      t.match(node.spec.taints, [{ key: 'test/a', effect: 'NoSchedule' }]);
      t.same(await readyNodes(cp), ['cp', 'one', 'w2']);
    },
  );

  await t.test('a host that left the file is reported, and goes with --prune', async (t) => {
    write(['cp', 'w1']);
    const refused = await apply('--prune');
    t.equal(refused.exitCode, 2, refused.all);
    const shown = await inTerminal(
      admin,
      `stty cols 120 rows 40; ${process.execPath} ${TKADM} apply -f ${FILE}; echo ended`,
      [],
      {
        env: { KUBECONFIG, TERM: 'xterm' },
        last: 'ended',
      },
    );
    t.match(shown, /Node "w2" \(10\.77\.\d+\.\d+\) is not in the file: --prune drains and resets it/);
    t.match(shown, /node "one" is as it should be/, 'the live list of a terminal');
    const { exitCode, all, ends } = await applyJson('--prune', '--yes');
    t.equal(exitCode, 0, all);
    t.match(ends.at(-1), { host: w2.address, node: 'w2', outcome: 'removed' });
    t.same(await readyNodes(cp), ['cp', 'one']);
    t.notMatch(await filesOf(w2), /kubelet\.conf|\/bundle|\.pem|\/run\/tkadm\//);
  });

  await t.test('is refused where it would lose the control plane, or another cluster', async (t) => {
    write(['w1', 'w2'], (file) => file.replace(', role: worker, nodeName: one', ', role: control-plane'));
    const lost = await apply('--prune', '--yes');
    t.equal(lost.exitCode, 2, lost.all);
    t.match(lost.stderr, /no control plane of it is one of cluster "lab", which has cp/);
    write(['cp', 'w1'], (file) => file.replace('nodeName: one', 'nodeName: two'));
    const renamed = await apply();
    t.match(renamed.all, /it is node "one" of this cluster/);
    t.equal(renamed.exitCode, 6);
    t.same(await readyNodes(cp), ['cp', 'one']);
    t.notMatch(readFileSync(`/proc/${admin.pid}/root${KUBECONFIG}`, 'utf8'), /127\.0\.0\.1/);
  });
});
