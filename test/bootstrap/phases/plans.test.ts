import t from 'tap';
import { hashAnnotation } from '../../../bootstrap/addons/component-hash.ts';
import { loadConfiguration } from '../../../bootstrap/config/load.ts';
import type { InitConfig, ResetConfig } from '../../../bootstrap/config/types.ts';
import { componentEndpoints } from '../../../bootstrap/phases/control-plane-wait.ts';
import { createPatchReader } from '../../../bootstrap/phases/files.ts';
import { refuseOtherNetwork } from '../../../bootstrap/phases/fixed-arguments.ts';
import { kubeletFinalizePhases } from '../../../bootstrap/phases/kubelet-finalize.ts';
import { type ObjectContext, planObjects } from '../../../bootstrap/phases/objects.ts';
import { buildPreflightInput } from '../../../bootstrap/phases/preflight.ts';
import { RESET_PHASES } from '../../../bootstrap/phases/reset.ts';
import type { Action } from '../../../bootstrap/workflow/action.ts';
import { waitForTarget } from '../../../bootstrap/workflow/wait.ts';
import type { KubeObject } from '../../../runtime/api/kinds.ts';
import { parseKubeconfig } from '../../../runtime/api/kubeconfig.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { createPlannedHost } from '../../../runtime/host/planned.ts';
import { buildKubeconfig } from '../../../templates/kubeconfig.ts';
import { MANIFESTS, renderManifest } from '../../../templates/manifests/manifests.ts';
import { renderYaml } from '../../../templates/yaml.ts';

const MACHINE = { hostname: 'node-1', advertiseAddress: '10.0.0.5' };
const PKI = '/etc/kubernetes/pki';

/** A machine that has these files beside its own. */
async function hostWith(files: Readonly<Record<string, string>>): Promise<Host> {
  const host = createPlannedHost(createLocalHost());
  for (const [path, text] of Object.entries(files)) await host.writeFile(path, text);
  return host;
}

async function loadInit(cluster: string): Promise<InitConfig> {
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n${cluster}`,
    defaultsFrom: MACHINE,
  });
  return config;
}

async function planReset(name: string, host: Host, fields = ''): Promise<readonly string[]> {
  const actions = await planResetActions(name, host, fields);
  return actions.flatMap((action) =>
    action.kind === 'remove' ? [action.path] : action.kind === 'run' ? [action.argv.join(' ')] : [],
  );
}

async function planResetActions(name: string, host: Host, fields: string): Promise<readonly Action[]> {
  const { config } = await loadConfiguration({
    kind: 'ResetConfiguration',
    text: `apiVersion: kubeadm.k8s.io/v1beta4\nkind: ResetConfiguration\n${fields}`,
    defaultsFrom: MACHINE,
  });
  const phase = RESET_PHASES.find((row) => row.name === name)!;
  return phase.plan({
    host,
    config: config as ResetConfig,
    nodeName: 'node-1',
    kubeconfig: undefined,
    warn: () => {},
    done: async () => ({ changes: [], snapshot: undefined }),
    compare: async () => ({ since: undefined, left: [], others: [], kept: [] }),
  });
}

t.test('a second init refuses another network before it writes a manifest', async (t) => {
  const first = await loadInit('networking: {podSubnet: 10.50.0.0/16}\n');
  const facts = { caDirectories: [], proxyEnvs: [], isExternalCa: false };
  const host = await hostWith(
    Object.fromEntries(
      MANIFESTS.filter((row) => row.name !== 'etcd').map((row) => [
        `/etc/kubernetes/manifests/${row.name}.yaml`,
        renderManifest(row, first, facts),
      ]),
    ),
  );
  await refuseOtherNetwork(host, first);
  const cases: readonly [string, RegExp][] = [
    ['', /networking\.podSubnet .*--cluster-cidr=10\.50\.0\.0\/16, not 10\.244\.0\.0\/16/],
    ['networking: {podSubnet: 10.50.0.0/16, serviceSubnet: 10.99.0.0/16}\n', /networking\.serviceSubnet/],
    ['networking: {podSubnet: 10.50.0.0/16, dnsDomain: other.local}\n', /networking\.dnsDomain/],
  ];
  for (const [cluster, message] of cases) {
    await t.rejects(refuseOtherNetwork(host, await loadInit(cluster)), { code: 'CONFIG_INVALID', message });
  }
  await refuseOtherNetwork(await hostWith({}), await loadInit(''));
});

t.test('kubelet-finalize points kubelet.conf at the certificate that the agent renews, once', async (t) => {
  const path = '/etc/kubernetes/kubelet.conf';
  const kubeconfig = renderYaml(
    buildKubeconfig({
      clusterName: 'kubernetes',
      server: 'https://10.0.0.5:6443',
      caPem: 'CA',
      user: 'system:node:node-1',
      credentials: { certPem: 'CERT', keyPem: 'KEY' },
    }),
  );
  const plan = (host: Host) => kubeletFinalizePhases[0]!.plan({ host } as never);
  t.same(await plan(await hostWith({ [path]: kubeconfig })), [], 'no certificate of its own yet');
  const current = '/var/lib/kubelet/pki/kubelet-client-current.pem';
  const host = await hostWith({ [path]: kubeconfig, [current]: 'CERT' });
  const [file, ...rest] = await plan(host);
  if (file?.kind !== 'write-file') throw new Error('kubelet.conf is not written');
  t.match(file, { path, mode: 0o600 });
  t.same(parseKubeconfig(file.content, path).users, [
    { name: 'system:node:node-1', user: { 'client-certificate': current, 'client-key': current } },
  ]);
  t.same(
    rest.map((action) => action.kind),
    ['stop-service', 'start-service'],
  );
  await host.writeFile(path, file.content);
  t.same(await plan(host), []);
});

t.test('reset removes the default directory of certificates, of another only its own files', async (t) => {
  t.ok((await planReset('cleanup-node/files', await hostWith({ [`${PKI}/ca.crt`]: 'x' }))).includes(PKI));
  const files = {
    '/shared/pki/ca.crt': 'x',
    '/shared/pki/apiserver.key': 'x',
    '/shared/pki/sa.pub': 'x',
    '/shared/pki/theirs.crt': 'x',
  };
  const own = ['/shared/pki/ca.crt', '/shared/pki/apiserver.key', '/shared/pki/sa.pub'];
  const removed = async (host: Host, fields = '') =>
    (await planReset('cleanup-node/files', host, fields)).filter((path) => path.startsWith('/shared'));
  t.same(await removed(await hostWith(files), 'certificatesDir: /shared/pki\n'), own);
  const manifest = {
    '/etc/kubernetes/manifests/kube-apiserver.yaml': '- --client-ca-file=/shared/pki/ca.crt\n',
  };
  t.same(await removed(await hostWith({ ...files, ...manifest })), own, "found in the API server's manifest");
  t.same(await removed(await hostWith(files)), [], 'not asked for');
  const etcd = { '/shared/pki/etcd/ca.crt': 'x' };
  const withEtcd = await removed(await hostWith({ ...files, ...etcd }), 'certificatesDir: /shared/pki\n');
  t.ok(withEtcd.includes('/shared/pki/etcd'));
});

t.test('reset honours cleanupTmpDir and unmountFlags, and leaves /var/lib/etcd', async (t) => {
  const mounts =
    '1 1 0:1 / /var/lib/kubelet/pods/a/volumes/x rw - tmpfs tmpfs rw\n2 1 0:1 / /data rw - x x rw\n';
  const host = await hostWith({
    '/proc/self/mountinfo': mounts,
    '/etc/kubernetes/tmp/dry/x': 'x',
    '/var/lib/etcd/member/x': 'x',
  });
  const path = '/var/lib/kubelet/pods/a/volumes/x';
  const plain = await planReset('cleanup-node/files', host);
  t.ok(plain.includes(`umount ${path}`));
  t.notOk(plain.some((word) => word.includes('/tmp') || word.includes('/data') || word.includes('etcd')));
  const asked = await planReset(
    'cleanup-node/files',
    host,
    'cleanupTmpDir: true\nunmountFlags: [MNT_FORCE, MNT_DETACH, UMOUNT_NOFOLLOW]\n',
  );
  t.ok(asked.includes(`umount -f -l ${path}`), 'flags');
  t.ok(asked.indexOf(`umount -f -l ${path}`) < asked.indexOf('/etc/kubernetes/tmp'), 'unmounted first');
  await t.rejects(planReset('preflight', host, 'unmountFlags: [MNT_EXPIRE]\n'), { code: 'UNSUPPORTED' });
});

t.test('reset removes the requests that generate-csr has left', async (t) => {
  const path = '/etc/kubernetes/admin.conf.csr';
  t.ok((await planReset('cleanup-node/files', await hostWith({ [path]: 'x' }))).includes(path));
});

t.test('reset removes the pods of the runtime that the agent was given, too', async (t) => {
  const socket = '/run/other.sock';
  const file = { '/var/lib/kubelet/instance-config.yaml': `containerRuntimeEndpoint: unix://${socket}\n` };
  const planOthers = async (files: Readonly<Record<string, string>>, fields = '') =>
    (await planResetActions('cleanup-node/pods', await hostWith(files), fields)).flatMap((action) =>
      action.kind === 'remove-sandboxes' && action.socketPath ? [action.socketPath] : [],
    );
  t.same(await planOthers({ ...file, [socket]: '' }), [socket]);
  t.same(await planOthers({ [socket]: '' }, `criSocket: unix://${socket}\n`), [socket], 'as the user says');
  t.same(await planOthers(file), [], 'nothing is there');
  const own = {
    '/var/lib/kubelet/instance-config.yaml': 'containerRuntimeEndpoint: unix:///run/tkadm/runtime.sock\n',
  };
  t.same(await planOthers(own), []);
});

t.test('planObjects() replaces what tkadm generated and keeps what a user changed', async (t) => {
  const build = (data: Readonly<Record<string, string>>, isGenerated: boolean) =>
    ({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c', namespace: 'n', ...(isGenerated ? { annotations: hashAnnotation(data) } : {}) },
      data,
    }) as unknown as KubeObject;
  const edited = { ...build({ a: '1' }, true), data: { a: 'edited' } } as KubeObject;
  const cases: readonly [string, KubeObject | undefined, KubeObject, 'apply' | 'keep' | 'same'][] = [
    ['absent', undefined, build({ a: '1' }, true), 'apply'],
    ['same', build({ a: '1' }, true), build({ a: '1' }, true), 'same'],
    ['generated with other settings', build({ a: '1' }, true), build({ a: '2' }, true), 'apply'],
    ['edited since', edited, build({ a: '2' }, true), 'keep'],
    ["a user's, now none given", build({ a: '1' }, false), build({ a: '2' }, true), 'keep'],
    ["a user's, given again", build({ a: '1' }, false), build({ a: '2' }, false), 'apply'],
  ];
  for (const [title, live, wanted, expected] of cases) {
    const warnings: string[] = [];
    const context: ObjectContext = { find: async () => live, warn: (message) => warnings.push(message) };
    const actions = await planObjects(context, [wanted]);
    t.equal(actions.length, expected === 'apply' ? 1 : 0, title);
    t.equal(warnings.length, expected === 'keep' ? 1 : 0, title);
    if (expected === 'apply') t.match(actions[0], { kind: 'apply-object', live });
  }
});

t.test('createPatchReader() reads once and tells of files that are no patches', async (t) => {
  const directory = t.testdir({ 'etcd.yaml': 'metadata: {labels: {a: b}}\n', 'notes.txt': 'x' });
  const warnings: string[] = [];
  const read = createPatchReader(createLocalHost(), directory, (message) => warnings.push(message));
  t.equal((await Promise.all([read(), read()]))[0].patches.length, 1);
  t.equal(warnings.length, 1);
  t.match(warnings[0], /notes\.txt" is no patch/);
});

t.test('componentEndpoints() follow the arguments of the components', async (t) => {
  const urls = async (cluster: string) => componentEndpoints(await loadInit(cluster)).map(({ url }) => url);
  t.same(await urls(''), [
    'https://10.0.0.5:6443/livez',
    'https://127.0.0.1:10257/healthz',
    'https://127.0.0.1:10259/livez',
  ]);
  const moved = await urls(`apiServer: {extraArgs: [{name: secure-port, value: "7443"}]}
controllerManager: {extraArgs: [{name: bind-address, value: 10.0.0.5}, {name: secure-port, value: "11257"}]}
scheduler: {extraArgs: [{name: bind-address, value: "::"}]}
`);
  t.same(moved, [
    'https://10.0.0.5:7443/livez',
    'https://10.0.0.5:11257/healthz',
    'https://[::1]:10259/livez',
  ]);
});

t.test('a wait that is over says what to look at', async (t) => {
  const action = {
    kind: 'wait',
    subject: 'the file',
    timeoutMs: 10,
    target: { kind: 'file', path: '/nonexistent-file' },
    hint: 'look there',
  } as const;
  const context = {
    host: createLocalHost(),
    signal: new AbortController().signal,
    api: async () => t.fail(),
  };
  await t.rejects(waitForTarget(action, context as never), { code: 'WAIT_TIMEOUT', hint: 'look there' });
});

t.test('waitForTarget() tells of a wait that goes on: what, why, how long', async (t) => {
  const told: unknown[][] = [];
  const subject = 'the agent at http://127.0.0.1:9/healthz';
  const wait = waitForTarget(
    { kind: 'wait', subject, timeoutMs: 400, target: { kind: 'http', url: 'http://127.0.0.1:9/healthz' } },
    {
      host: createLocalHost(),
      api: async () => Promise.reject(new Error('none')),
      signal: new AbortController().signal,
      progressMs: 20,
      onProgress: (...args) => told.push(args),
    },
  );
  await t.rejects(wait, { code: 'WAIT_TIMEOUT' });
  t.ok(told.length > 0);
  t.match(told[0]?.[0], /^still waiting for the agent at http\S+: .*ECONNREFUSED.* \(0 of 0 s\)$/);
  t.match(told[0]?.[1], { elapsedMs: Number, timeoutMs: 400 });
});

t.test('buildPreflightInput() has init refuse a machine that has joined a cluster', async (t) => {
  const config = await loadInit('networking: {}');
  const kubeletConf = '/etc/kubernetes/kubelet.conf';
  const joined = { [kubeletConf]: 'client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem\n' };
  const isRefused = async (files: Readonly<Record<string, string>>) => {
    const input = await buildPreflightInput({ config, host: await hostWith(files), env: {} } as never);
    return input.absentFiles.includes(kubeletConf);
  };
  t.equal(await isRefused({}), false);
  t.equal(await isRefused(joined), true, 'a worker');
  t.equal(await isRefused({ [kubeletConf]: 'client-certificate-data: AAAA\n' }), false, 'left by an init');
  t.equal(await isRefused({ ...joined, '/etc/kubernetes/admin.conf': '{}' }), false, 'a control plane');
});
