import { createDecipheriv } from 'node:crypto';
import t, { type Test } from 'tap';
import { getJson, kubectl, kubectlText, labObstacle, type TimedOutput, tkadm } from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

interface Secret {
  readonly metadata: { readonly ownerReferences?: readonly { readonly name: string }[] };
  readonly data: Readonly<Record<string, string>>;
}

t.test('certificates of a running cluster', { skip: labObstacle(), timeout: 300_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp'] });
  t.teardown(() => lab.close());
  const [cp] = lab.hosts as [LabHost];
  const succeed = async (t: Test, ...args: readonly string[]): Promise<TimedOutput> => {
    const result = await tkadm(cp, args);
    t.equal(result.exitCode, 0, `${args.join(' ')}: ${result.exitCode === 0 ? '' : result.all}`);
    return result;
  };
  const init = await succeed(t, 'init', '--fix', '--upload-certs', '-o', 'json');
  const events = init.stdout.trim().split('\n');

  await t.test('init --upload-certs gives the key in its result alone', async (t) => {
    const { certificateKey } = JSON.parse(events.at(-1)!) as { certificateKey: string };
    t.match(certificateKey, /^[0-9a-f]{64}$/);
    t.notMatch(events.slice(0, -1).join('\n'), certificateKey);
    const { data } = await getJson<Secret>(cp, ['secret', '-n', 'kube-system', 'kubeadm-certs']);
    const bytes = Buffer.from(data['ca.key']!, 'base64');
    const decipher = createDecipheriv(
      'aes-256-gcm',
      Buffer.from(certificateKey, 'hex'),
      bytes.subarray(0, 12),
    );
    decipher.setAuthTag(bytes.subarray(-16));
    const plain = Buffer.concat([decipher.update(bytes.subarray(12, -16)), decipher.final()]).toString();
    t.equal(plain, (await cp.exec(['cat', '/etc/kubernetes/pki/ca.key'])).stdout);
  });

  await t.test('check-expiration reads the configuration of the cluster and every file', async (t) => {
    const { stdout, stderr } = await succeed(t, 'certs', 'check-expiration', '-o', 'json');
    t.equal(stderr, '');
    const info = JSON.parse(stdout) as { certificates: { name: string; missing: boolean }[] };
    t.same(
      info.certificates.map((row) => `${row.name} ${row.missing}`),
      [
        ...[
          'admin.conf',
          'apiserver',
          'apiserver-kubelet-client',
          'controller-manager.conf',
          'front-proxy-client',
        ],
        ...['kubelet.conf', 'scheduler.conf', 'super-admin.conf'],
      ].map((name) => `${name} false`),
    );
  });

  await t.test('upload-certs puts them into the cluster, once more with a key of its own', async (t) => {
    const { stdout } = await succeed(t, 'init', 'phase', 'upload-certs', '--upload-certs');
    const key = /^([0-9a-f]{64})$/m.exec(stdout)?.[1];
    t.ok(key, 'the key is printed');
    const first = await getJson<Secret>(cp, ['secret', '-n', 'kube-system', 'kubeadm-certs']);
    t.equal(first.metadata.ownerReferences?.length, 1);
    const token = (await succeed(t, 'token', 'create')).stdout.trim();
    const read = ['get', 'secret', '-n', 'kube-system', 'kubeadm-certs', '-o', 'name', '--token', token];
    const server = [
      '--kubeconfig',
      '/dev/null',
      '--server',
      'https://127.0.0.1:6443',
      '--insecure-skip-tls-verify',
    ];
    t.equal(
      (await kubectlText(cp, [...read, ...server])).trim(),
      'secret/kubeadm-certs',
      'for a joining node',
    );
    const own = 'ab'.repeat(32);
    const silent = ['--skip-certificate-key-print', '--certificate-key', own];
    const again = await succeed(t, 'init', 'phase', 'upload-certs', '--upload-certs', ...silent);
    t.notMatch(again.all, own);
    const second = await getJson<Secret>(cp, ['secret', '-n', 'kube-system', 'kubeadm-certs']);
    t.not(second.data['ca.key'], first.data['ca.key']);
    t.not(second.metadata.ownerReferences?.[0]?.name, first.metadata.ownerReferences?.[0]?.name);
    const none = await succeed(t, 'init', 'phase', 'upload-certs');
    t.match(none.stdout, /--upload-certs was not given/);
  });

  await t.test('kubeconfig user makes a user whom RBAC can bind', async (t) => {
    const { stdout } = await succeed(t, 'kubeconfig', 'user', '--client-name', 'jane', '--org', 'devs');
    await cp.exec(['sh', '-c', 'cat > /root/jane.conf'], { input: stdout });
    const asJane = ['--kubeconfig', '/root/jane.conf'];
    t.not((await kubectl(cp, [...asJane, 'get', 'nodes'])).exitCode, 0);
    await kubectlText(cp, ['create', 'clusterrolebinding', 'devs', '--clusterrole=view', '--group=devs']);
    t.match(await kubectlText(cp, [...asJane, 'get', 'pods', '-A']), /kube-apiserver/);
  });

  await t.test('renew all is seen in use, and the cluster works on', async (t) => {
    const pods = () =>
      kubectlText(cp, ['get', 'pods', '-n', 'kube-system', '-l', 'tier=control-plane', '-o', 'name']);
    const before = await pods();
    const { stdout } = await succeed(t, 'certs', 'renew', 'all');
    t.match(stdout, /^\[renewed\] apiserver: .*kube-apiserver at .*:6443 serves it$/m);
    t.match(stdout, /^\[renewed\] admin\.conf: .*the API server knows it as "kubernetes-admin"/m);
    t.match(stdout, /^\[renewed\] scheduler\.conf: .*knows it as "system:kube-scheduler"/m);
    t.equal(stdout.trim().split('\n').length, 7);
    t.equal(await pods(), before);
    // The controller manager and the scheduler still work: a Deployment gets its pod onto the node.
    await kubectlText(cp, ['create', 'deployment', 'web', '--image=tkadm.local/pause:none']);
    await kubectlText(cp, ['wait', '--for=jsonpath={.status.replicas}=1', 'deployment/web', '--timeout=40s']);
  });
});
