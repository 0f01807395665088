import t from 'tap';
import {
  apply,
  componentPattern,
  eventually,
  findPids,
  getJson,
  getPods,
  initCluster,
  isReady,
  joinCluster,
  kubectl,
  kubectlText,
  labObstacle,
  type PodFacts,
  readyNodes,
  readyPods,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost } from '../hosts/lab.ts';

/** Counts on standard output ten times a second and answers on 8080. */
const SERVER = `
let n = 0;
setInterval(() => console.log('tick ' + n++), 100);
require('http').createServer((q, r) => r.end(require('os').hostname())).listen(8080);
`.trim();

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
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
        - name: web
          image: tkadm.local/kube-proxy:v1.36.2
          command: [node, -e, ${JSON.stringify(SERVER)}]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
`;

const CONTROL_PLANE = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];
const USER_PROCESS = '^node -e ';

t.test('a cluster of two machines survives', { skip: labObstacle(), timeout: 600_000 }, async (t) => {
  const lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];
  await joinCluster(node1, await initCluster(cp));
  await apply(cp, WEB);
  await readyPods(cp, ['-l', 'app=web'], { count: 2, timeoutMs: 30_000 });
  await readyPods(cp, ['-n', 'kube-system'], { count: 6, timeoutMs: 20_000 });

  for (const service of ['tkadm-runtime', 'tkadm-agent']) {
    for (const host of [node1, cp]) {
      await t.test(`kill -9 of ${service} on ${host.name}`, async (t) => {
        const users = await findPids(host, USER_PROCESS);
        const before = await podsOn(cp, host);
        const pid = await servicePid(host, service);
        await host.exec(['kill', '-KILL', String(pid)]);
        await eventually(`another ${service}`, 10_000, async () => {
          const now = await servicePid(host, service);
          return now !== pid && (await host.exec(['kill', '-0', String(now)])).exitCode === 0;
        });
        const [web] = before.filter((pod) => pod.metadata.name.startsWith('web'));
        await eventually('exec to work', 15_000, async () => {
          const result = await kubectl(cp, ['exec', web!.metadata.name, '--', 'node', '-p', '6 * 7']);
          return result.stdout.trim() === '42';
        });
        t.same(await findPids(host, USER_PROCESS), users, 'user containers keep their pids');
        await eventually('all Ready', 20_000, async () => isConverged(cp));
        const after = await podsOn(cp, host);
        t.same(restarts(after), restarts(before), 'no container was started again');
      });
    }
  }

  await t.test('logs are complete', async (t) => {
    for (const pod of await getPods(cp, ['-l', 'app=web'])) {
      const lines = (await kubectlText(cp, ['logs', pod.metadata.name])).trimEnd().split('\n');
      t.ok(lines.length > 20, `${lines.length} lines`);
      const wrong = lines.findIndex((line, index) => line !== `tick ${index}`);
      t.equal(wrong, -1, `${pod.spec.nodeName}: line ${wrong} is "${lines[wrong]}"`);
    }
  });

  for (const name of CONTROL_PLANE) {
    await t.test(`kill -9 of ${name}`, async (t) => {
      await killContainer(cp, cp, componentPattern(name));
      const restartCount = async () => {
        const [pod] = await getPods(cp, [
          '-n',
          'kube-system',
          '--field-selector',
          `metadata.name=${name}-cp`,
        ]);
        return pod?.status.containerStatuses?.[0]?.restartCount ?? 0;
      };
      await eventually(
        'a restart, and the cluster to converge',
        60_000,
        async () => (await restartCount()) > 0 && isConverged(cp),
        () => overview(cp),
      );
      t.equal(await restartCount(), 1, 'restarted once');
    });
  }

  await t.test('kill -9 of every control-plane component at once', async (t) => {
    for (const name of CONTROL_PLANE) await killContainer(cp, cp, componentPattern(name));
    await eventually(
      'the cluster to converge',
      90_000,
      async () => isConverged(cp),
      () => overview(cp),
    );
    await kubectlText(cp, ['scale', 'deployment', 'web', '--replicas=3']);
    await readyPods(cp, ['-l', 'app=web'], { count: 3, timeoutMs: 30_000 });
    await kubectlText(cp, ['scale', 'deployment', 'web', '--replicas=2']);
    await eventually('two pods', 30_000, async () => (await getPods(cp, ['-l', 'app=web'])).length === 2);
    t.same(await readyNodes(cp), ['cp', 'node1']);
  });

  for (const [subject, host, pattern, args] of [
    ["a pod's process", node1, USER_PROCESS, ['-l', 'app=web']],
    ['kube-proxy', node1, componentPattern('kube-proxy'), ['-n', 'kube-system', '-l', 'k8s-app=kube-proxy']],
    ['coredns', cp, componentPattern('coredns'), ['-n', 'kube-system', '-l', 'k8s-app=kube-dns']],
  ] as const) {
    await t.test(`kill -9 of ${subject}`, async (t) => {
      const before = sum(restarts(await getPods(cp, args)));
      await killContainer(cp, host, pattern);
      await eventually(
        'one more restart',
        30_000,
        async () => sum(restarts(await getPods(cp, args))) === before + 1,
      );
      await eventually(
        'the cluster to converge',
        60_000,
        async () => isConverged(cp),
        () => overview(cp),
      );
      await eventually(
        'the Service to answer by name',
        20_000,
        async () => isServed(cp),
        () => servedState(lab.hosts),
      );
      t.pass('it came back');
    });
  }

  await t.test('kill -9 of a pod sandbox', async (t) => {
    const [pod] = (await podsOn(cp, node1)).filter((row) => row.metadata.name.startsWith('web'));
    const [user] = await findPids(node1, USER_PROCESS);
    const pauses = await findPids(node1, '^/pause');
    const { stdout: network } = await node1.exec(['readlink', `/proc/${user}/ns/net`]);
    for (const pause of pauses) {
      if ((await node1.exec(['readlink', `/proc/${pause}/ns/net`])).stdout === network)
        await node1.exec(['kill', '-KILL', String(pause)]);
    }
    await eventually(
      'the pod to be ready with another container',
      60_000,
      async () => {
        const [now] = (await podsOn(cp, node1)).filter((row) => row.metadata.uid === pod!.metadata.uid);
        return now && isReady(now) && containerId(now) !== containerId(pod!);
      },
      () => overview(cp),
    );
    await eventually(
      'the Service to answer by name',
      20_000,
      async () => isServed(cp),
      () => servedState(lab.hosts),
    );
    t.pass('it came back');
  });

  await t.test('stop everything, start the services again', async (t) => {
    const before = await identity(cp);
    for (const host of [node1, cp]) {
      const stopped = await tkadm(host, ['service', 'stop', '--all']);
      t.equal(stopped.exitCode, 0, stopped.all);
      t.same(
        await findPids(host, '^(/pause|coredns|kube-|node -e)|tkadm-(runtime|agent).cjs'),
        [],
        'nothing runs',
      );
    }
    for (const host of [cp, node1]) t.equal((await tkadm(host, ['service', 'start'])).exitCode, 0);
    await eventually(
      'the cluster to converge',
      90_000,
      async () => isConverged(cp),
      () => overview(cp),
    );
    t.same(await identity(cp), before, 'the same objects');
    await eventually(
      'the Service to answer by name',
      20_000,
      async () => isServed(cp),
      () => servedState(lab.hosts),
    );
  });

  await t.test('a power cut on both machines', async (t) => {
    const before = await identity(cp);
    await Promise.all([cp.reboot(), node1.reboot()]);
    for (const host of [cp, node1]) t.equal((await tkadm(host, ['service', 'start'])).exitCode, 0);
    await eventually(
      'the cluster to converge',
      90_000,
      async () => isConverged(cp),
      () => overview(cp),
    );
    t.same(await identity(cp), before, 'the same objects');
    await eventually(
      'the Service to answer by name',
      20_000,
      async () => isServed(cp),
      () => servedState(lab.hosts),
    );
  });
});

async function servicePid(host: LabHost, service: string): Promise<number> {
  return Number((await host.exec(['cat', `/run/tkadm/${service}.service.pid`])).stdout.trim());
}

async function podsOn(cp: LabHost, host: LabHost): Promise<readonly PodFacts[]> {
  const pods = await getPods(cp, ['-A', '--field-selector', `spec.nodeName=${host.name}`]);
  return [...pods].sort((a, b) => a.metadata.name.localeCompare(b.metadata.name));
}

function restarts(pods: readonly PodFacts[]): Readonly<Record<string, number>> {
  return Object.fromEntries(
    pods.map((pod) => [pod.metadata.name, pod.status.containerStatuses?.[0]?.restartCount ?? 0]),
  );
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((a, b) => a + b, 0);
}

function containerId(pod: PodFacts): string | undefined {
  return pod.status.containerStatuses?.[0]?.containerID;
}

/** Kills the one process of a container on a host. */
async function killContainer(cp: LabHost, host: LabHost, pattern: string): Promise<void> {
  const pids = await eventually(
    `a process "${pattern}"`,
    10_000,
    async () => {
      const found = await findPids(host, pattern);
      return found.length > 0 && found;
    },
    () => overview(cp),
  );
  await host.exec(['kill', '-KILL', String(pids[0])]);
}

/** Both nodes Ready and eight pods ready: six of the system, two of the workload. */
async function isConverged(cp: LabHost): Promise<boolean> {
  const [nodes, pods] = [await readyNodes(cp), await getPods(cp, ['-A'])];
  return nodes.length === 2 && pods.length === 8 && pods.every(isReady);
}

async function overview(cp: LabHost): Promise<string> {
  return (await kubectl(cp, ['get', 'nodes,pods', '-A', '-o', 'wide'])).all;
}

/** A pod reaches the Service by its DNS name. */
async function isServed(cp: LabHost): Promise<boolean> {
  const script = "fetch('http://web/').then(r => r.text()).then(console.log)";
  const result = await kubectl(cp, ['exec', 'deployment/web', '--', 'node', '-e', script]);
  return result.exitCode === 0 && result.stdout.startsWith('web-');
}

/** What may be wrong when the Service does not answer. */
async function servedState(hosts: readonly LabHost[]): Promise<string> {
  const cp = hosts[0]!;
  const script = `
    const { lookup } = require('dns').promises;
    const say = (what) => (result) => console.log(what, String(result?.cause ?? result?.address ?? result));
    lookup('web').then(say('name'), say('name'));
    fetch('http://' + process.argv[1]).then((r) => r.text()).then(say('address'), say('address'));`;
  const { spec } = await getJson<{ spec: { clusterIP: string } }>(cp, ['service', 'web']);
  const seen = await kubectl(cp, ['exec', 'deployment/web', '--', 'node', '-e', script, spec.clusterIP]);
  const rules = await Promise.all(
    hosts.map(
      async (host) => (await host.exec(['sh', '-c', 'ip route; nft list ruleset | head -60'])).stdout,
    ),
  );
  const slices = await kubectl(cp, ['get', 'endpointslices', '-A', '-o', 'wide']);
  return [await overview(cp), seen.all, slices.all, ...rules].join('\n');
}

/** What tells this cluster and its objects from any other. */
async function identity(cp: LabHost): Promise<readonly string[]> {
  interface Items {
    readonly items: readonly {
      readonly kind: string;
      readonly metadata: { readonly name: string; readonly uid: string };
    }[];
  }
  const { items } = await getJson<Items>(cp, [
    'namespaces,nodes,deployments,services,replicasets,serviceaccounts',
    '-A',
  ]);
  return items.map(({ kind, metadata }) => `${kind} ${metadata.name} ${metadata.uid}`).sort();
}
