import t from 'tap';
import {
  apply,
  componentPattern,
  findPids,
  getJson,
  getPods,
  type JoinArguments,
  joinArguments,
  kubectl,
  labObstacle,
  type PodFacts,
  parseJoinCommand,
  readyNodes,
  readyPods,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type Lab, type LabHost } from '../hosts/lab.ts';

const IMAGE = 'tkadm.local/kube-proxy:v1.36.2';

/** A server that answers with its pod's name and logs each request. */
const SERVER = `
const name = require('os').hostname();
require('http').createServer((request, response) => {
  console.log('request ' + request.url);
  response.end(name + '\\n');
}).listen(8080, () => console.log('listening'));
`.trim();

const WEB = `
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 3
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      topologySpreadConstraints:
        - maxSkew: 1
          topologyKey: kubernetes.io/hostname
          whenUnsatisfiable: DoNotSchedule
          labelSelector: {matchLabels: {app: web}}
      containers:
        - name: web
          image: ${IMAGE}
          command: [node, -e, ${JSON.stringify(SERVER)}]
          ports: [{containerPort: 8080, name: http}]
          readinessProbe: {httpGet: {path: /ready, port: http}, periodSeconds: 1}
          resources: {requests: {cpu: 10m, memory: 32Mi}, limits: {memory: 256Mi}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
`;

t.test('a cluster of three machines', { skip: labObstacle(), timeout: 600_000 }, async (t) => {
  const lab: Lab = await createLab({ hostNames: ['cp', 'node1', 'node2'], withoutNode: ['node1'] });
  t.teardown(() => lab.close());
  const [cp, node1, node2] = lab.hosts as [LabHost, LabHost, LabHost];
  let join: JoinArguments;

  await t.test('preflight without --fix refuses with the exact command', async (t) => {
    const result = await tkadm(cp, ['init']);
    t.equal(result.exitCode, 3, result.all);
    t.match(result.stderr, /sysctl -w net\.ipv4\.ip_forward=1/);
    t.match(result.stderr, /--fix/);
    t.equal((await cp.exec(['ls', '/etc/kubernetes'])).stdout, '', 'nothing was written');
  });

  await t.test('init --fix', { bail: true }, async (t) => {
    const result = await tkadm(cp, ['init', '--fix']);
    t.equal(result.exitCode, 0, result.all);
    t.match(result.stdout, /export KUBECONFIG=\/etc\/kubernetes\/admin\.conf/);
    t.match(result.stdout, /\[wait-control-plane\]/, 'progress by phase');
    t.comment(`init took ${result.seconds.toFixed(1)} s`);
    join = parseJoinCommand(result.stdout);
    t.equal(join.endpoint, `${cp.address}:6443`);
    t.match(join.token, /^[a-z0-9]{6}\.[a-z0-9]{16}$/);
    t.match(join.pin, /^sha256:[0-9a-f]{64}$/);
    t.same(await readyNodes(cp), ['cp'], 'Node Ready when init returns');
  });

  await t.test('the system pods run, as containers of the bundled runtime', async (t) => {
    const pods = await readyPods(cp, ['-n', 'kube-system'], { count: 5, timeoutMs: 10_000 });
    t.same(pods.map((pod) => pod.metadata.name.replace(/-[0-9a-f]{6,10}-\w{5}$|-\w{5}$/, '')).sort(), [
      'coredns',
      'kube-apiserver-cp',
      'kube-controller-manager-cp',
      'kube-proxy',
      'kube-scheduler-cp',
    ]);
    for (const name of ['kube-apiserver-cp', 'kube-controller-manager-cp', 'kube-scheduler-cp']) {
      const pod = pods.find((row) => row.metadata.name === name);
      t.type(pod?.metadata.annotations?.['kubernetes.io/config.mirror'], 'string', `${name} is a mirror pod`);
      t.match(pod?.metadata.ownerReferences, [{ kind: 'Node', name: 'cp' }]);
    }
    const own = await namespaceOf(cp, 1);
    for (const program of ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'coredns']) {
      const [pid] = await findPids(cp, componentPattern(program));
      t.not(await namespaceOf(cp, pid), own, `${program} has its own pid namespace`);
      t.match(
        (await cp.exec(['cat', `/proc/${pid}/cgroup`])).stdout,
        /kubepods/,
        `${program} is in the pods' cgroup`,
      );
    }
    const [node] = await nodes(cp);
    t.match(node?.status.nodeInfo.containerRuntimeVersion, /^tkadm:\/\//);
    t.equal(node?.status.nodeInfo.kubeletVersion, 'v1.36.2');
  });

  await t.test('a second init changes nothing and succeeds', async (t) => {
    const before = await getPods(cp, ['-n', 'kube-system']);
    const result = await tkadm(cp, ['init']);
    t.equal(result.exitCode, 0, result.all);
    t.match(result.stdout, /Nothing was changed: your Kubernetes cluster is as it should be/);
    const after = await getPods(cp, ['-n', 'kube-system']);
    t.same(after.map(containerIds).sort(), before.map(containerIds).sort(), 'the same containers');
  });

  await t.test('join over SSH, to a machine without Node.js', { bail: true }, async (t) => {
    t.not((await node1.exec(['sh', '-c', 'command -v node'])).exitCode, 0, 'no Node.js there');
    const result = await tkadm(cp, ['join', node1.address, '--ssh-host-keys', 'accept-new']);
    t.equal(result.exitCode, 0, result.all);
    t.match(result.stdout, /node "node1" has joined/);
    t.comment(`join over SSH took ${result.seconds.toFixed(1)} s`);
    t.same(await readyNodes(cp), ['cp', 'node1']);
  });

  await t.test("kubeadm's form of join, on the machine itself", { bail: true }, async (t) => {
    const result = await tkadm(node2, ['join', ...joinArguments(join), '--fix']);
    t.equal(result.exitCode, 0, result.all);
    t.match(result.stdout, /This machine is node "node2"/);
    t.comment(`join took ${result.seconds.toFixed(1)} s`);
    t.same(await readyNodes(cp), ['cp', 'node1', 'node2']);
  });

  await t.test('each node has its own certificate from a CSR, and its own pod CIDR', async (t) => {
    const subjects = new Set<string>();
    for (const host of [node1, node2]) {
      t.not((await host.exec(['ls', '/etc/kubernetes/bootstrap-kubelet.conf'])).exitCode, 0);
      const { stdout } = await host.exec([
        'sh',
        '-c',
        'openssl x509 -noout -subject -issuer -in /var/lib/kubelet/pki/kubelet-client-current.pem',
      ]);
      t.match(stdout, new RegExp(`CN ?= ?system:node:${host.name}`));
      t.match(stdout, /issuer=.*CN ?= ?kubernetes/);
      subjects.add(stdout);
    }
    t.equal(subjects.size, 2);
    interface Csr {
      readonly spec: { readonly signerName: string; readonly username: string };
      readonly status: { readonly certificate?: string };
    }
    const { items } = await getJson<{ items: readonly Csr[] }>(cp, ['csr']);
    const issued = items.filter(
      ({ spec, status }) =>
        spec.signerName === 'kubernetes.io/kube-apiserver-client-kubelet' &&
        spec.username.startsWith('system:bootstrap:') &&
        status.certificate,
    );
    t.ok(issued.length >= 2, `${issued.length} certificates issued to bootstrap tokens`);
    const cidrs = (await nodes(cp)).map((node) => node.spec.podCIDR);
    t.equal(new Set(cidrs).size, 3, cidrs.join(' '));
    for (const cidr of cidrs) t.match(cidr, /^10\.244\.\d+\.0\/24$/);
  });

  let pods: readonly PodFacts[] = [];
  await t.test('a Deployment is spread over the nodes', { bail: true }, async (t) => {
    t.match(await apply(cp, WEB), /deployment.apps\/web created\nservice\/web created/);
    pods = await readyPods(cp, ['-l', 'app=web'], { count: 3, timeoutMs: 30_000 });
    t.same(pods.map((pod) => pod.spec.nodeName).sort(), ['cp', 'node1', 'node2']);
  });

  await t.test('pods reach each other by IP, by ClusterIP and by DNS name', async (t) => {
    interface Service {
      readonly spec: { readonly clusterIP: string };
    }
    const { clusterIP } = (await getJson<Service>(cp, ['service', 'web'])).spec;
    for (const from of pods) {
      for (const to of pods) {
        const answer = await fetchFromPod(cp, from.metadata.name, `http://${to.status.podIP}:8080/`);
        t.equal(answer, to.metadata.name, `${from.spec.nodeName} to ${to.spec.nodeName} by pod IP`);
      }
      const names = pods.map((pod) => pod.metadata.name);
      for (const target of [clusterIP, 'web', 'web.default', 'web.default.svc.cluster.local']) {
        const answer = await fetchFromPod(cp, from.metadata.name, `http://${target}/`);
        t.ok(names.includes(answer), `${from.spec.nodeName} to http://${target}/: ${answer}`);
      }
    }
    for (const host of lab.hosts) {
      const { stdout } = await host.exec(['curl', '-sS', '-m', '5', `http://${clusterIP}/`]);
      t.ok(
        pods.some((pod) => pod.metadata.name === stdout.trim()),
        `${host.name} itself to the ClusterIP`,
      );
    }
  });

  await t.test('a Service spreads its connections over all pods', async (t) => {
    const script = `(async () => { const s = new Set(); for (let i = 0; i < 60; i++) s.add((await (await fetch('http://web/', {headers: {connection: 'close'}})).text()).trim()); console.log([...s].sort().join(' ')); })()`;
    const { stdout } = await kubectl(cp, ['exec', pods[0]!.metadata.name, '--', 'node', '-e', script]);
    t.equal(
      stdout.trim(),
      pods
        .map((pod) => pod.metadata.name)
        .sort()
        .join(' '),
    );
  });
});

interface NodeFacts {
  readonly metadata: { readonly name: string };
  readonly spec: { readonly podCIDR: string };
  readonly status: {
    readonly nodeInfo: { readonly containerRuntimeVersion: string; readonly kubeletVersion: string };
  };
}

async function nodes(host: LabHost): Promise<readonly NodeFacts[]> {
  return (await getJson<{ items: readonly NodeFacts[] }>(host, ['nodes'])).items;
}

async function namespaceOf(host: LabHost, pid: number | undefined): Promise<string> {
  return (await host.exec(['readlink', `/proc/${pid}/ns/pid`])).stdout.trim();
}

function containerIds(pod: PodFacts): string {
  return (pod.status.containerStatuses ?? []).map((row) => row.containerID).join(' ');
}

/** What a GET from inside of a pod answers, without white space around it. */
async function fetchFromPod(host: LabHost, pod: string, url: string): Promise<string> {
  const script = `fetch(${JSON.stringify(url)}, {signal: AbortSignal.timeout(5000)}).then(r => r.text()).then(s => process.stdout.write(s), e => { console.error(String(e.cause ?? e)); process.exitCode = 1; })`;
  const result = await kubectl(host, ['exec', pod, '--', 'node', '-e', script]);
  return result.exitCode === 0 ? result.stdout.trim() : `failed: ${result.all}`;
}
