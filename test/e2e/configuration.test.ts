import { load } from 'js-yaml';
import t from 'tap';
import { eventually, kubectlText, labObstacle, readyNodes, tkadm } from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** The shape of kubeadm 1.11 that people still have, for this machine's address. */
const master = (address: string) => `apiVersion: kubeadm.k8s.io/v1alpha2
kind: MasterConfiguration
kubernetesVersion: v1.27.2
api: {advertiseAddress: ${address}, bindPort: 6443}
etcd: {local: {dataDir: /var/lib/etcd, image: ""}}
imageRepository: k8s.gcr.io
kubeProxy: {config: {bindAddress: 0.0.0.0}}
kubeletConfiguration: {baseConfig: {address: 0.0.0.0}}
networking: {dnsDomain: cluster.local, podSubnet: "", serviceSubnet: 10.96.0.0/12}
nodeRegistration: {criSocket: /var/run/dockershim.sock}
apiServerExtraArgs: {anonymous-auth: "false", enable-admission-plugins: "AlwaysPullImages,DefaultStorageClass"}
`;

t.test('a cluster out of files alone', { skip: labObstacle(), timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];
  const write = (host: LabHost, path: string, input: string) =>
    host.exec(['sh', '-c', `cat > ${path}`], { input });

  await t.test('init explains the old file with a command, which works', async (t) => {
    await write(cp, '/root/old.yaml', master(cp.address));
    const refused = await tkadm(cp, ['init', '--fix', '--config', '/root/old.yaml']);
    t.equal(refused.exitCode, 2);
    const command = /try: tkadm (config migrate .*)/.exec(refused.stderr)?.[1] ?? '';
    const migrated = await tkadm(cp, command.split(' '));
    t.equal(migrated.exitCode, 0, migrated.all);
    t.match(migrated.stderr, /kubernetesVersion: dropped/);
    const validated = await tkadm(cp, ['config', 'validate', '--config', '/root/old.yaml.new']);
    t.match(validated, { exitCode: 0, stdout: 'ok\n', stderr: /cannot find the cluster by a token/ });
  });

  await t.test(
    'init takes the migrated file, with a field that it only warns of',
    { bail: true },
    async (t) => {
      await cp.exec(['sed', '-i', 's/^localAPIEndpoint:/localApiEndpoint: {}\\n&/', '/root/old.yaml.new']);
      const started = await tkadm(cp, ['init', '--fix', '--config', '/root/old.yaml.new']);
      t.equal(started.exitCode, 0, started.all);
      t.match(started.all, /localApiEndpoint: Unknown field: .*write "localAPIEndpoint" \(line 3\)/);
      t.same(await readyNodes(cp), ['cp']);
      const manifest = load((await cp.exec(['cat', '/etc/kubernetes/manifests/kube-apiserver.yaml'])).stdout);
      const [container] = (manifest as { spec: { containers: { command: string[] }[] } }).spec.containers;
      t.ok(container?.command.includes('--anonymous-auth=false'));
      const config = await kubectlText(cp, [
        ...[
          '-n',
          'kube-system',
          'get',
          'cm',
          'kubeadm-config',
          '-o',
          'jsonpath={.data.ClusterConfiguration}',
        ],
      ]);
      t.match(load(config), {
        apiVersion: 'kubeadm.k8s.io/v1beta4',
        networking: { serviceSubnet: '10.96.0.0/12' },
        apiServer: {
          extraArgs: [
            { name: 'anonymous-auth', value: 'false' },
            { name: 'enable-admission-plugins', value: 'AlwaysPullImages,DefaultStorageClass' },
          ],
        },
      });
    },
  );

  await t.test('join and reset take files too', async (t) => {
    const token = (await tkadm(cp, ['token', 'create'])).stdout.trim();
    // The server answers no anonymous request, so the cluster is known from a file.
    const cluster = await kubectlText(cp, [
      ...['-n', 'kube-public', 'get', 'cm', 'cluster-info', '-o', 'jsonpath={.data.kubeconfig}'],
    ]);
    await write(node1, '/root/cluster.conf', cluster);
    await write(
      node1,
      '/root/join.yaml',
      `apiVersion: kubeadm.k8s.io/v1beta3
kind: JoinConfiguration
discovery:
  timeout: 1m
  file: {kubeConfigPath: /root/cluster.conf}
  tlsBootstrapToken: ${token}
nodeRegistration:
  name: Worker
  kubeletExtraArgs: {v: "1"}
`,
    );
    const joined = await tkadm(node1, ['join', '--fix', '--config', '/root/join.yaml']);
    t.equal(joined.exitCode, 0, joined.all);
    t.match(joined.all, /v1beta3" of JoinConfiguration is deprecated/);
    t.match(token, /^\w{6}\.\w{16}$/);
    t.notMatch(joined.all, new RegExp(token), 'no secret is shown');
    await eventually('two nodes', 30_000, async () => (await readyNodes(cp)).join() === 'cp,worker');

    await write(
      node1,
      '/root/reset.yaml',
      'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\nforce: true\nunmountFlags: [MNT_DETACH]\n',
    );
    const mixed = await tkadm(node1, ['reset', '--config', '/root/reset.yaml', '--cert-dir', '/x']);
    t.match(mixed, { exitCode: 2, stderr: /Cannot mix '--config' with arguments \[cert-dir\]/ });
    const reset = await tkadm(node1, ['reset', '--config', '/root/reset.yaml']);
    t.equal(reset.exitCode, 0, reset.all);
    t.equal((await node1.exec(['ls', '/var/lib/kubelet'])).stdout, '');
  });
});
