import t from 'tap';
import {
  eventually,
  follow,
  getJson,
  initCluster,
  joinArguments,
  kubectlText,
  labObstacle,
  listTokens,
  readyNodes,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

const APPROVER = 'kubeadm:node-autoapprove-bootstrap';
/** What a join may leave on a machine. */
const PLACES = '/etc/kubernetes /var/lib/tkadm /var/lib/kubelet /run/tkadm';

t.test('a join that fails', { skip: labObstacle(), timeout: 200_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];
  const join = await initCluster(cp);
  // The journal remembers what --fix has repaired, until a reset.
  const script = `find ${PLACES} -mindepth 1 2>/dev/null | grep -v '^/var/lib/tkadm/journal'`;
  const filesOf = async (host: LabHost) => (await host.exec(['sh', '-c', script])).stdout;

  await t.test('for a cluster that it cannot join leaves nothing', async (t) => {
    const wrong = { ...join, token: `${join.token.split('.')[0]}.0000000000000000` };
    const result = await tkadm(node1, ['join', ...joinArguments(wrong), '--fix']);
    t.equal(result.exitCode, 4, result.all);
    const taken = await tkadm(node1, ['join', ...joinArguments(join), '--fix', '--node-name', 'cp']);
    t.match(taken.all, /a Ready node of that name/);
    t.notMatch(taken.all, /leaves/);
    t.equal(await filesOf(node1), '');
  });

  await t.test('--dry-run over SSH makes no token and sends nothing', async (t) => {
    const watch = follow(cp, [
      'kubectl',
      'get',
      'secrets',
      '-n',
      'kube-system',
      '--watch-only',
      '-o',
      'name',
    ]);
    const marks = async (name: string) => {
      await kubectlText(cp, ['create', 'secret', 'generic', '-n', 'kube-system', name]);
      return watch.text().includes(`secret/${name}`);
    };
    let count = 0;
    await eventually('the watch', 20_000, () => marks(`first-${count++}`));
    const flags = ['--ssh-host-keys', 'accept-new', '--dry-run'];
    const result = await tkadm(cp, ['join', node1.address, ...flags]);
    t.equal(result.exitCode, 0, result.all);
    t.match(result.stdout, /\[bundle\] would install the node bundle/);
    t.match(result.stdout, /\[kubelet-start\] would write \/etc\/kubernetes\/bootstrap-kubelet\.conf/);
    t.match(result.stdout, /dry run: \d+ changes would be made for node "node1"; nothing was changed/);
    t.equal(await filesOf(node1), '');
    const json = await tkadm(cp, ['join', node1.address, ...flags, '-o', 'json']);
    const events = json.stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    t.match(events.at(-1), { type: 'result', ok: true, nodes: ['node1'] });
    t.ok(events.some((event) => event.type === 'action' && event.isDryRun === true));
    for (const text of [result.stdout, json.stdout])
      t.notMatch(text, /PRIVATE KEY|client-key-data|client-certificate-data/);
    t.match(result.stdout, /token: \(secret\)/, 'what the agent would get');
    await eventually('the watch', 20_000, () => marks(`last-${count++}`));
    await watch.stop();
    const seen = watch.text().split('\n').filter(Boolean);
    t.same(
      seen.filter((line) => !/^secret\/(first|last)-\d+$/.test(line)),
      [],
      'no other Secret was made meanwhile',
    );
  });

  await t.test('in its middle says what stays, and the same command goes on', async (t) => {
    const approver = await getJson<object>(cp, ['clusterrolebinding', APPROVER]);
    await kubectlText(cp, ['delete', 'clusterrolebinding', APPROVER]);
    const config = `apiVersion: kubeadm.k8s.io/v1beta4
kind: JoinConfiguration
discovery: {bootstrapToken: {token: ${join.token}, apiServerEndpoint: "${join.endpoint}", caCertHashes: ["${join.pin}"]}}
timeouts: {tlsBootstrap: 3s}
`;
    const command = ['join', '--config', '-', '--fix'];
    const failed = await tkadm(node1, command, { input: config });
    t.equal(failed.exitCode, 5, failed.all);
    t.match(
      failed.stdout,
      /this join leaves "\/var\/lib\/tkadm\/bundle", .*, the running tkadm-runtime: the same command goes on with it, "tkadm reset -f" removes it/,
    );
    t.match(failed.stderr, /most likely: a node waits for its certificate: its request was not approved/);
    t.match(failed.stderr, /try: kubectl certificate approve /);
    t.not((await node1.exec(['ls', '/etc/kubernetes/bootstrap-kubelet.conf'])).exitCode, 0, 'no token stays');
    await kubectlText(cp, ['apply', '-f', '-'], { input: JSON.stringify(approver) });
    const csrs = await getJson<{ items: { metadata: { name: string } }[] }>(cp, ['csr']);
    for (const { metadata } of csrs.items) await kubectlText(cp, ['certificate', 'approve', metadata.name]);
    const second = await tkadm(node1, command, { input: config.replace('3s', '60s') });
    t.equal(second.exitCode, 0, second.all);
    t.match(second.stdout, /\[bundle\] Already there/);
    t.same(await readyNodes(cp), ['cp', 'node1']);
    t.equal((await listTokens(cp)).length, 1);
  });
});
