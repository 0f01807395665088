import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { writeBusyboxArchive, writeBusyboxContext } from '../hosts/busybox-image.ts';
import {
  apply,
  eventually,
  follow,
  getJson,
  getPods,
  initCluster,
  joinCluster,
  kubectl,
  kubectlText,
  labObstacle,
  readyPods,
  tkadm,
} from '../hosts/cluster.ts';
import { createLab, type Lab, type LabHost } from '../hosts/lab.ts';
import { inTerminal } from '../hosts/terminal.ts';
import { testStreams } from './streams.ts';

/** Serves its pod's name on 8080 and counts on standard output. */
const COMMAND = [
  'sh',
  '-c',
  'mkdir -p /www; hostname > /www/index.html; (n=0; while true; do echo "tick $n"; n=$((n+1)); sleep 0.2; done) & exec httpd -f -p 8080 -h /www',
];

function web(image: string, replicas = 3): string {
  return `
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: ${replicas}
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {app: web}}}
      containers:
        - name: web
          image: ${image}
          command: ${JSON.stringify(COMMAND)}
          ports: [{containerPort: 8080, name: http}]
          env: [{name: COLOUR, value: green}]
          readinessProbe: {httpGet: {path: /, port: http}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: http}]
`;
}

const skip = labObstacle({
  busybox: 'busybox-static',
  'docker-registry': 'docker-registry',
  skopeo: 'skopeo',
});

t.test('images and kubectl against a cluster of two machines', { skip, timeout: 600_000 }, async (t) => {
  const lab: Lab = await createLab({ hostNames: ['cp', 'node1'] });
  t.teardown(() => lab.close());
  const [cp, node1] = lab.hosts as [LabHost, LabHost];
  await joinCluster(node1, await initCluster(cp));
  const registry = `${lab.gateway}:5000`;
  const image = (tag: string) => `${registry}/shop/busybox:${tag}`;
  let name = '';

  await t.test('image build, ls and rm', async (t) => {
    const context = join(lab.directory, 'cp/context');
    await writeBusyboxContext(context, 'built here\n');
    const built = await tkadm(cp, ['image', 'build', context, '-t', 'shop.local/motd:1']);
    t.equal(built.exitCode, 0, built.all.slice(-500));
    const list = await tkadm(cp, ['image', 'ls']);
    t.match(list.stdout, /shop\.local\/motd +1 /);
    t.match(JSON.parse((await tkadm(cp, ['image', 'ls', '-o', 'json'])).stdout), { images: Array });
    const overrides = JSON.stringify({ spec: { nodeName: 'cp' } });
    await kubectlText(cp, [
      'run',
      'motd',
      '--image=shop.local/motd:1',
      '--restart=Never',
      `--overrides=${overrides}`,
    ]);
    await eventually('the pod of the built image to end', 20_000, async () => {
      const [pod] = await getPods(cp, ['--field-selector=metadata.name=motd']);
      return pod?.status.phase === 'Succeeded';
    });
    t.equal(await kubectlText(cp, ['logs', 'motd']), 'built here\n');
    await kubectlText(cp, ['delete', 'pod', 'motd']);
    const removed = await tkadm(cp, ['image', 'rm', 'shop.local/motd:1']);
    t.equal(removed.exitCode, 0, removed.all.slice(-500));
    t.notMatch((await tkadm(cp, ['image', 'ls'])).stdout, /shop\.local/);
  });

  await t.test('image load from a docker-archive', async (t) => {
    const directory = join(lab.directory, 'node1/archive');
    await mkdir(directory, { recursive: true });
    const archive = await writeBusyboxArchive(directory, 'shop.local/loaded:1');
    const loaded = await tkadm(node1, ['image', 'load', '-i', archive]);
    t.equal(loaded.exitCode, 0, loaded.all.slice(-500));
    t.match(loaded.stdout, /Loaded shop\.local\/loaded:1/);
    const overrides = JSON.stringify({ spec: { nodeName: 'node1' } });
    await kubectlText(cp, [
      'run',
      'loaded',
      '--image=shop.local/loaded:1',
      '--restart=Never',
      `--overrides=${overrides}`,
    ]);
    const text = await eventually('the log of the loaded image', 20_000, async () => {
      return (await kubectl(cp, ['logs', 'loaded'])).stdout || undefined;
    });
    t.equal(text, 'shop.local/loaded:1\n');
    await kubectlText(cp, ['delete', 'pod', 'loaded']);
  });

  await t.test('pods pull their image from a registry', { bail: true }, async (t) => {
    await startRegistry(lab, registry);
    for (const tag of ['1', '2']) {
      const directory = join(lab.directory, `archive-${tag}`);
      await mkdir(directory, { recursive: true });
      const archive = await writeBusyboxArchive(directory, `shop/busybox:${tag}`);
      const push = `skopeo copy --insecure-policy --dest-tls-verify=false docker-archive:${archive} docker://${image(tag)}`;
      const pushed = await lab.spawn(['sh', '-ec', push]);
      t.equal(pushed.exitCode, 0, String(pushed.stderr));
    }
    for (const host of lab.hosts) {
      await host.exec(['mkdir', '-p', '/etc/tkadm']);
      await host.exec(['sh', '-c', 'cat > /etc/tkadm/registries.json'], {
        input: JSON.stringify({ plainHttp: [registry] }),
      });
    }
    await apply(cp, web(image('1')));
    const pods = await readyPods(cp, ['-l', 'app=web'], { count: 3, timeoutMs: 40_000 });
    name = pods[0]!.metadata.name;
    t.equal(new Set(pods.map((pod) => pod.spec.nodeName)).size, 2, 'on both nodes');
    t.match(pods[0]?.status.containerStatuses?.[0]?.imageID, /@?sha256:/);
    t.match((await tkadm(cp, ['image', 'ls'])).stdout, /shop\/busybox +1 /);
  });

  await t.test('get -o wide, get -w and describe', async (t) => {
    const wide = await kubectlText(cp, ['get', 'pods', '-o', 'wide']);
    t.match(wide, /NAME +READY +STATUS +RESTARTS +AGE +IP +NODE/);
    t.match(wide, new RegExp(`${name} +1/1 +Running +0 `));
    const watch = follow(cp, ['kubectl', 'get', 'pods', '-w']);
    await eventually('the watch to begin', 15_000, async () => watch.text().includes(name));
    await kubectlText(cp, ['run', 'late', `--image=${image('1')}`, '--command', '--', 'sleep', '60']);
    await eventually('the watch to show the new pod run', 15_000, async () =>
      /late +1\/1 +Running/.test(watch.text()),
    );
    t.match(watch.text(), /late +0\/1 +(Pending|ContainerCreating)/);
    await kubectlText(cp, ['delete', 'pod', 'late', '--grace-period=1']);
    await watch.stop();
    // Events are written beside what they tell of.
    const described = await eventually('the events of the pod', 15_000, async () => {
      const text = await kubectlText(cp, ['describe', 'pod', name]);
      return /Normal +Started/.test(text) && text;
    });
    for (const part of [
      /^Name: +web-/m,
      /^Node: +\S+\/10\.77\./m,
      /COLOUR: +green/,
      /Normal +Started/,
      /Normal +Pulled/,
    ])
      t.match(described, part);
    t.match(
      await kubectlText(cp, ['describe', 'node', 'cp']),
      /Allocatable:[\s\S]*Non-terminated Pods:[\s\S]*web-/,
    );
    await eventually('the endpoints', 15_000, async () =>
      /Endpoints: +10\.244\./.test(await kubectlText(cp, ['describe', 'service', 'web'])),
    );
    await eventually('the Deployment to be available', 15_000, async () =>
      /3 desired \| 3 updated \| 3 total \| 3 available/.test(
        await kubectlText(cp, ['describe', 'deployment', 'web']),
      ),
    );
  });

  await t.test('logs, logs -f', async (t) => {
    t.match(await kubectlText(cp, ['logs', name]), /^tick 0\ntick 1\n/);
    t.match(await kubectlText(cp, ['logs', name, '--tail=2']), /^tick \d+\ntick \d+\n$/);
    t.match(
      await kubectlText(cp, ['logs', name, '--timestamps', '--tail=1']),
      /^\d{4}-\d\d-\d\dT[\d:.]+Z tick/,
    );
    const following = follow(cp, ['kubectl', 'logs', '-f', '--tail=1', name]);
    const [first] = await eventually('ten followed lines', 15_000, async () => {
      const ticks = following.text().match(/tick \d+/g) ?? [];
      return ticks.length >= 10 && ticks;
    });
    await following.stop();
    const ticks = (following.text().match(/tick \d+/g) ?? []).map((tick) => Number(tick.slice(5)));
    const start = Number(first!.slice(5));
    t.same(
      ticks,
      ticks.map((_, index) => start + index),
      'no line is missing or doubled',
    );
    t.match(await kubectlText(cp, ['logs', '-l', 'app=web', '--tail=1', '--prefix']), /\[pod\/web-/);
  });

  await t.test('exec: exit code, standard input, streams', async (t) => {
    const run = (args: readonly string[], options = {}) => kubectl(cp, ['exec', ...args], options);
    const failed = await run([name, '--', 'sh', '-c', 'echo out; echo err >&2; exit 7']);
    t.match(failed, { exitCode: 7, stdout: 'out\n' });
    t.match(failed.stderr, /^err\n/);
    const text = `${'0123456789abcdef'.repeat(4)}\n`.repeat(5000);
    const echoed = await run(['-i', name, '--', 'cat'], { input: text });
    t.equal(echoed.stdout.length, text.length, 'all of 325 kB come back');
    t.ok(echoed.stdout === text, 'unchanged');
    for (let i = 0; i < 20; i += 1) {
      const short = await run([name, '--', 'sh', '-c', 'echo $COLOUR']);
      t.match(short, { exitCode: 0, stdout: 'green\n', stderr: '' }, `short command ${i}`);
    }
    t.not((await run([name, '--', 'no-such-program'])).exitCode, 0);
    t.match((await run(['no-such-pod', '--', 'true'])).stderr, /pods "no-such-pod" not found/);
  });

  await t.test('exec -it through a terminal, which is resized', async (t) => {
    const script = [
      'stty rows 30 cols 101',
      '(until [ -e /tmp/resize ]; do sleep 0.1; done; stty -F /dev/tty rows 41 cols 122) &',
      `kubectl exec -it ${name} -- sh -c 'tty; (while sleep 0.3; do stty -F /dev/tty size; done) & while read line; do echo "got $line"; [ "$line" = end ] && exit 7; done'`,
      'echo "code $?"',
    ];
    const stdout = await inTerminal(
      cp,
      script.join('\n'),
      [
        { seen: '30 101', type: 'one' },
        { seen: 'got one', run: 'touch /tmp/resize' },
        { seen: '41 122', type: 'two' },
        { seen: 'got two', type: 'end' },
      ],
      { env: { KUBECONFIG: '/etc/kubernetes/admin.conf' }, last: 'code' },
    );
    t.match(stdout, /\/dev\/pts\/\d+/);
    t.match(stdout, /30 101/, 'size at the start');
    t.match(stdout, /41 122/, 'size after the change');
    t.match(stdout, /got one[\s\S]*got two[\s\S]*got end/);
    t.match(stdout, /code 7/);
  });

  await t.test('port-forward to a pod and to a Service', async (t) => {
    for (const target of [`pod/${name}`, 'service/web']) {
      const port = target.startsWith('pod') ? '18080:8080' : '18081:80';
      const forward = follow(cp, ['kubectl', 'port-forward', target, port]);
      await eventually('port-forward to listen', 10_000, async () => /Forwarding from/.test(forward.text()));
      for (let i = 0; i < 3; i += 1) {
        const url = `http://127.0.0.1:${port.split(':')[0]}/`;
        t.match((await cp.exec(['curl', '-sS', '-m', '5', url])).stdout, /^web-/, target);
      }
      await forward.stop();
    }
  });

  await testStreams(t, { cp, image: image('1') });

  await t.test('scale, set image, rollout status, history and undo', async (t) => {
    await kubectlText(cp, ['scale', 'deployment', 'web', '--replicas=5']);
    await readyPods(cp, ['-l', 'app=web'], { count: 5, timeoutMs: 20_000 });
    await kubectlText(cp, ['scale', 'deployment', 'web', '--replicas=3']);
    await eventually('three pods', 20_000, async () => (await getPods(cp, ['-l', 'app=web'])).length === 3);
    await kubectlText(cp, ['set', 'image', 'deployment/web', `web=${image('2')}`]);
    t.match(
      await kubectlText(cp, ['rollout', 'status', 'deployment/web', '--timeout=60s']),
      /successfully rolled out/,
    );
    await eventually('only new pods', 20_000, async () => {
      const pods = await getPods(cp, ['-l', 'app=web']);
      return pods.length === 3 && pods.every((pod) => pod.spec.containers[0]?.image === image('2'));
    });
    t.match(await kubectlText(cp, ['rollout', 'history', 'deployment/web']), /^1 [\s\S]*^2 /m);
    t.match(await kubectlText(cp, ['rollout', 'undo', 'deployment/web']), /rolled back/);
    await kubectlText(cp, ['rollout', 'status', 'deployment/web', '--timeout=60s']);
    const back = await readyPods(cp, ['-l', 'app=web'], { count: 3, timeoutMs: 20_000 });
    t.ok(back.every((pod) => pod.spec.containers[0]?.image === image('1')));
    await kubectlText(cp, ['rollout', 'restart', 'deployment/web']);
    await kubectlText(cp, ['rollout', 'status', 'deployment/web', '--timeout=60s']);
  });

  await t.test('a Service is never without an answer during a rolling update', async (t) => {
    interface Service {
      readonly spec: { readonly clusterIP: string };
    }
    const { clusterIP } = (await getJson<Service>(cp, ['service', 'web'])).spec;
    const loop = follow(node1, [
      'sh',
      '-c',
      `while true; do curl -s -o /dev/null -m 3 http://${clusterIP}/ && echo good || echo "bad $?"; sleep 0.05; done`,
    ]);
    // Not a second `rollout restart`: kubectl refuses two within a second.
    await kubectlText(cp, ['set', 'env', 'deployment/web', 'ROUND=2']);
    await kubectlText(cp, ['rollout', 'status', 'deployment/web', '--timeout=60s']);
    // The update may take less time than a few requests; the old pods end after it.
    const answers = () => (loop.text().match(/good/g) ?? []).length;
    await eventually('60 answers', 20_000, async () => answers() >= 60);
    await loop.stop();
    const good = answers();
    const bad = (loop.text().match(/bad \d+/g) ?? []).length;
    // A pod that ends at once takes the connection that was being made with it, as with upstream's proxy.
    t.ok(bad <= good / 50, `${bad} failures beside ${good} answers`);
  });

  await t.test('apply validates on the server, explain, create, auth, events', async (t) => {
    const wrong = await kubectl(cp, ['apply', '-f', '-'], {
      input: web(image('1')).replace('replicas: 3', 'replicas: 3\n  replicaz: 4'),
    });
    t.not(wrong.exitCode, 0);
    t.match(wrong.stderr, /unknown field "spec\.replicaz"/);
    t.match(
      await kubectlText(cp, ['apply', '--server-side', '--field-manager=e2e', '-f', '-'], {
        input: 'apiVersion: v1\nkind: ConfigMap\nmetadata: {name: sides}\ndata: {a: b}\n',
      }),
      /serverside-applied/,
    );
    t.match(
      await kubectlText(cp, ['explain', 'pod.spec.containers.image']),
      /KIND: +Pod[\s\S]*FIELD: image <string>/,
    );
    t.match(await kubectlText(cp, ['create', 'namespace', 'shop']), /namespace\/shop created/);
    await kubectlText(cp, ['create', 'configmap', 'colours', '--from-literal=red=1', '-n', 'shop']);
    t.match(await getJson(cp, ['configmap', 'colours', '-n', 'shop']), { data: { red: '1' } });
    await kubectlText(cp, [
      'create',
      'deployment',
      'second',
      `--image=${image('1')}`,
      '-n',
      'shop',
      '--',
      'sh',
      '-c',
      'trap exit TERM; while sleep 0.1; do true; done',
    ]);
    await readyPods(cp, ['-n', 'shop', '-l', 'app=second'], { count: 1, timeoutMs: 20_000 });
    t.match(await kubectlText(cp, ['auth', 'can-i', 'create', 'pods']), /yes/);
    t.match((await kubectl(cp, ['auth', 'can-i', 'create', 'pods', '--as=nobody'])).stdout, /no/);
    t.match(await kubectlText(cp, ['auth', 'whoami']), /Username +kubernetes-admin/);
    await eventually('the events of the namespace', 15_000, async () =>
      /Normal +Started +Pod\/second-/.test(await kubectlText(cp, ['events', '-n', 'shop'])),
    );
    t.match(await kubectlText(cp, ['api-resources']), /deployments +deploy +apps\/v1 +true +Deployment/);
    t.match(await kubectlText(cp, ['version']), /Server Version: v1\.36\.2/);
  });

  await t.test('delete: a pod comes back, a Deployment goes, a namespace takes all along', async (t) => {
    // Those of the rolling updates may still be on their way out.
    const [victim] = await readyPods(cp, ['-l', 'app=web'], { count: 3, timeoutMs: 20_000 });
    await kubectlText(cp, ['delete', 'pod', victim!.metadata.name]);
    const pods = await readyPods(cp, ['-l', 'app=web'], { count: 3, timeoutMs: 20_000 });
    t.notOk(pods.some((pod) => pod.metadata.uid === victim!.metadata.uid));
    await kubectlText(cp, ['delete', 'deployment,service', 'web']);
    await eventually(
      'no pod of the Deployment',
      20_000,
      async () => (await getPods(cp, ['-l', 'app=web'])).length === 0,
    );
    await kubectlText(cp, ['delete', 'namespace', 'shop', '--timeout=60s']);
    t.match((await kubectl(cp, ['get', 'namespace', 'shop'])).stderr, /NotFound/);
    t.equal((await getPods(cp, ['-n', 'shop'])).length, 0);
  });
});

/** Debian's docker-registry, plain HTTP, on the bridge. */
async function startRegistry(lab: Lab, address: string): Promise<void> {
  const directory = join(lab.directory, 'registry');
  await mkdir(join(directory, 'data'), { recursive: true });
  const config = {
    version: 0.1,
    storage: { filesystem: { rootdirectory: join(directory, 'data') } },
    http: { addr: address },
  };
  await writeFile(join(directory, 'config.yml'), JSON.stringify(config));
  void lab.spawn(['docker-registry', 'serve', join(directory, 'config.yml')]);
  const cp = lab.hosts[0]!;
  await eventually('the registry to answer', 10_000, async () => {
    return (await cp.exec(['curl', '-sf', `http://${address}/v2/`])).exitCode === 0;
  });
}
