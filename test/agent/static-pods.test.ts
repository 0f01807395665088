import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { connect } from 'node:tls';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { type AgentFixture, openAgentFixture, skipReason } from './fixture.ts';

const manifest = (command: string) => `apiVersion: v1
kind: Pod
metadata:
  name: web
  namespace: kube-system
  labels: {component: web}
spec:
  hostNetwork: true
  terminationGracePeriodSeconds: 2
  containers:
  - name: main
    image: busybox
    imagePullPolicy: IfNotPresent
    command: [sh, -c, '${command}']
    env:
    - name: ME
      valueFrom: {fieldRef: {fieldPath: metadata.name}}
    volumeMounts:
    - {name: scratch, mountPath: /scratch}
  volumes:
  - name: scratch
    emptyDir: {}
`;

async function running(fixture: AgentFixture) {
  const { containers } = await fixture.cri.client.listContainers({
    filter: { state: { state: 'CONTAINER_RUNNING' } },
  });
  return containers;
}

t.test('runAgent() runs static pods with no API server', { skip: skipReason }, async (t) => {
  const fixture = await openAgentFixture();
  t.teardown(() => fixture.close());
  const file = join(fixture.manifests, 'web.yaml');
  const log = (container: { metadata?: { attempt: number } | undefined }, uid: string) =>
    readFileSync(
      join(
        fixture.directory,
        'logs',
        `kube-system_web-${fixture.nodeName}_${uid}`,
        'main',
        `${container.metadata?.attempt}.log`,
      ),
      'utf8',
    );

  writeFileSync(file, manifest('echo I am $ME; sleep 1000'));
  const startedAt = performance.now();
  const [first] = await waitFor(
    async () => {
      const found = await running(fixture);
      return found.length === 1 ? found : undefined;
    },
    { subject: 'the container', timeoutMs: 15_000, intervalMs: 20 },
  );
  t.comment(`running after ${Math.round(performance.now() - startedAt)} ms`);
  t.equal(first?.labels['io.kubernetes.pod.name'], `web-${fixture.nodeName}`);
  t.equal(first?.annotations['io.kubernetes.container.restartCount'], '0');
  const uid = first?.labels['io.kubernetes.pod.uid'] ?? '';
  await waitFor(async () => (log(first!, uid).includes(`I am web-${fixture.nodeName}`) ? true : undefined), {
    subject: 'the output',
    timeoutMs: 20_000,
  });

  const health = await fetch(`http://127.0.0.1:${fixture.healthzPort}/healthz`);
  t.equal(await health.text(), 'ok');

  await fixture.stopAgent();
  t.equal((await running(fixture)).length, 1, 'the pod outlives the agent');
  await fixture.startAgent();

  // Killed behind the agent's back: started again with the next number.
  await fixture.cri.client.stopContainer({ containerId: first!.id, timeout: 0 });
  const [second] = await waitFor(
    async () => {
      const found = await running(fixture);
      return found.length === 1 && found[0]?.id !== first?.id ? found : undefined;
    },
    { subject: 'the restarted container', timeoutMs: 15_000, intervalMs: 20 },
  );
  t.equal(second?.annotations['io.kubernetes.container.restartCount'], '1');
  t.equal(second?.podSandboxId, first?.podSandboxId, 'the sandbox stays');

  writeFileSync(file, manifest('sleep 2000'));
  const [third] = await waitFor(
    async () => {
      const found = await running(fixture);
      return found.length === 1 && found[0]?.podSandboxId !== first?.podSandboxId ? found : undefined;
    },
    { subject: 'the replaced pod', timeoutMs: 15_000, intervalMs: 20 },
  );
  t.not(third?.labels['io.kubernetes.pod.uid'], uid, 'another manifest is another pod');

  const ending = manifest('trap "echo asked to end" TERM; echo ready; while true; do sleep 0.1; done');
  writeFileSync(file, ending);
  const logOf = (found: Awaited<ReturnType<typeof running>>) =>
    found[0] ? log(found[0], found[0].labels['io.kubernetes.pod.uid'] ?? '') : '';
  const [fourth] = await waitFor(
    async () => {
      const found = await running(fixture);
      return found.length === 1 && found[0]?.id !== third?.id && /ready/.test(logOf(found))
        ? found
        : undefined;
    },
    { subject: 'a pod that takes its time to end', timeoutMs: 15_000, intervalMs: 20 },
  );
  rmSync(file);
  await waitFor(async () => (/asked to end/.test(logOf([fourth!])) ? true : undefined), {
    subject: 'the pod to be ending',
    timeoutMs: 15_000,
    intervalMs: 20,
  });
  writeFileSync(file, ending);
  const [fifth] = await waitFor(
    async () => {
      const found = await running(fixture);
      return found.length === 1 && found[0]?.id !== fourth?.id ? found : undefined;
    },
    { subject: 'the pod whose manifest came back', timeoutMs: 15_000, intervalMs: 20 },
  );
  t.equal(fifth?.labels['io.kubernetes.pod.uid'], fourth?.labels['io.kubernetes.pod.uid']);

  rmSync(file);
  await waitFor(
    async () => ((await fixture.cri.client.listPodSandbox({})).items.length === 0 ? true : undefined),
    { subject: 'no sandbox', timeoutMs: 15_000, intervalMs: 20 },
  );
  t.pass('a removed manifest ends the pod');
});

t.test('runAgent() follows seccompDefault and tlsMinVersion', { skip: skipReason }, async (t) => {
  const fixture = await openAgentFixture({ config: 'seccompDefault: true\ntlsMinVersion: VersionTLS13' });
  t.teardown(() => fixture.close());
  const unconfined = `${manifest('sleep 1000')}`.replace(
    '    image: busybox',
    '    securityContext: {seccompProfile: {type: Unconfined}}\n    image: busybox',
  );
  writeFileSync(
    join(fixture.manifests, 'a.yaml'),
    manifest('sleep 1000').replace('name: web', 'name: filtered'),
  );
  writeFileSync(join(fixture.manifests, 'b.yaml'), unconfined.replace('name: web', 'name: free'));
  const containers = await waitFor(
    async () => {
      const found = await running(fixture);
      return found.length === 2 ? found : undefined;
    },
    { subject: 'both pods', timeoutMs: 20_000, intervalMs: 20 },
  );
  const modes: Record<string, string> = {};
  for (const { id, labels } of containers) {
    const { stdout } = await fixture.cri.client.execSync({
      containerId: id,
      cmd: ['grep', '^Seccomp:', '/proc/self/status'],
      timeout: 10,
    });
    modes[labels['io.kubernetes.pod.name'] ?? ''] = Buffer.from(stdout).toString().trim();
  }
  const node = fixture.nodeName;
  t.same(modes, { [`filtered-${node}`]: 'Seccomp:\t2', [`free-${node}`]: 'Seccomp:\t0' });

  const connectWith = (maxVersion: 'TLSv1.2' | 'TLSv1.3') =>
    new Promise<string | null>((resolve, reject) => {
      const options = { port: fixture.kubeletPort, host: '127.0.0.1', rejectUnauthorized: false, maxVersion };
      const socket = connect(options, () => {
        resolve(socket.getProtocol());
        socket.destroy();
      });
      socket.on('error', reject);
    });
  t.equal(await connectWith('TLSv1.3'), 'TLSv1.3');
  await t.rejects(connectWith('TLSv1.2'), { message: /protocol version/ });
});
