import { mkdirSync } from 'node:fs';
import t from 'tap';
import { createLocalHost } from '../../runtime/host/local.ts';
import { buildKubeletFiles } from '../../templates/kubelet-files.ts';
import { applyPatches, NO_PATCHES, readPatches } from '../../templates/patches.ts';

const HOST = createLocalHost();
const POD = {
  metadata: { name: 'kube-apiserver' },
  spec: {
    containers: [{ name: 'kube-apiserver', command: ['a', 'b'], image: 'x' }],
    volumes: [{ name: 'v', hostPath: { path: '/v' } }],
  },
};

t.test('patches of each type are applied in the order of their paths', async (t) => {
  const directory = t.testdir({
    'kube-apiserver0.yaml':
      'spec: {containers: [{name: kube-apiserver, image: y}]}\n---\nmetadata: {labels: {a: b}}\n',
    'kube-apiserver1+json.json': '[{"op": "add", "path": "/spec/containers/0/command/-", "value": "c"}]',
    more: { 'kube-apiserver-x+merge.yaml': 'spec: {volumes: null, hostNetwork: true}\n' },
    'etcd.yaml': 'metadata: {name: other}\n',
    'README.md': 'text',
    'kubeletconfiguration+strategic.yaml': 'maxPods: 7\ncontainerRuntimeEndpoint: x\n',
  });
  const set = await readPatches(HOST, directory);
  t.same(set.skipped, [`${directory}/README.md`]);
  t.equal(set.patches.length, 6);
  const patched = applyPatches(POD, 'kube-apiserver', set);
  t.same(patched, {
    metadata: { name: 'kube-apiserver', labels: { a: 'b' } },
    spec: {
      containers: [{ name: 'kube-apiserver', command: ['a', 'b', 'c'], image: 'y' }],
      hostNetwork: true,
    },
  });
  t.equal(POD.spec.containers[0]!.image, 'x', 'the original stays');
  t.same(applyPatches(POD, 'kube-scheduler', set), POD);
  const [config] = buildKubeletFiles({
    nodeRegistration: { name: 'n', criSocket: 'unix:///s', kubeletExtraArgs: [], taints: [] },
    kubelet: { kind: 'KubeletConfiguration', maxPods: 110 },
    hostname: 'n',
    isWorker: true,
    patches: set,
  });
  t.match(config!.content, /maxPods: 7\n/);
  t.match(config!.content, /containerRuntimeEndpoint: unix:\/\/\/s\n/, 'the socket of the node wins');
});

t.test('readPatches() refuses by name', async (t) => {
  t.equal(await readPatches(HOST, undefined), NO_PATCHES);
  await t.rejects(readPatches(HOST, '/nonexistent-patches'), { code: 'PATCH_INVALID' });
  const cases = { 'etcd+other.yaml': 'a: 1', 'etcd.json': '{"a"' };
  for (const [name, text] of Object.entries(cases)) {
    const directory = t.testdir({ [name]: text });
    await t.rejects(readPatches(HOST, directory), {
      code: 'PATCH_INVALID',
      message: new RegExp(name.replace('+', '\\+')),
    });
  }
  const directory = t.testdir({ 'etcd+json.yaml': '[{"op": "remove", "path": "/none"}]' });
  mkdirSync(`${directory}/empty`);
  const set = await readPatches(HOST, directory);
  t.throws(() => applyPatches(POD, 'etcd', set), { code: 'PATCH_INVALID', message: /etcd\+json\.yaml/ });
});
