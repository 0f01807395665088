import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { load } from 'js-yaml';
import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { loadConfiguration } from '../../bootstrap/config/load.ts';
import type { InitConfig } from '../../bootstrap/config/types.ts';
import { mergeArguments } from '../../templates/arguments.ts';
import { formatImage, listImages } from '../../templates/images.ts';
import type { HostFacts } from '../../templates/input.ts';
import { formatKubeletFlags } from '../../templates/kubelet-files.ts';
import { MANIFESTS, renderManifest, selectManifests } from '../../templates/manifests/manifests.ts';

const MACHINE = { hostname: 'node-1', advertiseAddress: '10.0.0.5' };
const FACTS: HostFacts = { caDirectories: ['/etc/ca-certificates'], proxyEnvs: [], isExternalCa: false };
const TKADM = 'apiVersion: tkadm.io/v1alpha1\nkind: TkadmConfiguration\n';
const CLUSTER = 'apiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\n';

async function load4(text: string): Promise<InitConfig> {
  const { config } = await loadConfiguration({ kind: 'InitConfiguration', text, defaultsFrom: MACHINE });
  return config;
}

function podOf(config: InitConfig, name: string, facts = FACTS): Pod {
  return load(renderManifest(MANIFESTS.find((row) => row.name === name)!, config, facts)) as Pod;
}

t.test('extra arguments, volumes and variables are merged', async (t) => {
  const config = await load4(`${TKADM}engine: upstream
---
${CLUSTER}controlPlaneEndpoint: lb.example.com
apiServer:
  extraArgs:
    - {name: secure-port, value: "7443"}
    - {name: authorization-config, value: /a}
    - {name: v, value: "4"}
    - {name: v, value: "5"}
  extraVolumes:
    - {name: ca-certs, hostPath: /my/ca, mountPath: /etc/ssl/certs}
    - {name: audit, hostPath: /var/log/audit, mountPath: /audit, pathType: DirectoryOrCreate}
  extraEnvs: [{name: HTTP_PROXY, value: mine}]
controllerManager: {extraArgs: [{name: bind-address, value: 0.0.0.0}]}
etcd: {local: {extraArgs: [{name: advertise-client-urls, value: "https://10.9.9.9:2379"}]}}
`);
  const facts: HostFacts = {
    caDirectories: [],
    proxyEnvs: [
      { name: 'HTTP_PROXY', value: 'theirs' },
      { name: 'no_proxy', value: 'x' },
    ],
    isExternalCa: true,
  };
  const apiserver = podOf(config, 'kube-apiserver', facts);
  const [container] = apiserver.spec!.containers;
  const command = container!.command!;
  t.same(command.slice(-4), ['--secure-port=7443', '--authorization-config=/a', '--v=4', '--v=5']);
  t.notOk(command.some((arg) => arg.startsWith('--authorization-mode')));
  t.equal(command.filter((arg) => arg.startsWith('--secure-port')).length, 1);
  t.ok(command.includes('--etcd-servers=https://10.9.9.9:2379'));
  t.same(container!.ports, [{ name: 'probe-port', containerPort: 7443, protocol: 'TCP' }]);
  t.same(container!.env, [
    { name: 'no_proxy', value: 'x' },
    { name: 'HTTP_PROXY', value: 'mine' },
  ]);
  t.same(
    apiserver.spec!.volumes!.map((volume) => `${volume.name} ${volume.hostPath!.path}`),
    ['audit /var/log/audit', 'ca-certs /my/ca', 'k8s-certs /etc/kubernetes/pki'],
  );
  const manager = podOf(config, 'kube-controller-manager', facts).spec!.containers[0]!;
  t.equal(manager.livenessProbe!.httpGet!.host, undefined);
  t.equal(manager.readinessProbe, undefined);
  t.ok(manager.command!.includes('--cluster-signing-key-file='));
  t.notOk(manager.command!.some((arg) => arg.startsWith('--cluster-cidr')));
  t.same(podOf(config, 'etcd', facts).metadata!.annotations, {
    'kubeadm.kubernetes.io/etcd.advertise-client-urls': 'https://10.9.9.9:2379',
  });
});

t.test('an external etcd gives its URLs, files and directories', async (t) => {
  const config = await load4(`${TKADM}engine: upstream
---
${CLUSTER}etcd:
  external: {endpoints: ["https://a:2379", "https://b:2379"], caFile: /e/ca.crt, certFile: /e/in/c.crt, keyFile: /f/c.key}
`);
  t.notOk(selectManifests(config).some((row) => row.name === 'etcd'));
  const pod = podOf(config, 'kube-apiserver');
  t.ok(pod.spec!.containers[0]!.command!.includes('--etcd-servers=https://a:2379,https://b:2379'));
  const paths = pod
    .spec!.volumes!.filter((v) => v.name.startsWith('etcd-certs'))
    .map((v) => v.hostPath!.path);
  t.same(paths, ['/e', '/f']);
});

t.test('IPv6 addresses are bracketed', async (t) => {
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: `${TKADM}engine: upstream\n---\n${CLUSTER}networking: {serviceSubnet: "fd00:1::/112"}\n`,
    defaultsFrom: { hostname: 'n', advertiseAddress: 'fd00::5' },
  });
  const etcd = podOf(config, 'etcd').spec!.containers[0]!;
  t.ok(etcd.command!.includes('--listen-client-urls=https://[::1]:2379,https://[fd00::5]:2379'));
  t.equal(etcd.livenessProbe!.httpGet!.host, '::1');
  t.ok(
    podOf(config, 'kube-apiserver').spec!.containers[0]!.command!.includes(
      '--etcd-servers=https://[::1]:2379',
    ),
  );
});

t.test('mergeArguments() sorts defaults and keeps the order of the others', (t) => {
  const args = mergeArguments({ b: '1', a: '2', c: undefined, d: '' }, [
    { name: 'z', value: '1' },
    { name: 'b', value: '9' },
    { name: 'z', value: '2' },
  ]);
  t.same(args, ['--a=2', '--d=', '--z=1', '--b=9', '--z=2']);
  t.end();
});

t.test('formatImage() and listImages() name images', async (t) => {
  const upstream = await load4(`${TKADM}engine: upstream\n`);
  t.same(listImages(upstream), [
    'registry.k8s.io/kube-apiserver:v1.36.2',
    'registry.k8s.io/kube-controller-manager:v1.36.2',
    'registry.k8s.io/kube-scheduler:v1.36.2',
    'registry.k8s.io/kube-proxy:v1.36.2',
    'registry.k8s.io/coredns/coredns:v1.14.2',
    'registry.k8s.io/pause:3.10.2',
    'registry.k8s.io/etcd:3.6.8-0',
  ]);
  const mirror = await load4(
    `${TKADM}engine: upstream\n---\n${CLUSTER}imageRepository: my.registry:5000/k8s\n`,
  );
  t.equal(formatImage('coredns', mirror), 'my.registry:5000/k8s/coredns:v1.14.2');
  const embedded = await load4(TKADM);
  t.equal(formatImage('coredns', embedded), 'tkadm.local/coredns:v1.36.2');
  t.equal(listImages(embedded).length, 5);
});

t.test('formatKubeletFlags() writes one line and refuses what it cannot hold', (t) => {
  const flags = (args: readonly { name: string; value: string }[], isWorker = true) =>
    formatKubeletFlags({
      hostname: 'Host',
      nodeIp: '10.0.0.1',
      isWorker,
      nodeRegistration: {
        name: 'other',
        criSocket: '',
        taints: [
          { key: 'a/b', value: 'c', effect: 'NoSchedule' },
          { key: 'd', effect: 'NoExecute' },
        ],
        kubeletExtraArgs: args,
      },
    } as never);
  t.equal(
    flags([{ name: 'node-ip', value: '10.0.0.2' }]),
    'KUBELET_KUBEADM_ARGS="--hostname-override=other --register-with-taints=a/b=c:NoSchedule,d:NoExecute --node-ip=10.0.0.2"\n',
  );
  t.equal(flags([], false), 'KUBELET_KUBEADM_ARGS="--hostname-override=other --node-ip=10.0.0.1"\n');
  t.throws(() => flags([{ name: 'x', value: 'a"; rm' }]), { code: 'TEMPLATE_INVALID' });
  t.end();
});

t.test("the engines' manifests differ in image, store, leader election and startup probe alone", (t) => {
  const read = (engine: string, name: string) =>
    load(readFileSync(join(import.meta.dirname, `../golden/${engine}/${name}.yaml`), 'utf8')) as Pod;
  for (const name of ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler']) {
    const common = (pod: Pod) => {
      const [container] = pod.spec!.containers;
      const { image: _, startupProbe, command = [], volumeMounts = [], ...rest } = container!;
      const isOwn = (flag: string) =>
        /^--(store-dir|etcd-|leader-elect|allocate-node-cidrs|cluster-cidr|service-cluster-ip-range)/.test(
          flag,
        );
      return {
        ...rest,
        startup: startupProbe?.httpGet,
        command: command.filter((flag) => !isOwn(flag)),
        mounts: volumeMounts.filter((mount) => mount.name !== 'store'),
        volumes: pod.spec!.volumes?.filter((volume) => volume.name !== 'store'),
        pod: { ...pod.spec, containers: [], volumes: [] },
        metadata: pod.metadata,
      };
    };
    t.same(common(read('embedded', name)), common(read('upstream', name)), name);
  }
  t.end();
});
