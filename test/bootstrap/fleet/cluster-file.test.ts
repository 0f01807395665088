import t from 'tap';
import { readClusterFile } from '../../../bootstrap/fleet/cluster-file.ts';
import { EXAMPLE_CLUSTER } from '../../../bootstrap/fleet/example.ts';

const HEAD = 'apiVersion: tkadm.io/v1alpha1\nkind: Cluster\nmetadata: {name: prod}\nspec:\n';
const CP = '  hosts:\n    - {address: 10.0.0.1, role: control-plane}\n';

t.test('readClusterFile() gives each host what its group and the file say', async (t) => {
  const { name, hosts, documents } = await readClusterFile(EXAMPLE_CLUSTER, 'cluster.yaml');
  t.equal(name, 'prod');
  t.match(
    hosts.map(({ address, role }) => [address, role]),
    [
      ['10.0.0.11', 'control-plane'],
      ['10.0.0.12', 'worker'],
      ['edge1.example.com', 'worker'],
    ],
  );
  const [cp, , edge] = hosts;
  t.match(cp?.ssh, { user: 'admin', hostKeys: 'accept-new', hostKeyFingerprint: /^SHA256:/ });
  t.match(edge, {
    ssh: { user: 'admin', jump: 'bastion.example.com', port: 2222 },
    labels: { 'example.com/place': 'edge' },
    taints: [{ key: 'example.com/edge', effect: 'NoSchedule' }],
    interface: 'eth1',
  });
  t.same(
    documents.map(({ kind }) => kind),
    ['ClusterConfiguration'],
  );
});

const ETCD = `---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
controlPlaneEndpoint: cluster.example.com:6443
etcd: {external: {endpoints: [https://10.0.0.9:2379], caFile: /e/ca.pem, certFile: /e/c.pem, keyFile: /e/k.pem}}
`;
const TWO = `${CP}    - {address: 10.0.0.2, role: control-plane}\n`;

t.test('a second control plane needs an etcd elsewhere', async (t) => {
  const { hosts } = await readClusterFile(`${HEAD}${TWO}${ETCD}`, 'c.yaml');
  t.equal(hosts.length, 2);
  await t.rejects(readClusterFile(`${HEAD}${TWO}`, 'c.yaml'), {
    code: 'CONFIG_INVALID',
    message:
      /spec\.hosts\[1\]\.role: Forbidden: a second control plane needs etcd\.external and controlPlaneEndpoint .*\(line 7\)/,
  });
});

const REFUSED: readonly (readonly [title: string, text: string, message: RegExp])[] = [
  [
    'an unknown field, and what is meant',
    `${HEAD}${CP}    - {adress: 10.0.0.2, role: worker}\n`,
    /spec\.hosts\[1\]\.adress: Unknown field: .*is "address" meant\? \(line 7\)[\s\S]*hosts\[1\]\.address: Required value/,
  ],
  [
    'a value of the wrong type',
    `${HEAD}  ssh: {port: high}\n${CP}`,
    /spec\.ssh\.port: Invalid value.*\(line 5\)/,
  ],
  ['a port out of range', `${HEAD}  ssh: {port: 70000}\n${CP}`, /spec\.ssh\.port: .*1 to 65535 \(line 5\)/],
  ['no role', `${HEAD}${CP}    - address: 10.0.0.2\n`, /spec\.hosts\[1\]\.role: Required value/],
  ['an unknown role', `${HEAD}${CP}    - {address: b, role: master}\n`, /role: Unsupported value: "master"/],
  [
    'no control plane',
    `${HEAD}  hosts: [{address: a, role: worker}]\n`,
    /one host needs the role "control-plane"/,
  ],
  [
    'one address twice',
    `${HEAD}${CP}    - {address: 10.0.0.1, role: worker}\n`,
    /spec\.hosts\[0\] has it already/,
  ],
  [
    'a group that is not there',
    `${HEAD}  groups: {edge: {role: worker}}\n${CP}    - {address: b, group: edges}\n`,
    /spec\.groups has no such group; is "edge" meant\?/,
  ],
  [
    'a user in the address',
    `${HEAD}${CP}    - {address: me@b, role: worker}\n`,
    /ssh\.user and ssh\.port say the rest/,
  ],
  [
    'a label that is none',
    `${HEAD}${CP}    - {address: b, role: worker, labels: {a b: c}}\n`,
    /write a label like/,
  ],
  [
    'a taint without effect',
    `${HEAD}${CP}    - {address: b, role: worker, taints: [{key: a}]}\n`,
    /effect: Required/,
  ],
  [
    'a fingerprint that is none',
    `${HEAD}  ssh: {hostKeyFingerprint: abc}\n${CP}`,
    /write it as ssh-keygen -l does/,
  ],
  ['a key twice', `${HEAD}${CP}  hosts: []\n`, /spec\.hosts: Duplicate field/],
  [
    'a name in a kubeadm document',
    `${HEAD}${CP}---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\nnodeRegistration: {name: x}\n`,
    /nodeRegistration\.name: Forbidden/,
  ],
  [
    'a wrong kubeadm document',
    `${HEAD}${CP}---\napiVersion: kubeadm.k8s.io/v1beta4\nkind: ClusterConfiguration\nnetworking: {podSubnet: "10.0"}\n`,
    /networking\.podSubnet: .*\(line 10\)/,
  ],
  [
    'no Cluster',
    'apiVersion: kubeadm.k8s.io/v1beta4\nkind: InitConfiguration\n',
    /tkadm\.io\/v1alpha1 Cluster is not in the file/,
  ],
];

t.test('readClusterFile() refuses, with the line', async (t) => {
  for (const [title, text, message] of REFUSED)
    await t.rejects(readClusterFile(text, 'c.yaml'), { code: 'CONFIG_INVALID', message }, title);
});
