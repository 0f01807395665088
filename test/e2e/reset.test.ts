import t from 'tap';
import {
  apply,
  findPids,
  initCluster,
  joinArguments,
  labObstacle,
  readyNodes,
  readyPods,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** Everything that tkadm may leave on a machine, one thing a line. */
const SNAPSHOT = `
for d in /etc /opt /root/.ssh /var/log /var/lib/tkadm /var/lib/kubelet /var/lib/etcd /var/lib/cni /run /usr/local /tmp; do
  [ ! -e $d ] || find $d -xdev -not -type d -not -name '*.pyc' -newer /snapshot-mark 2>/dev/null | sed 's/^/file /'
done
sysctl net.ipv4.ip_forward net.ipv4.conf.all.forwarding net.ipv4.conf.eth0.forwarding net.ipv4.conf.all.accept_redirects
for d in /etc/kubernetes /etc/cni /opt/cni /var/lib/tkadm /var/lib/kubelet /var/lib/etcd /var/lib/cni /var/log/pods /var/log/containers /var/log/tkadm /run/tkadm /run/netns; do
  [ ! -e $d ] || find $d -mindepth 1 -type d | sed 's/^/directory /'
done
awk '{print "mount " $5}' /proc/self/mountinfo
ip -o link | awk '{print "interface " $2}' | sed 's/@.*//'
ip route | sed 's/^/route /'
nft list tables | sed 's/^/nft /'
for p in /proc/[0-9]*; do c=$(tr '\\0' ' ' < $p/cmdline 2>/dev/null); [ -z "$c" ] || echo "process $c"; done | grep -Ev 'sleep 3600|sshd|init.sh|^process (sh|awk|sed|find|tr) '
find /sys/fs/cgroup -mindepth 2 -type d | sed 's/^/cgroup /'
`;

const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      volumes: [{name: scratch, emptyDir: {medium: Memory}}]
      containers:
        - name: web
          image: tkadm.local/kube-proxy:v1.36.2
          command: [node, -e, 'setInterval(() => {}, 1000)']
          volumeMounts: [{name: scratch, mountPath: /scratch}]
`;

t.test('reset', { skip: labObstacle(), timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];

  await t.test('on a clean machine there is nothing to do', async (t) => {
    const before = await snapshot(cp);
    const result = await tkadm(cp, ['reset', '-f']);
    t.equal(result.exitCode, 0, result.all);
    t.same(difference(before, await snapshot(cp)), { added: [], removed: [] });
  });

  const clean = { cp: await snapshot(cp), node1: await snapshot(node1) };
  await t.test('without -f and without a terminal it refuses', async (t) => {
    await startCluster(cp, node1);
    const result = await tkadm(cp, ['reset']);
    t.equal(result.exitCode, 2, result.all);
    t.match(result.stderr, /tkadm reset -f/);
    t.same(await readyNodes(cp), ['cp', 'node1'], 'the cluster is as it was');
  });

  await t.test('--dry-run changes nothing', async (t) => {
    const result = await tkadm(cp, ['reset', '--dry-run']);
    t.equal(result.exitCode, 0, result.all);
    t.match(result.stdout, /\/etc\/kubernetes/);
    t.same(await readyNodes(cp), ['cp', 'node1'], 'the cluster is as it was');
  });

  for (const round of ['first', 'second']) {
    await t.test(`${round} reset of both machines leaves nothing`, async (t) => {
      for (const host of [node1, cp]) {
        const result = await tkadm(host, ['reset', '-f']);
        t.equal(result.exitCode, 0, result.all);
        t.comment(`${host.name} took ${result.seconds.toFixed(1)} s`);
        const left = difference(clean[host.name as 'cp' | 'node1'], await snapshot(host));
        t.same(left, { added: [], removed: [] }, `nothing is left on ${host.name}`);
        const again = await tkadm(host, ['reset', '-f']);
        t.equal(again.exitCode, 0, `again: ${again.all}`);
      }
    });

    if (round === 'second') break;
    await t.test('a new cluster right after', async (t) => {
      await startCluster(cp, node1);
      t.same(await readyNodes(cp), ['cp', 'node1']);
    });
  }

  await t.test('reset of a machine whose services were killed', async (t) => {
    await initCluster(cp);
    for (const pid of await findPids(cp, 'services/tkadm-|tkadm-(runtime|agent).cjs'))
      await cp.exec(['kill', '-KILL', String(pid)]);
    const result = await tkadm(cp, ['reset', '-f']);
    t.equal(result.exitCode, 0, result.all);
    const left = difference(clean.cp, await snapshot(cp));
    t.same(left, { added: [], removed: [] }, 'nothing is left');
    await initCluster(cp);
    t.same(await readyNodes(cp), ['cp'], 'and a new init works');
  });
});

async function startCluster(cp: LabHost, node1: LabHost): Promise<void> {
  const join = await initCluster(cp);
  const result = await tkadm(node1, ['join', ...joinArguments(join), '--fix']);
  if (result.exitCode !== 0) throw new Error(`join: ${result.all}`);
  await apply(cp, WEB);
  await readyPods(cp, ['-l', 'app=web'], { count: 2, timeoutMs: 30_000 });
}

async function snapshot(host: LabHost): Promise<readonly string[]> {
  await host.exec(['sh', '-c', '[ -e /snapshot-mark ] || touch /snapshot-mark']);
  const { stdout } = await host.exec(['sh', '-c', SNAPSHOT]);
  return stdout
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');
}

function difference(before: readonly string[], after: readonly string[]) {
  return {
    added: after.filter((line) => !before.includes(line)),
    removed: before.filter((line) => !after.includes(line)),
  };
}
