import { mkdir, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { execa } from 'execa';
import t from 'tap';
import { writeBusyboxArchive } from '../hosts/busybox-image.ts';
import {
  apply,
  eventually,
  findPids,
  getJson,
  getPods,
  initCluster,
  isReady,
  joinCluster,
  kubectl,
  labObstacle,
  type PodFacts,
  readyNodes,
  readyPods,
  type TimedOutput,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type LabHost, REPOSITORY, signalEntered } from '../hosts/lab.ts';

/** What the second build of these sources calls itself. */
const NEXT = { tkadm: '9.8.7', kubernetes: 'v1.37.0' } as const;
const SERVER = '^httpd -f';
const IMAGE = 'shop/web:1';
const COMPONENTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];

const WORKLOAD = `
apiVersion: apps/v1
kind: DaemonSet
metadata: { name: web }
spec:
  selector: { matchLabels: { app: web } }
  template:
    metadata: { labels: { app: web } }
    spec:
      tolerations: [{ operator: Exists }]
      terminationGracePeriodSeconds: 1
      containers:
        - name: web
          image: ${IMAGE}
          imagePullPolicy: Never
          command: [sh, -c, 'hostname > /www/index.html; exec httpd -f -p 8080 -h /www']
          readinessProbe: { httpGet: { path: /index.html, port: 8080 }, periodSeconds: 1 }
`;

const service = (name: string) => `
apiVersion: v1
kind: Service
metadata: { name: ${name} }
spec:
  selector: { app: web }
  ports: [{ port: 80, targetPort: 8080 }]
`;

t.test(
  'a cluster is upgraded',
  { skip: labObstacle({ busybox: 'busybox-static' }), timeout: 400_000 },
  async (t) => {
    const lab = await createLab({ hostNames: ['cp', 'node1'] });
    t.teardown(() => lab.close());
    const [cp, node1] = lab.hosts as [LabHost, LabHost];
    const program = await buildNext(join(lab.directory, 'next'));
    const next = (host: LabHost, args: readonly string[]) => runProgram(host, program, args);

    await joinCluster(node1, await initCluster(cp));
    const archive = await writeBusyboxArchive(join(lab.directory, 'image'), IMAGE);
    for (const host of lab.hosts) t.equal((await tkadm(host, ['image', 'load', '-i', archive])).exitCode, 0);
    await apply(cp, `${WORKLOAD}---${service('web')}`);
    await readyPods(cp, ['-l', 'app=web'], { count: 2, timeoutMs: 60_000 });
    await readyPods(cp, ['-n', 'kube-system'], { count: 6, timeoutMs: 60_000 });
    const before = await versions(cp);
    const servers = await Promise.all(lab.hosts.map((host) => findPids(host, SERVER)));
    t.same(
      servers.map((pids) => pids.length),
      [1, 1],
    );
    const oldBundle = await currentBundle(cp);

    await t.test('a new package says what to do, and does nothing by itself', async (t) => {
      const init = await next(cp, ['init']);
      t.equal(init.exitCode, 2);
      t.match(init.stderr, /this machine runs tkadm .*\n +try: tkadm upgrade apply/);
      const node = await next(node1, ['upgrade', 'node']);
      t.match(node.stderr, /the cluster is v1\.36\.2\n +try: tkadm upgrade apply, on a control-plane node/);
      t.match((await next(node1, ['upgrade', 'apply', '-y'])).stderr, /this node has no control plane/);
      t.match((await next(cp, ['upgrade', 'apply'])).stderr, /standard input is no terminal/);
      t.match(
        (await next(cp, ['upgrade', 'apply', 'v1.36.2', '-y'])).stderr,
        /the programs of v1\.37\.0 alone/,
      );
      t.match((await tkadm(cp, ['upgrade', 'plan'])).stdout, /there is nothing to upgrade/);
      t.equal(await currentBundle(cp), oldBundle);
    });

    await t.test('plan, diff and a dry run tell what would change', async (t) => {
      const plan = JSON.parse((await next(cp, ['upgrade', 'plan', '-o', 'json'])).stdout);
      t.match(plan, { kind: 'UpgradePlan', apiVersion: 'output.kubeadm.k8s.io/v1alpha3' });
      const component = (name: string, nodeName: string, versionsOf: readonly string[]) => ({
        name,
        nodeName,
        currentVersion: versionsOf[0],
        newVersion: versionsOf[1],
      });
      const { components } = plan.availableUpgrades[0];
      for (const row of [
        component('kube-apiserver', 'cp', ['v1.36.2', NEXT.kubernetes]),
        component('tkadm', 'node1', [before.packages['node1']!, NEXT.tkadm]),
        component('CoreDNS', '', ['v1.36.2', NEXT.kubernetes]),
      ]) {
        const found = components.find(
          (other: typeof row) => other.name === row.name && other.nodeName === row.nodeName,
        );
        t.same(found, row);
      }
      t.same(
        components.filter((row: { name: string }) => row.name === 'kubelet'),
        ['cp', 'node1'].map((name) => component('kubelet', name, ['v1.36.2', NEXT.kubernetes])),
      );
      const { stdout } = await next(cp, ['upgrade', 'diff', '-c', '0']);
      for (const name of COMPONENTS) {
        t.match(stdout, `--- /etc/kubernetes/manifests/${name}.yaml`);
        t.match(stdout, new RegExp(`\\n-.*image: tkadm.local/${name}:v1.36.2\\n\\+.*:v1.37.0\\n`));
      }
      const dry = await next(cp, ['upgrade', 'apply', '--dry-run']);
      t.equal(dry.exitCode, 0, dry.all);
      t.match(dry.stdout, /\[control-plane\] would write \/etc\/kubernetes\/manifests\/kube-scheduler.yaml/);
      t.notMatch(dry.stdout, /BEGIN [A-Z ]*PRIVATE KEY-----\n +\+?[A-Za-z0-9+/]{20}/);
      t.same(await versions(cp), before);
      t.equal(await currentBundle(cp), oldBundle);
    });

    await t.test('a control plane that does not come up is taken back', async (t) => {
      const patches = await writePatch(cp, 'kube-apiserver', '--no-such-flag');
      const failed = await next(cp, ['upgrade', 'apply', '-y', '--patches', patches]);
      t.equal(failed.exitCode, 7, failed.all);
      t.match(failed.stderr, /Cannot run kube-apiserver: its container ended again and again.*no-such-flag/);
      t.match(failed.stdout, /Rolled back: everything is as it was before/);
      t.equal(await currentBundle(cp), oldBundle);
      t.equal((await cp.exec(['ls', '/var/lib/tkadm/upgrade'])).exitCode, 2, 'nothing is kept');
      await eventually(
        'the cluster to converge',
        60_000,
        () => isConverged(cp),
        () => overview(cp),
      );
      // A node tells of its runtime's version with its next status.
      await eventually(
        'the versions of before',
        60_000,
        async () => isDeepStrictEqual(await versions(cp), before),
        async () => JSON.stringify(await versions(cp)),
      );
      t.ok(await isServed(lab.hosts, cp, 'web'));
    });

    await t.test('an upgrade that is killed goes on, and ends well', async (t) => {
      for (const moment of [
        /"action":"use-bundle"/,
        /"summary":"write .*kube-apiserver.yaml"/,
        /"summary":"wait for kube-controller-manager in/,
        /"phase":"kubelet-config","isDryRun":false,"action":"stop-service"/,
      ])
        await killAt(cp, [...program, 'upgrade', 'apply', '-y', '-o', 'json'], moment);
      const done = await next(cp, ['upgrade', 'apply', '-y', '-o', 'json']);
      t.equal(done.exitCode, 0, done.all);
      const result = JSON.parse(done.stdout.trim().split('\n').at(-1)!);
      t.match(result, {
        type: 'result',
        ok: true,
        kubernetesVersion: NEXT.kubernetes,
        nodesToUpgrade: ['node1'],
      });
      const now = await versions(cp);
      for (const name of COMPONENTS)
        t.equal(now.images[`${name}-cp`], `tkadm.local/${name}:${NEXT.kubernetes}`);
      t.same(now.kubelets, { cp: NEXT.kubernetes, node1: 'v1.36.2' });
      const { gitVersion } = (await getVersion(cp)).serverVersion;
      t.equal(gitVersion, NEXT.kubernetes);
      t.equal((await cp.exec(['ls', '/var/lib/tkadm/upgrade'])).exitCode, 2, 'nothing is kept');
      t.not(await currentBundle(cp), oldBundle);
      t.same((await bundles(cp)).length, 1, 'the old bundle is gone');
      const stored = await getJson<{ data: Record<string, string> }>(cp, [
        '-n',
        'kube-system',
        'configmap',
        'kubeadm-config',
      ]);
      t.match(stored.data['ClusterConfiguration'], /kubernetesVersion: v1\.37\.0/);
    });

    await t.test('a node of the version before goes on meanwhile', async (t) => {
      await apply(cp, service('later'));
      t.ok(await isServed(lab.hosts, cp, 'later'), 'its service proxy takes a new Service');
      t.same(
        await Promise.all(lab.hosts.map((host) => findPids(host, SERVER))),
        servers,
        'the same processes',
      );
    });

    await t.test('upgrade node, over SSH', async (t) => {
      const done = await next(node1, ['upgrade', 'node']);
      t.equal(done.exitCode, 0, done.all);
      await eventually(
        'the cluster to converge',
        60_000,
        () => isConverged(cp),
        () => overview(cp),
      );
      const now = await versions(cp);
      t.same(now.kubelets, { cp: NEXT.kubernetes, node1: NEXT.kubernetes });
      t.same(now.packages, { cp: NEXT.tkadm, node1: NEXT.tkadm });
      for (const [name, image] of Object.entries(now.images)) t.match(image, `:${NEXT.kubernetes}`, name);
      t.same(
        await Promise.all(lab.hosts.map((host) => findPids(host, SERVER))),
        servers,
        'the same processes',
      );
      t.ok(await isServed(lab.hosts, cp, 'web'));
      t.same((await bundles(node1)).length, 1, 'the old bundle is gone');
    });

    await t.test(
      'a second time there is nothing to do, and the older package goes no way back unasked',
      async (t) => {
        for (const [host, args] of [
          [cp, ['upgrade', 'apply', '-y']],
          [node1, ['upgrade', 'node']],
          [cp, ['init']],
        ] as const) {
          const again = await next(host, args);
          t.equal(again.exitCode, 0, again.all);
          t.match(again.stdout, /Nothing was changed/);
        }
        const back = await tkadm(cp, ['upgrade', 'apply', '-y']);
        t.equal(back.exitCode, 2);
        t.match(
          back.stderr,
          /it is older than the cluster, v1\.37\.0\n +try: tkadm upgrade apply v1\.36\.2 --force/,
        );
      },
    );
  },
);

/** Another package of these sources, as npm would lay it out; returns the beginning of its command line. */
async function buildNext(directory: string): Promise<readonly string[]> {
  await mkdir(directory, { recursive: true });
  await symlink(join(REPOSITORY, 'node_modules'), join(directory, 'node_modules'));
  const dist = join(directory, 'dist');
  const flags = ['--out', dist, '--package-version', NEXT.tkadm, '--kubernetes-version', NEXT.kubernetes];
  await execa(process.execPath, ['build.mjs', ...flags], { cwd: REPOSITORY, env: { NODE_OPTIONS: '' } });
  return [process.execPath, join(dist, 'tkadm.js')];
}

async function runProgram(
  host: LabHost,
  program: readonly string[],
  args: readonly string[],
): Promise<Omit<TimedOutput, 'seconds'>> {
  const result = await host.exec([...program, ...args], { timeoutMs: 180_000 });
  return { ...result, all: `${result.stdout}${result.stderr}` };
}

/** A directory with a patch that gives a component one argument more: its command is replaced as a whole. */
async function writePatch(host: LabHost, component: string, argument: string): Promise<string> {
  const directory = '/root/patches';
  const patch = JSON.stringify([{ op: 'add', path: '/spec/containers/0/command/-', value: argument }]);
  const script = 'mkdir -p "$0" && cat > "$0/$1+json.json"';
  await host.exec(['sh', '-c', script, directory, component], { input: patch });
  return directory;
}

/** Runs a command and kills it once its output matches. */
async function killAt(host: LabHost, argv: readonly string[], moment: RegExp): Promise<void> {
  const child = host.spawn(argv);
  let text = '';
  let isKilled = false;
  child.stdout?.on('data', (chunk: Buffer) => {
    text += chunk;
    if (isKilled || !moment.test(text)) return;
    isKilled = true;
    void signalEntered(child, 'SIGKILL');
  });
  await child;
  if (!isKilled) throw new Error(`${argv.join(' ')} has not come to ${moment}: ${text}`);
}

async function currentBundle(host: LabHost): Promise<string> {
  return (await host.exec(['readlink', '/var/lib/tkadm/bundle/current'])).stdout.trim();
}

async function bundles(host: LabHost): Promise<readonly string[]> {
  const { stdout } = await host.exec(['ls', '/var/lib/tkadm/bundle']);
  return stdout.split('\n').filter((name) => name !== '' && name !== 'current');
}

interface NodeFacts {
  readonly metadata: { readonly name: string };
  readonly status: {
    readonly nodeInfo: { readonly kubeletVersion: string; readonly containerRuntimeVersion: string };
  };
}

/** The images of the system's pods, and what the nodes say of themselves. */
async function versions(cp: LabHost) {
  const { items } = await getJson<{ items: readonly NodeFacts[] }>(cp, ['nodes']);
  const pods = await getPods(cp, ['-n', 'kube-system']);
  const byNode = (pick: (node: NodeFacts) => string) =>
    Object.fromEntries(items.map((node) => [node.metadata.name, pick(node)]));
  return {
    kubelets: byNode(({ status }) => status.nodeInfo.kubeletVersion),
    packages: byNode(({ status }) => status.nodeInfo.containerRuntimeVersion.replace('tkadm://', '')),
    images: Object.fromEntries(
      pods.map((pod: PodFacts) => [pod.metadata.name, pod.spec.containers[0]!.image]),
    ),
  };
}

async function getVersion(cp: LabHost) {
  const { stdout } = await kubectl(cp, ['version', '-o', 'json']);
  return JSON.parse(stdout) as { readonly serverVersion: { readonly gitVersion: string } };
}

/** Both nodes Ready, six pods of the system and two of the workload. */
async function isConverged(cp: LabHost): Promise<boolean> {
  const [nodes, pods] = [await readyNodes(cp), await getPods(cp, ['-A'])];
  return nodes.length === 2 && pods.length === 8 && pods.every(isReady);
}

/** The Service answers by its name from a pod of each host. */
async function isServed(hosts: readonly LabHost[], cp: LabHost, name: string): Promise<boolean> {
  const pods = await getPods(cp, ['-l', 'app=web']);
  for (const host of hosts) {
    const pod = pods.find(({ spec }) => spec.nodeName === host.name)!;
    await eventually(
      `${name} to answer on ${host.name}`,
      30_000,
      async () => {
        const argv = ['exec', pod.metadata.name, '--', 'wget', '-q', '-O', '-', `http://${name}/`];
        return /^web-/.test((await kubectl(cp, argv)).stdout);
      },
      () => overview(cp),
    );
  }
  return true;
}

async function overview(cp: LabHost): Promise<string> {
  return (await kubectl(cp, ['get', 'nodes,pods', '-A', '-o', 'wide'])).all;
}
