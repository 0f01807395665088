import { existsSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { load, loadAll } from 'js-yaml';
import t from 'tap';
import { runConfigMigrate, runConfigPrint, runConfigValidate } from '../../../bootstrap/commands/config.ts';
import { runImagesList, runImagesPull } from '../../../bootstrap/commands/config-images.ts';
import { openCli } from './fixture.ts';

const CLUSTER = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n';
const OLD = 'apiVersion: kubeadm.k8s.io/v1beta3\nkind: ClusterConfiguration\n';

t.test('config print', async (t) => {
  const { context, take } = openCli();
  const kindsOf = (text: string) => (loadAll(text) as { kind: string }[]).map((row) => row.kind);
  runConfigPrint(context, 'init-defaults', { output: 'yaml' });
  t.same(kindsOf(take().out), ['InitConfiguration', 'ClusterConfiguration', 'TkadmConfiguration']);
  const componentConfigs = ['KubeletConfiguration', 'KubeProxyConfiguration'];
  runConfigPrint(context, 'init-defaults', { output: 'yaml', componentConfigs });
  t.same(kindsOf(take().out).slice(2, 4), componentConfigs);
  runConfigPrint(context, 'reset-defaults', { output: 'json' });
  t.match(JSON.parse(take().out), [{ kind: 'ResetConfiguration' }]);
  t.throws(() => runConfigPrint(context, 'x', { output: 'yaml' }), {
    code: 'USAGE',
    message: /init-defaults/,
  });
  t.throws(() => runConfigPrint(context, 'join-defaults', { output: 'yaml', componentConfigs }), {
    code: 'USAGE',
  });
  t.throws(
    () => runConfigPrint(context, 'init-defaults', { output: 'yaml', componentConfigs: ['Kubelet'] }),
    { code: 'USAGE', message: /KubeletConfiguration/ },
  );
});

t.test('config validate', async (t) => {
  const { context, take } = openCli();
  const validate = (stdin: string, options = {}) =>
    runConfigValidate({ ...context, stdin: toStream(stdin) }, { config: '-', output: 'text', ...options });
  await validate(CLUSTER);
  t.same(take(), { out: 'ok\n', error: '' });
  await validate(OLD);
  t.match(take(), { out: 'ok\n', error: /^Warning: apiVersion .*v1beta3.* is deprecated/ });
  await validate(OLD, { allowDeprecatedApi: true, output: 'json' });
  t.same(take(), { out: '{"ok":true,"warnings":[]}\n', error: '' });
  await t.rejects(validate(`${CLUSTER}networking: {podSubnetz: 10.0.0.0/16}\n`), {
    code: 'CONFIG_INVALID',
    message: /networking\.podSubnetz: Unknown field: .* is "podSubnet" meant\? \(line 3\)/,
  });
  const ipv6 =
    'networking: {serviceSubnet: "fd00::/112"}\n---\napiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\nengine: upstream\n';
  await validate(`${CLUSTER}${ipv6}`);
  t.same(take(), { out: 'ok\n', error: '' }, 'the address is of the machine that is to run it');
  // Every command that could read the file has its say.
  const join = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: JoinConfiguration\n';
  await t.rejects(validate(`${CLUSTER}clusterName: A\nx: 1\n---\n${join}`), {
    message: /x: Unknown field.*\n.*clusterName: Invalid value.*\n.*discovery: Required value/,
  });
  const upgrade = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: UpgradeConfiguration\n';
  await t.rejects(validate(`${upgrade}diff: {contextLines: -1}\n`), { message: /diff\.contextLines/ });
});

t.test(
  'config migrate writes the new file at once, for its owner alone, and never over another',
  async (t) => {
    const directory = t.testdir({
      'old.yaml': `${OLD}scheduler: {extraArgs: {v: "4"}}\n`,
      'there.yaml': 'mine',
    });
    const { context, take } = openCli({ cwd: directory });
    await runConfigMigrate(context, { oldConfig: 'old.yaml' });
    t.match(load(take().out), { scheduler: { extraArgs: [{ name: 'v', value: '4' }] } });
    await runConfigMigrate(context, { oldConfig: 'old.yaml', newConfig: 'new.yaml' });
    t.match(readFileSync(join(directory, 'new.yaml'), 'utf8'), /v1beta4/);
    t.equal(statSync(join(directory, 'new.yaml')).mode & 0o777, 0o600);
    await t.rejects(runConfigMigrate(context, { oldConfig: 'old.yaml', newConfig: 'there.yaml' }), {
      code: 'USAGE',
      message: /"there\.yaml": the file is there already/,
      hint: /--force/,
    });
    t.equal(readFileSync(join(directory, 'there.yaml'), 'utf8'), 'mine');
    await runConfigMigrate(context, { oldConfig: 'old.yaml', newConfig: 'old.yaml', force: true });
    t.match(readFileSync(join(directory, 'old.yaml'), 'utf8'), /v1beta4/);
    await t.rejects(runConfigMigrate(context, { oldConfig: 'none.yaml', newConfig: 'x.yaml' }), {
      code: 'FILE_READ',
    });
    t.notOk(existsSync(join(directory, 'x.yaml')));
  },
);

t.test('config images list', async (t) => {
  const { context, take } = openCli();
  const list = async (options: object) => {
    await runImagesList(context, { output: 'text', ...options });
    return take();
  };
  const embedded = await list({});
  t.same(embedded.out.split('\n').slice(0, 2), [
    'tkadm.local/kube-apiserver:v1.36.2',
    'tkadm.local/kube-controller-manager:v1.36.2',
  ]);
  const upstream = await list({ engine: 'upstream', kubernetesVersion: '1.35.1' });
  t.same(upstream.out.trim().split('\n'), [
    'registry.k8s.io/kube-apiserver:v1.35.1',
    'registry.k8s.io/kube-controller-manager:v1.35.1',
    'registry.k8s.io/kube-scheduler:v1.35.1',
    'registry.k8s.io/kube-proxy:v1.35.1',
    'registry.k8s.io/coredns/coredns:v1.14.2',
    'registry.k8s.io/pause:3.10.2',
    'registry.k8s.io/etcd:3.6.8-0',
  ]);
  const json = await list({ engine: 'upstream', imageRepository: 'r.example/k', output: 'json' });
  t.match(JSON.parse(json.out), {
    apiVersion: 'output.kubeadm.k8s.io/v1alpha3',
    kind: 'Images',
    images: [
      /^r\.example\/k\/kube-apiserver:v1\.36\.2$/,
      String,
      String,
      String,
      'r.example/k/coredns:v1.14.2',
    ],
  });
  const noted = await list({ kubernetesVersion: 'latest', imageRepository: 'r.example/k' });
  t.match(noted.error, /Warning: kubernetesVersion: "latest" is not looked up in the network/);
  t.match(noted.error, /Warning: imageRepository: it has no effect: .*node bundle/);
  await t.rejects(list({ engine: 'other' }), { message: /engine: Unsupported value: "other".*\(--engine\)/ });
  await t.rejects(list({ kubernetesVersion: 'v1.35.1' }), { message: /serves v1\.36\.\d+ alone/ });
  await t.rejects(list({ featureGates: ['RootlessControlPlane=true'] }), { message: /not supported/ });
});

t.test(
  'config images pull needs no runtime for the bundle, and names the socket that is not there',
  async (t) => {
    const { context, take } = openCli();
    await runImagesPull(context, { output: 'text' });
    t.match(take().out, /^In the node bundle: tkadm\.local\/kube-apiserver:v1\.36\.2\n/);
    const options = { output: 'text', engine: 'upstream', criSocket: 'unix:///no/such.sock' };
    await t.rejects(runImagesPull(context, options), {
      code: 'IMAGE_RUNTIME_UNREACHABLE',
      message: /"\/no\/such\.sock"/,
      hint: /--cri-socket/,
    });
  },
);

async function* toStream(text: string): AsyncGenerator<string> {
  yield text;
}
