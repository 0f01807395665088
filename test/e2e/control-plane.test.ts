import type { ChildProcess } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import {
  apply,
  componentPattern,
  eventually,
  findPids,
  getJson,
  kubectl,
  kubectlText,
  labObstacle,
  readyNodes,
  readyPods,
  tkadm,
} from '../hosts/cluster.ts';
import { etcdObstacle, startEtcd, type TestEtcd } from '../hosts/etcd.ts';
import { createLab, type Lab, type LabHost } from '../hosts/lab.ts';

const COMPONENTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];
const ETCD_FILES = ['/etc/etcd/ca.crt', '/etc/etcd/client.crt', '/etc/etcd/client.key'] as const;
const obstacle = labObstacle({ haproxy: 'haproxy' }) || etcdObstacle;

interface LeaseFacts {
  readonly spec: { readonly holderIdentity: string };
}

/** etcd and a load balancer on the hosts' gateway. It looks for open ports alone: a server that is slow is no dead one. */
async function startServices(lab: Lab): Promise<TestEtcd> {
  const spawn = (argv: readonly string[]) => lab.spawn(argv) as unknown as ChildProcess;
  const etcd = await startEtcd({ address: lab.gateway, firstPort: 2379, spawn });
  const servers = lab.hosts.map(
    ({ name, address }) => `  server ${name} ${address}:6443 check inter 500 fall 2 rise 1`,
  );
  const config = join(lab.directory, 'haproxy.cfg');
  await writeFile(
    config,
    [
      ...[
        'defaults',
        '  mode tcp',
        '  timeout connect 2s',
        '  timeout check 10s',
        '  timeout client 1h',
        '  timeout server 1h',
      ],
      ...['listen api', `  bind ${lab.gateway}:6443`, '  default-server on-marked-down shutdown-sessions'],
      ...servers,
      '',
    ].join('\n'),
  );
  lab.spawn([existsSync('/usr/sbin/haproxy') ? '/usr/sbin/haproxy' : 'haproxy', '-db', '-f', config]);
  return etcd;
}

async function putFile(host: LabHost, path: string, text: string): Promise<void> {
  const script = 'umask 077; mkdir -p "$(dirname "$1")"; cat > "$1"';
  await host.exec(['sh', '-ec', script, 'put', path], { input: text });
}

async function leaders(host: LabHost): Promise<readonly string[]> {
  const names = ['kube-controller-manager', 'kube-scheduler'];
  const leases = await Promise.all(
    names.map((name) => getJson<LeaseFacts>(host, ['lease', '-n', 'kube-system', name])),
  );
  return leases.map((lease) => lease.spec.holderIdentity.split('_')[0] ?? '');
}

t.test('two control-plane nodes over one etcd', { skip: obstacle, timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp1', 'cp2'] });
  t.teardown(() => lab.close());
  const [cp1, cp2] = lab.hosts as [LabHost, LabHost];
  // What the machine itself has there belongs to other programs.
  for (const host of lab.hosts) await host.exec(['rm', '-rf', '/etc/cni/net.d']);
  const etcd = await startServices(lab);
  t.teardown(() => etcd.close());
  const { ca, cert, key } = etcd.client;
  for (const [i, text] of [ca, cert, key].entries()) await putFile(cp1, ETCD_FILES[i]!, text);
  const [caFile, certFile, keyFile] = ETCD_FILES;
  const config = `apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: ${lab.gateway}:6443
etcd: {external: {endpoints: [${etcd.endpoints.join()}], caFile: ${caFile}, certFile: ${certFile}, keyFile: ${keyFile}}}
`;
  await putFile(cp1, '/root/cluster.yaml', config);

  await t.test('init puts the cluster into etcd and tells how control planes join', async (t) => {
    const init = await tkadm(cp1, ['init', '--fix', '--config', '/root/cluster.yaml']);
    t.equal(init.exitCode, 0, init.exitCode === 0 ? 'init' : init.all);
    t.match(init.stdout, /--control-plane --certificate-key <key>/);
    t.match(init.stdout, /init phase upload-certs --upload-certs/);
    t.same(await leaders(cp1), ['cp1', 'cp1'], 'a free lease is taken');
    t.notOk((await cp1.exec(['ls', '/var/lib/tkadm/store'])).exitCode === 0, 'no store of its own');
  });

  await t.test('join --control-plane over SSH brings certificates and components', async (t) => {
    const joined = await tkadm(cp1, [
      'join',
      `root@${cp2.address}`,
      '--control-plane',
      '--ssh-host-keys',
      'accept-new',
    ]);
    t.equal(joined.exitCode, 0, joined.exitCode === 0 ? 'join' : joined.all);
    t.same(await readyNodes(cp2), ['cp1', 'cp2'], 'cp2 is administrator too');
    const { metadata, spec } = await getJson<{
      metadata: { labels: Record<string, string> };
      spec: { taints?: readonly unknown[] };
    }>(cp2, ['node', 'cp2']);
    t.equal(metadata.labels['node-role.kubernetes.io/control-plane'], '');
    t.equal(spec.taints, undefined, 'as the first one, it runs the users’ pods too');
    for (const name of COMPONENTS) t.equal((await findPids(cp2, componentPattern(name))).length, 1, name);
    const conf = (await cp2.exec(['cat', '/etc/kubernetes/kubelet.conf'])).stdout;
    t.match(conf, `https://${cp2.address}:6443`, 'its agent uses the API server of its own');
    const ips = await kubectlText(cp2, [
      'get',
      'endpoints',
      'kubernetes',
      '-o',
      'jsonpath={.subsets[*].addresses[*].ip}',
    ]);
    t.same(ips.split(' ').sort(), [cp1.address, cp2.address].sort());
  });

  await t.test('the other one takes over when the first is gone', async () => {
    // The agent of cp1 has only its own API server: what it runs goes on, nothing new is started there.
    await cp1.exec(['sh', '-c', 'mv /etc/kubernetes/manifests /etc/kubernetes/gone']);
    for (const name of COMPONENTS) {
      for (const pid of await findPids(cp1, componentPattern(name)))
        await cp1.exec(['kill', '-9', String(pid)]);
    }
    const environment = { KUBECONFIG: '/etc/kubernetes/admin.conf' };
    await eventually(
      'an answer through the load balancer',
      20_000,
      async () => (await kubectl(cp1, ['get', 'nodes'], { env: environment })).exitCode === 0,
    );
    await eventually('the leases of cp2', 40_000, async () =>
      (await leaders(cp1)).every((name) => name === 'cp2'),
    );
    await apply(
      cp1,
      `apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 1
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      nodeSelector: {kubernetes.io/hostname: cp2}
      containers: [{name: web, image: tkadm.local/coredns:v1.36.2, command: [/usr/bin/node, -e, "setInterval(()=>{}, 1000)"]}]
`,
    );
    await kubectlText(cp1, ['scale', 'deployment', 'web', '--replicas', '2']);
    await readyPods(cp1, ['-l', 'app=web'], { count: 2, timeoutMs: 40_000 });
  });

  await t.test('a component that is killed takes its own lease again at once', async (t) => {
    const before = await getJson<LeaseFacts>(cp2, ['lease', '-n', 'kube-system', 'kube-controller-manager']);
    const [pid] = await findPids(cp2, componentPattern('kube-controller-manager'));
    await cp2.exec(['kill', '-9', String(pid)]);
    const after = await eventually('a new holder on cp2', 20_000, async () => {
      const lease = await getJson<LeaseFacts>(cp2, ['lease', '-n', 'kube-system', 'kube-controller-manager']);
      return lease.spec.holderIdentity !== before.spec.holderIdentity && lease;
    });
    t.match(after.spec.holderIdentity, /^cp2_/);
  });

  await t.test('reset takes one node away and leaves the cluster', async (t) => {
    await cp1.exec(['mv', '/etc/kubernetes/gone', '/etc/kubernetes/manifests']);
    const reset = await tkadm(cp1, ['reset', '-f']);
    t.equal(reset.exitCode, 0, reset.exitCode === 0 ? 'reset' : reset.all);
    t.match(reset.stdout, /The objects of the cluster are in etcd still, and "\/etc\/etcd\/client.key"/);
    await eventually('one node', 20_000, async () => (await readyNodes(cp2)).join() === 'cp2');
    await eventually('one address of the API', 40_000, async () => {
      const ips = await kubectlText(cp2, [
        'get',
        'endpoints',
        'kubernetes',
        '-o',
        'jsonpath={.subsets[*].addresses[*].ip}',
      ]);
      return ips === cp2.address;
    });
  });

  await t.test("it comes back in kubeadm's form, with the certificates of the cluster", async (t) => {
    const uploaded = await tkadm(cp2, ['init', 'phase', 'upload-certs', '--upload-certs']);
    const certificateKey = /^([0-9a-f]{64})$/m.exec(uploaded.stdout)?.[1] ?? '';
    const printed = await tkadm(cp2, [
      ...['token', 'create', '--print-join-command', '--certificate-key', certificateKey],
    ]);
    const words = printed.stdout.trim().split(' ').slice(1);
    t.match(words.join(' '), `join ${lab.gateway}:6443 `);
    const dry = await tkadm(cp1, [...words, '--dry-run', '--fix']);
    t.equal(dry.exitCode, 0, dry.exitCode === 0 ? 'dry run' : dry.all);
    t.notMatch(dry.all, certificateKey);
    t.match(dry.all, /BEGIN RSA PRIVATE KEY-+\s+\+\(secret\)/);
    t.notMatch(dry.all, /PRIVATE KEY-+\s+\+?MI/);
    t.equal((await cp1.exec(['ls', '/etc/kubernetes/pki'])).exitCode === 0, false, 'nothing was written');
    const wrong = [...words.slice(0, -1), '0'.repeat(64)];
    const refused = await tkadm(cp1, [...wrong, '--dry-run', '--fix']);
    t.match(refused.stderr, /the certificate key does not fit/);
    const joined = await tkadm(cp1, [...words, '--fix']);
    t.equal(joined.exitCode, 0, joined.exitCode === 0 ? 'join' : joined.all);
    t.same(await readyNodes(cp1), ['cp1', 'cp2']);
    for (const name of COMPONENTS) t.equal((await findPids(cp1, componentPattern(name))).length, 1, name);
    const again = await tkadm(cp1, [...words, '--fix']);
    t.equal(again.exitCode, 0, again.exitCode === 0 ? 'second join' : again.all);
    t.match(again.stdout, /node "cp1" of the cluster already: nothing was to be done/);
  });
});
