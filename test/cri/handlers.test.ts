import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { WebSocket } from 'ws';
import { waitFor } from '../../runtime/base/time.ts';
import { findHandler, readHandlers } from '../../runtime/cri/runtime-handlers.ts';
import { type CriFixture, hostPodConfig, openCriFixture, runContainer, skipReason } from './fixture.ts';

const PROGRAMS = [
  { name: 'runc', path: '/usr/sbin/runc' },
  { name: 'crun', path: '/usr/bin/crun' },
] as const;

t.test('readHandlers() knows the programs that are there', async (t) => {
  const none = await readHandlers([t.testdir({})]);
  t.same(
    none.map(({ name }) => name),
    ['', 'tkadm'],
  );
  t.throws(() => findHandler(none, 'runc'), { message: /"runc": its program is not installed/ });
  t.throws(() => findHandler(none, 'kata'), { message: /"kata": it is unknown/ });
});

for (const { name, path } of PROGRAMS) {
  const skip = skipReason || (existsSync(path) ? false : `needs ${path}`);
  t.test(`handler "${name}": its containers, our monitor`, { skip }, async (t) => {
    let fixture = await openCriFixture();
    t.teardown(() => fixture.close());
    const { client } = fixture;
    const { runtimeHandlers } = await client.status({});
    t.ok(runtimeHandlers.some((handler) => handler.name === name));
    const config = hostPodConfig(fixture, name);
    const { podSandboxId } = await client.runPodSandbox({ config, runtimeHandler: name });
    t.equal((await client.podSandboxStatus({ podSandboxId })).status?.runtimeHandler, name);
    const id = await runContainer(fixture, podSandboxId, {
      command: [
        'sh',
        '-c',
        'echo out; echo err >&2; echo $FROM_IMAGE; sleep 0.3; echo later; while :; do sleep 1; done',
      ],
      stdin: true,
      linux: {
        resources: { memoryLimitInBytes: 64 << 20, cpuShares: 300, unified: { 'pids.max': '50' } },
        securityContext: {
          namespaceOptions: { network: 'NODE', pid: 'CONTAINER' },
          seccomp: { profileType: 'RuntimeDefault' },
          capabilities: { dropCapabilities: ['ALL'] },
        },
      },
    });
    const own = stateRoot(fixture, id);
    t.match(
      String(execFileSync(path, ['--root', own, 'list'])),
      new RegExp(`${id}\\s+\\d+\\s+running`),
      'it is its own',
    );
    const status = async () => (await fixture.client.containerStatus({ containerId: id })).status;
    const log = async () => readFileSync((await status())?.logPath ?? '', 'utf8').replaceAll(/^\S+ /gm, '');
    await waitFor(async () => ((await log()).includes('later') ? true : undefined), {
      subject: 'the log',
      timeoutMs: 10_000,
    });
    t.same((await log()).split('\n').sort(), [
      '',
      'stderr F err',
      'stdout F later',
      'stdout F out',
      'stdout F yes',
    ]);
    const exec = await client.execSync({
      containerId: id,
      cmd: ['sh', '-c', 'id -u; grep -E "^(CapEff|Seccomp):" /proc/self/status; exit 6'],
    });
    t.equal(exec.exitCode, 6);
    t.match(Buffer.from(exec.stdout).toString(), /^1000\nCapEff:\s+0000000000000000\nSeccomp:\s+2$/m);
    const { stats } = await client.containerStats({ containerId: id });
    t.ok((stats?.memory?.usageBytes?.value ?? 0) > 0);
    t.equal(stats?.memory?.availableBytes !== undefined, true, 'the limit is known');
    const other = await client.createContainer({
      podSandboxId,
      config: {
        metadata: { name: 'second' },
        image: { image: 'busybox' },
        command: ['sh', '-c', 'exit 42'],
        linux: {},
      },
      sandboxConfig: config,
    });

    fixture = await fixture.restart();
    t.match(await status(), { state: 'CONTAINER_RUNNING' }, 'a restart of the service does not matter');
    const second = { containerId: other.containerId };
    t.equal((await fixture.client.containerStatus(second)).status?.state, 'CONTAINER_CREATED');
    await fixture.client.startContainer(second);
    t.match(await waitExit(fixture, other.containerId), { exitCode: 42, reason: 'Error' });

    await t.rejects(
      runContainer(fixture, podSandboxId, {
        metadata: { name: 'missing' },
        command: ['/no/such'],
        linux: {},
      }),
      { message: /no\/such.*no such file or directory|executable file.*not found/ },
    );
    const terminal = await runContainer(fixture, podSandboxId, {
      metadata: { name: 'terminal' },
      command: [
        'sh',
        '-c',
        'read -r l; until [ "$(stty size)" = "33 91" ]; do sleep 0.05; done; echo "got $l"; sleep 100',
      ],
      stdin: true,
      tty: true,
      linux: {},
    });
    t.match(await attachTerminal(fixture, terminal), /got hello\r\n/);
    await fixture.client.stopContainer({ containerId: id, timeout: 0 });
    t.match(await status(), { state: 'CONTAINER_EXITED', exitCode: 137 });
    await fixture.client.removePodSandbox({ podSandboxId });
    t.same(readdirSync(join(fixture.directory, 'state/containers')), [], 'nothing is left');
    t.notMatch(String(execFileSync('ps', ['-eo', 'args'])), id);
  });
}

t.test(
  'what a handler cannot is refused',
  { skip: skipReason || !existsSync('/usr/sbin/runc') },
  async (t) => {
    const fixture = await openCriFixture();
    t.teardown(() => fixture.close());
    const { client, directory } = fixture;
    const config = hostPodConfig(fixture, 'refused');
    await t.rejects(client.runPodSandbox({ config, runtimeHandler: 'kata' }), {
      message: /runtime handler "kata": it is unknown/,
      details: { grpcCode: 'NOT_FOUND' },
    });
    await t.rejects(client.pullImage({ image: { image: 'busybox', runtimeHandler: 'kata' } }), /"kata"/);
    const { podSandboxId } = await client.runPodSandbox({ config, runtimeHandler: 'runc' });
    const mounts = [
      { containerPath: '/x', hostPath: directory, propagation: 'PROPAGATION_BIDIRECTIONAL' as const },
    ];
    await t.rejects(runContainer(fixture, podSandboxId, { command: ['true'], mounts }), {
      message: /"mounts.propagation": another runtime/,
    });
  },
);

/** Where a runtime that made a container keeps its state. */
function stateRoot({ directory }: CriFixture, id: string): string {
  return join(directory, 'state/containers', id, 'oci');
}

async function attachTerminal({ client }: CriFixture, containerId: string): Promise<string> {
  const { url } = await client.attach({ containerId, stdin: true, stdout: true, tty: true });
  const socket = new WebSocket(url.replace('http', 'ws'), 'v5.channel.k8s.io');
  let text = '';
  socket.on('open', () => {
    socket.send(Buffer.concat([Buffer.from([4]), Buffer.from('{"Width":91,"Height":33}')]));
    socket.send(Buffer.from('\0hello\n'));
  });
  await new Promise<void>((resolve, reject) => {
    socket.on('error', reject);
    socket.on('message', (data: Buffer) => {
      if (data[0] === 1) text += data.subarray(1).toString();
      if (/got/.test(text)) resolve();
    });
    socket.on('close', () => resolve());
  });
  socket.close();
  return text;
}

async function waitExit(fixture: CriFixture, containerId: string) {
  return waitFor(
    async () => {
      const { status } = await fixture.client.containerStatus({ containerId });
      return status?.state === 'CONTAINER_EXITED' ? status : undefined;
    },
    { subject: 'the exit', timeoutMs: 10_000, intervalMs: 20 },
  );
}
