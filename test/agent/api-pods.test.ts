import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { CONFIG_MAPS, EVENTS, LEASES, NODES, PODS } from '../../runtime/api/kinds.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { buildPod, NODE, openApiFixture, podWhere, run } from './api-fixture.ts';
import { skipReason } from './fixture.ts';

t.test('the agent with an API server', { skip: skipReason }, async (t) => {
  const { server, client, kubectl, fixture } = await openApiFixture(t);

  t.test('registers the node and keeps its lease', async (t) => {
    const node = await waitFor(async () => client.find(NODES, { name: NODE }), {
      subject: 'the node',
      timeoutMs: 10_000,
    });
    t.match(node.metadata?.labels, {
      'kubernetes.io/hostname': NODE,
      'kubernetes.io/os': 'linux',
      zone: 'a',
    });
    t.match(node.status?.addresses, [{ type: 'InternalIP', address: '127.0.0.1' }]);
    t.ok(Number(node.status?.capacity?.['cpu']) > 0);
    const lease = await waitFor(
      async () => client.find(LEASES, { name: NODE, namespace: 'kube-node-lease' }),
      { subject: 'the lease', timeoutMs: 10_000 },
    );
    t.equal(lease.spec?.holderIdentity, NODE);
  });

  t.test('runs a pod, shows its logs and executes in it', async (t) => {
    const startedAt = performance.now();
    await client.create(PODS, buildPod('web', { command: ['sh', '-c', 'echo hello; sleep 1000'] }));
    const pod = await podWhere(client, 'web', ({ status }) => status?.phase === 'Running');
    t.comment(`Running after ${Math.round(performance.now() - startedAt)} ms`);
    const status = pod.status?.containerStatuses?.[0];
    t.match(status, { ready: true, started: true, restartCount: 0 });
    t.match(status?.containerID, /^tkadm:\/\/[0-9a-f]{64}$/);
    for (const type of ['Initialized', 'Ready', 'ContainersReady', 'PodScheduled']) {
      t.equal(pod.status?.conditions?.find((condition) => condition.type === type)?.status, 'True', type);
    }
    t.match(pod.status, { hostIP: '127.0.0.1', podIP: '127.0.0.1', qosClass: 'BestEffort' });
    t.match(await kubectl('logs', 'web'), 'hello');
    t.equal(
      await kubectl(
        'exec',
        'web',
        '--',
        'sh',
        '-c',
        'echo from inside; ls /var/run/secrets/kubernetes.io/serviceaccount',
      ),
      'from inside\nca.crt\nnamespace\ntoken\n',
    );
    const { items } = await client.list(EVENTS, {
      namespace: 'default',
      fieldSelector: 'involvedObject.name=web',
    });
    t.same(items.map(({ reason }) => reason).sort(), ['Created', 'Pulled', 'Started']);
  });

  t.test('deletes a pod', async (t) => {
    const startedAt = performance.now();
    await kubectl('delete', 'pod', 'web', '--timeout=15s');
    t.comment(`deleted after ${Math.round(performance.now() - startedAt)} ms`);
    t.same((await fixture.cri.client.listPodSandbox({})).items, []);
  });

  t.test('runs init containers in order and completes', async (t) => {
    const share = [{ name: 'work', mountPath: '/work' }];
    const image = 'busybox';
    const step = (name: string, text: string) => ({
      name,
      image,
      imagePullPolicy: 'IfNotPresent',
      command: ['sh', '-c', text],
      volumeMounts: share,
    });
    await client.create(
      PODS,
      buildPod('job', {
        restartPolicy: 'Never',
        volumes: [{ name: 'work', emptyDir: {} }],
        initContainers: [step('one', 'echo 1 >> /work/log'), step('two', 'echo 2 >> /work/log')],
        containers: [step('main', 'cat /work/log; echo bye > /dev/termination-log; exit 3')],
      }),
    );
    const pod = await podWhere(client, 'job', ({ status }) => status?.phase === 'Failed');
    t.match(pod.status?.containerStatuses?.[0]?.state?.terminated, {
      exitCode: 3,
      reason: 'Error',
      message: 'bye\n',
    });
    t.match(
      pod.status?.initContainerStatuses?.map(({ state }) => state?.terminated?.exitCode),
      [0, 0],
    );
    t.equal(await kubectl('logs', 'job'), '1\n2\n');
    await kubectl('delete', 'pod', 'job', '--timeout=15s');
  });

  t.test('restarts a crashing container at once, then backs off', async (t) => {
    await client.create(PODS, buildPod('crash', { command: ['sh', '-c', 'echo oops; exit 1'] }));
    const pod = await podWhere(
      client,
      'crash',
      ({ status }) => status?.containerStatuses?.[0]?.state?.waiting?.reason === 'CrashLoopBackOff',
    );
    t.match(pod.status?.containerStatuses?.[0], {
      restartCount: 1,
      state: { waiting: { message: /^back-off 10s restarting failed container=main pod=crash_default/ } },
      lastState: { terminated: { exitCode: 1 } },
    });
    t.equal(pod.status?.phase, 'Running');
    t.equal(await kubectl('logs', '--previous', 'crash'), 'oops\n');
    await kubectl('delete', 'pod', 'crash', '--timeout=15s');
  });

  t.test('mounts a configMap and follows its change', async (t) => {
    await client.create(CONFIG_MAPS, {
      metadata: { name: 'settings', namespace: 'default' },
      data: { color: 'red' },
    });
    await client.create(
      PODS,
      buildPod('reader', {
        volumes: [{ name: 'settings', configMap: { name: 'settings' } }],
        containers: [
          {
            name: 'main',
            image: 'busybox',
            imagePullPolicy: 'IfNotPresent',
            command: ['sleep', '1000'],
            env: [{ name: 'COLOR', valueFrom: { configMapKeyRef: { name: 'settings', key: 'color' } } }],
            volumeMounts: [{ name: 'settings', mountPath: '/settings', readOnly: true }],
          },
        ],
      }),
    );
    await podWhere(client, 'reader', ({ status }) => status?.phase === 'Running');
    t.equal(
      await kubectl('exec', 'reader', '--', 'sh', '-c', 'cat /settings/color; echo " $COLOR"'),
      'red red\n',
    );
    await kubectl('delete', 'pod', 'reader', '--timeout=15s');
  });

  t.test('a missing image and a missing configMap are told', async (t) => {
    await client.create(
      PODS,
      buildPod('lost', {
        containers: [{ name: 'main', image: 'no.such.registry.invalid/x:1', imagePullPolicy: 'Never' }],
      }),
    );
    const lost = await podWhere(client, 'lost', ({ status }) =>
      Boolean(status?.containerStatuses?.[0]?.state?.waiting?.message),
    );
    t.equal(lost.status?.containerStatuses?.[0]?.state?.waiting?.reason, 'ErrImageNeverPull');
    await kubectl('delete', 'pod', 'lost', '--timeout=15s');
  });

  t.test('probes decide about readiness and restarts', async (t) => {
    const probe = (command: string) => ({ exec: { command: ['sh', '-c', command] }, periodSeconds: 1 });
    await client.create(
      PODS,
      buildPod('probed', {
        containers: [
          {
            name: 'main',
            image: 'busybox',
            imagePullPolicy: 'IfNotPresent',
            command: ['sh', '-c', 'touch /tmp/alive; sleep 1000'],
            securityContext: { runAsUser: 0 },
            startupProbe: { ...probe('true') },
            readinessProbe: { ...probe('test -e /tmp/ready') },
            livenessProbe: { ...probe('test -e /tmp/alive'), failureThreshold: 1 },
          },
        ],
      }),
    );
    const status = (pod: core.Pod) => pod.status?.containerStatuses?.[0];
    const started = await podWhere(client, 'probed', (pod) => status(pod)?.started === true);
    t.equal(status(started)?.ready, false);
    await kubectl('exec', 'probed', '--', 'touch', '/tmp/ready');
    const ready = await podWhere(client, 'probed', (pod) => status(pod)?.ready === true);
    t.equal(ready.status?.conditions?.find(({ type }) => type === 'Ready')?.status, 'True');
    await kubectl('exec', 'probed', '--', 'sh', '-c', 'rm /tmp/alive');
    const restarted = await podWhere(client, 'probed', (pod) => status(pod)?.restartCount === 1);
    t.match(status(restarted)?.lastState?.terminated, { exitCode: 137 });
    await kubectl('delete', 'pod', 'probed', '--timeout=15s');
  });

  t.test('an init sidecar runs beside the container and ends after it', async (t) => {
    const side = {
      name: 'side',
      image: 'busybox',
      imagePullPolicy: 'IfNotPresent',
      command: ['sleep', '1000'],
      restartPolicy: 'Always',
    };
    await client.create(
      PODS,
      buildPod('pair', {
        restartPolicy: 'Never',
        initContainers: [side as core.Container],
        containers: [{ name: 'main', image: 'busybox', imagePullPolicy: 'IfNotPresent', command: ['true'] }],
      }),
    );
    const pod = await podWhere(client, 'pair', ({ status }) => status?.phase === 'Succeeded');
    t.equal(pod.status?.containerStatuses?.[0]?.state?.terminated?.exitCode, 0);
    await podWhere(client, 'pair', ({ status }) =>
      Boolean(status?.initContainerStatuses?.[0]?.state?.terminated),
    );
    await kubectl('delete', 'pod', 'pair', '--timeout=15s');
  });

  t.test('adopts pods after a restart and ends those deleted meanwhile', async (t) => {
    await client.create(PODS, buildPod('kept'));
    await client.create(PODS, buildPod('gone'));
    const before = await podWhere(client, 'kept', ({ status }) => status?.phase === 'Running');
    await podWhere(client, 'gone', ({ status }) => status?.phase === 'Running');
    await fixture.stopAgent();
    await client.delete(PODS, { name: 'gone', namespace: 'default' }, { gracePeriodSeconds: 0 });
    await fixture.startAgent();
    await waitFor(
      async () => {
        const { items } = await fixture.cri.client.listPodSandbox({});
        return items.every(({ metadata }) => metadata?.name !== 'gone') ? true : undefined;
      },
      { subject: 'the orphan to go', timeoutMs: 60_000, intervalMs: 100 },
    );
    const after = await podWhere(client, 'kept', ({ status }) => status?.phase === 'Running');
    t.same(
      after.status?.containerStatuses?.[0]?.containerID,
      before.status?.containerStatuses?.[0]?.containerID,
    );
    t.equal(after.status?.containerStatuses?.[0]?.restartCount, 0);
    await kubectl('delete', 'pod', 'kept', '--timeout=15s');
  });

  t.test('the kubelet API lets in who may, and nobody else', async (t) => {
    const curl = async (...args: string[]) =>
      (
        await run('curl', [
          '-sk',
          '-w',
          '%{http_code}',
          ...args.slice(0, -1),
          `https://127.0.0.1:${fixture.kubeletPort}${args.at(-1)}`,
        ])
      ).stdout;
    const as = (name: string) => [
      '--cert',
      `${server.directory}/${name}.crt`,
      '--key',
      `${server.directory}/${name}.key`,
    ];
    t.equal(await curl('/pods'), 'Unauthorized401');
    t.match(await curl('-H', 'Authorization: Bearer nonsense', '/pods'), '401');
    t.match(await curl(...as('jane'), '/pods'), /Forbidden .*403$/);
    t.match(await curl(...as('admin'), '/pods'), /"kind":"PodList".*200$/);
    t.match(await curl(...as('admin'), '/healthz'), 'ok200');
    t.match(await curl(...as('admin'), '/metrics/resource'), 'node_cpu_usage_seconds_total');
    t.match(await curl(...as('admin'), '/stats/summary'), /"nodeName":"node-a"/);
    t.match(await curl(...as('admin'), '/logs/../../etc/passwd'), /404$/);
  });

  t.test('a static pod has a mirror pod, made anew when it is deleted', async (t) => {
    const { apiVersion, kind, ...manifest } = { apiVersion: 'v1', kind: 'Pod', ...buildPod('static') };
    const { nodeName: _nodeName, ...spec } = manifest.spec ?? { containers: [] };
    writeFileSync(
      join(fixture.manifests, 'static.json'),
      JSON.stringify({ apiVersion, kind, metadata: manifest.metadata, spec }),
    );
    const name = `static-${NODE}`;
    const mirror = await waitFor(
      async () => {
        const found = await client.find(PODS, { name, namespace: 'default' });
        return found?.status?.phase === 'Running' ? found : undefined;
      },
      { subject: 'the mirror pod', timeoutMs: 15_000, intervalMs: 20 },
    );
    t.match(mirror.metadata?.annotations, {
      'kubernetes.io/config.source': 'file',
      'kubernetes.io/config.mirror': /./,
    });
    await client.delete(PODS, { name, namespace: 'default' }, { gracePeriodSeconds: 0 });
    const again = await waitFor(
      async () => {
        const found = await client.find(PODS, { name, namespace: 'default' });
        return found?.status?.phase === 'Running' && found.metadata?.uid !== mirror.metadata?.uid
          ? found
          : undefined;
      },
      { subject: 'the new mirror pod', timeoutMs: 15_000, intervalMs: 20 },
    );
    t.equal(
      again.status?.containerStatuses?.[0]?.containerID,
      mirror.status?.containerStatuses?.[0]?.containerID,
    );
  });
});
