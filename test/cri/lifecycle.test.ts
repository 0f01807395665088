import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { PAUSE_IMAGE } from '../../runtime/image/builtin-images.ts';
import { hostPodConfig, openCriFixture, runContainer, runHostPod, skipReason } from './fixture.ts';

const grpcError = (grpcCode: string) => ({ code: 'CRI_CALL', details: { grpcCode } }) as const;
const NOT_FOUND = grpcError('NOT_FOUND');

t.test('CRI over the real engine', { skip: skipReason }, async (t) => {
  let fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const podSandboxId = await runHostPod(fixture);

  t.test('runtime and images introduce themselves', async (t) => {
    const { client } = fixture;
    t.match(await client.version({}), { runtimeName: 'tkadm', runtimeApiVersion: 'v1' });
    const { status } = await client.status({});
    t.same(
      status?.conditions.map(({ type, status: isTrue }) => [type, isTrue]),
      [
        ['RuntimeReady', true],
        ['NetworkReady', false],
      ],
    );
    t.equal((await client.runtimeConfig({})).linux?.cgroupDriver, 'CGROUPFS');
    const { images } = await client.listImages({});
    t.same(images.flatMap((image) => image.repoTags).sort(), [
      'docker.io/library/busybox:latest',
      PAUSE_IMAGE,
    ]);
    const pulled = await client.pullImage({ image: { image: 'busybox' } });
    t.equal(pulled.imageRef, (await client.imageStatus({ image: { image: 'busybox' } })).image?.id);
    t.notOk((await client.imageStatus({ image: { image: 'nothing' } })).image);
    await t.rejects(client.pullImage({ image: { image: '127.0.0.1:2/nothing' } }), grpcError('UNKNOWN'));
  });

  t.test('a container gets user, environment, volumes and log', async (t) => {
    const { client, directory } = fixture;
    const volume = join(directory, 'volume');
    mkdirSync(volume);
    writeFileSync(join(volume, 'file'), 'shared\n');
    const containerId = await runContainer(fixture, podSandboxId, {
      command: ['sh', '-c', 'id; env; cat /data/file; touch /data/x; pwd; exit 3'],
      envs: [{ key: 'MINE', value: 'a=b' }],
      mounts: [{ containerPath: '/data', hostPath: volume, readonly: true }],
      logPath: 'env/0.log',
      labels: { l: '1' },
    });
    const status = await waitExit(fixture, containerId);
    t.match(status, { exitCode: 3, reason: 'Error', state: 'CONTAINER_EXITED' });
    t.ok(status.finishedAt >= status.startedAt && status.startedAt >= status.createdAt);
    const log = readFileSync(status.logPath, 'utf8');
    t.match(log, /^\S+ stdout F uid=1000\(web\) gid=1001\(web\) groups=1001\(web\),2000\(extra\)$/m);
    t.match(log, / stdout F MINE=a=b$/m);
    t.match(log, / stdout F FROM_IMAGE=yes$/m);
    t.match(log, / stdout F HOME=\/home\/web$/m);
    t.match(log, / stdout F shared$/m);
    t.match(log, / stderr F .*Read-only file system$/m);
    t.match(log, / stdout F \/tmp$/m);
    await t.rejects(client.execSync({ containerId, cmd: ['true'] }), grpcError('FAILED_PRECONDITION'));
    await client.removeContainer({ containerId });
    await t.rejects(client.containerStatus({ containerId }), NOT_FOUND);
  });

  t.test('privileged and restricted containers', async (t) => {
    const { client } = fixture;
    const namespaceOptions = { network: 'NODE', pid: 'CONTAINER' } as const;
    const read = async (securityContext: object) => {
      const id = await runContainer(fixture, podSandboxId, {
        metadata: { name: 'secure' },
        command: ['sleep', '100'],
        linux: { securityContext: { namespaceOptions, ...securityContext } },
      });
      const { stdout } = await client.execSync({
        containerId: id,
        cmd: [
          'sh',
          '-c',
          'grep -E "Cap(Eff|Bnd)|NoNewPrivs" /proc/self/status; id -u; ls /dev | wc -l; touch /x && echo writable',
        ],
      });
      await client.removeContainer({ containerId: id });
      return Buffer.from(stdout).toString();
    };
    const plain = await read({ runAsUser: { value: 0 } });
    t.match(plain, /CapBnd:\s+00000000a80425fb/);
    t.match(plain, /writable/);
    const privileged = await read({ privileged: true, runAsUser: { value: 0 } });
    const host = /CapBnd:\s+(\w+)/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1];
    t.match(privileged, new RegExp(`CapEff:\\s+${host}`));
    const restricted = await read({
      runAsUser: { value: 4321 },
      readonlyRootfs: true,
      noNewPrivs: true,
      capabilities: { dropCapabilities: ['ALL'], addCapabilities: ['NET_BIND_SERVICE'] },
    });
    t.match(restricted, /CapBnd:\s+0000000000000400/);
    t.match(restricted, /NoNewPrivs:\s+1/);
    t.match(restricted, /^4321$/m);
    t.notMatch(restricted, /writable/);
    await t.rejects(read({ runAsUsername: 'nobody-here' }), grpcError('INVALID_ARGUMENT'));
  });

  t.test('seccomp profiles hold for a container and for what is run in it', async (t) => {
    const { client, directory } = fixture;
    const namespaceOptions = { network: 'NODE', pid: 'CONTAINER' } as const;
    const script =
      'grep "^Seccomp:" /proc/self/status; unshare -U true && echo unshared; mkdir -p /dev/shm/d && echo made';
    let count = 0;
    const read = async (securityContext: object) => {
      count += 1;
      const containerId = await runContainer(fixture, podSandboxId, {
        command: ['sh', '-c', `(${script}) 2>&1; sleep 100`],
        logPath: `seccomp/${count}.log`,
        linux: { securityContext: { namespaceOptions, ...securityContext } },
      });
      const { stdout } = await client.execSync({
        containerId,
        cmd: ['sh', '-c', script],
      });
      const { status } = await client.containerStatus({ containerId });
      const log = () => readFileSync(status!.logPath, 'utf8');
      await waitFor(() => Promise.resolve(/made|can't create/.test(log()) || undefined), {
        timeoutMs: 20_000,
        subject: 'the end of the script',
      });
      const own = log().replaceAll(/^.* F /gm, '');
      await client.removeContainer({ containerId });
      return { own, exec: Buffer.from(stdout).toString() };
    };
    const filtered = /^Seccomp:\s+2$/m;
    for (const noNewPrivs of [false, true]) {
      const plain = await read({ noNewPrivs, seccomp: { profileType: 'RuntimeDefault' } });
      t.match(plain, { own: filtered, exec: filtered });
      t.match(plain, { own: /unshare.*Operation not permitted[\s\S]*made/, exec: /made/ });
      t.notMatch(plain.own + plain.exec, /unshared/);
    }
    const unconfined = await read({ seccomp: { profileType: 'Unconfined' } });
    t.match(unconfined, { own: /^Seccomp:\s+0\nunshared$/m, exec: /^Seccomp:\s+0\nunshared$/m });
    const privileged = await read({ privileged: true, seccomp: { profileType: 'RuntimeDefault' } });
    t.match(privileged, { own: /^Seccomp:\s+0$/m });
    const path = join(directory, 'profile.json');
    const rule = { names: ['mkdir', 'mkdirat'], action: 'SCMP_ACT_ERRNO', errnoRet: 95 };
    writeFileSync(path, JSON.stringify({ defaultAction: 'SCMP_ACT_ALLOW', syscalls: [rule] }));
    const local = await read({ seccomp: { profileType: 'Localhost', localhostRef: path } });
    t.match(local, { own: /unshared\n[\s\S]*Operation not supported/, exec: filtered });
    const missing = { profileType: 'Localhost', localhostRef: join(directory, 'missing.json') };
    await t.rejects(read({ seccomp: missing }), grpcError('INVALID_ARGUMENT'));
  });

  t.test('execSync() gives streams and exit code, and ends at the timeout', async (t) => {
    const { client } = fixture;
    const containerId = await runContainer(fixture, podSandboxId, { command: ['sleep', '100'] });
    const { stdout, stderr, exitCode } = await client.execSync({
      containerId,
      cmd: ['sh', '-c', 'echo a; echo b >&2; exit 9'],
    });
    t.same([String(Buffer.from(stdout)), String(Buffer.from(stderr)), exitCode], ['a\n', 'b\n', 9]);
    await t.rejects(
      client.execSync({ containerId, cmd: ['sleep', '60'], timeout: 1 }),
      grpcError('DEADLINE_EXCEEDED'),
    );
    const { stats } = await client.containerStats({ containerId });
    t.ok((stats?.memory?.workingSetBytes?.value ?? 0) > 0, 'memory is counted');
    await client.updateContainerResources({
      containerId,
      linux: { memoryLimitInBytes: 64 * 2 ** 20, cpuShares: 300 },
    });
    const { status } = await client.containerStatus({ containerId });
    t.match(status?.resources?.linux, { memoryLimitInBytes: 64 * 2 ** 20, cpuShares: 300 });
    await client.stopContainer({ containerId, timeout: 0 });
    t.match((await client.containerStatus({ containerId })).status, { exitCode: 137, reason: 'Error' });
    await client.removeContainer({ containerId });
  });

  t.test('a container that needs too much memory is "OOMKilled"', async (t) => {
    const containerId = await runContainer(fixture, podSandboxId, {
      metadata: { name: 'oom' },
      command: ['sh', '-c', 'dd if=/dev/zero of=/dev/null bs=200M count=1'],
      linux: {
        resources: { memoryLimitInBytes: 16 * 2 ** 20, memorySwapLimitInBytes: 16 * 2 ** 20 },
        securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER' } },
      },
    });
    t.match(await waitExit(fixture, containerId), { reason: 'OOMKilled' });
    await fixture.client.removeContainer({ containerId });
  });

  t.test("a pod's own cgroup has the limits of the sandbox", async (t) => {
    const { client, cgroupParent } = fixture;
    const config = hostPodConfig(fixture, 'limits');
    const parent = `${cgroupParent}/limits`;
    const resources = {
      cpuPeriod: 100_000,
      cpuQuota: 20_000,
      memoryLimitInBytes: 64 << 20,
      unified: { 'pids.max': '77' },
    };
    const { podSandboxId } = await client.runPodSandbox({
      config: { ...config, linux: { ...config.linux, cgroupParent: parent, resources } },
    });
    t.teardown(() => client.removePodSandbox({ podSandboxId }));
    const isV2 = existsSync('/sys/fs/cgroup/cgroup.controllers');
    const read = (v1: string, v2: string) =>
      readFileSync(
        isV2 ? `/sys/fs/cgroup${parent}/${v2}` : `/sys/fs/cgroup/${v1.split('.')[0]}${parent}/${v1}`,
        'utf8',
      ).trim();
    t.match(read('cpu.cfs_quota_us', 'cpu.max'), /^20000/);
    t.equal(read('memory.limit_in_bytes', 'memory.max'), String(64 << 20));
    t.equal(read('pids.max', 'pids.max'), '77');
  });

  t.test('events tell of a container', async (t) => {
    const { client } = fixture;
    const abort = new AbortController();
    const seen: string[] = [];
    const reading = (async () => {
      for await (const event of client.getContainerEvents({}, { signal: abort.signal })) {
        seen.push(event.containerEventType);
        if (event.containerEventType === 'CONTAINER_DELETED_EVENT') return;
      }
    })();
    await new Promise((resolve) => setTimeout(resolve, 100));
    const containerId = await runContainer(fixture, podSandboxId, { command: ['true'] });
    await waitExit(fixture, containerId);
    await client.removeContainer({ containerId });
    await reading;
    abort.abort();
    t.same(seen, [
      'CONTAINER_CREATED_EVENT',
      'CONTAINER_STARTED_EVENT',
      'CONTAINER_STOPPED_EVENT',
      'CONTAINER_DELETED_EVENT',
    ]);
  });

  t.test('a restarted runtime knows everything', async (t) => {
    const running = await runContainer(fixture, podSandboxId, {
      metadata: { name: 'r' },
      command: ['sh', '-c', 'sleep 0.5; echo later; sleep 100'],
      logPath: 'r/0.log',
    });
    const ended = await runContainer(fixture, podSandboxId, {
      metadata: { name: 'e' },
      command: ['sh', '-c', 'exit 5'],
    });
    await waitExit(fixture, ended);
    const before = await fixture.client.listContainers({});
    fixture = await fixture.restart();
    const { client } = fixture;
    const byId = (list: typeof before) => [...list.containers].sort((a, b) => (a.id < b.id ? -1 : 1));
    t.same(byId(await client.listContainers({})), byId(before));
    t.match((await client.containerStatus({ containerId: ended })).status, { exitCode: 5 });
    t.match((await client.podSandboxStatus({ podSandboxId })).status, {
      state: 'SANDBOX_READY',
      annotations: { note: 'kept' },
    });
    const { status } = await client.containerStatus({ containerId: running });
    await waitFor(async () => (readFileSync(status!.logPath, 'utf8').includes('later') ? true : undefined), {
      subject: 'the log',
      timeoutMs: 20_000,
    });
    t.equal((await client.execSync({ containerId: running, cmd: ['true'] })).exitCode, 0);
  });

  t.test('filters and idempotence', async (t) => {
    const { client } = fixture;
    t.equal((await client.listPodSandbox({ filter: { labelSelector: { app: 'pod' } } })).items.length, 1);
    t.equal((await client.listPodSandbox({ filter: { labelSelector: { app: 'other' } } })).items.length, 0);
    t.equal(
      (await client.listContainers({ filter: { state: { state: 'CONTAINER_RUNNING' } } })).containers.length,
      1,
    );
    await client.stopContainer({ containerId: 'unknown', timeout: 1 });
    await client.removeContainer({ containerId: 'unknown' });
    await client.stopPodSandbox({ podSandboxId: 'unknown' });
    await client.removePodSandbox({ podSandboxId: 'unknown' });
    await client.removeImage({ image: { image: 'unknown' } });
    await t.rejects(client.podSandboxStatus({ podSandboxId: 'unknown' }), NOT_FOUND);
    await t.rejects(client.checkpointContainer({ containerId: 'x' }), grpcError('UNIMPLEMENTED'));
    await client.stopPodSandbox({ podSandboxId });
    await client.stopPodSandbox({ podSandboxId });
    t.equal((await client.podSandboxStatus({ podSandboxId })).status?.state, 'SANDBOX_NOTREADY');
    t.equal(
      (await client.listContainers({ filter: { state: { state: 'CONTAINER_RUNNING' } } })).containers.length,
      0,
    );
    await client.removePodSandbox({ podSandboxId });
    t.equal((await client.listContainers({})).containers.length, 0);
    t.equal((await client.listPodSandbox({})).items.length, 0);
  });

  t.test('a pod network without CNI configuration is refused and leaves nothing', async (t) => {
    const { client } = fixture;
    const config = { ...hostPodConfig(fixture, 'net'), linux: { cgroupParent: fixture.cgroupParent } };
    await t.rejects(client.runPodSandbox({ config }), { message: /no CNI configuration/ });
    t.equal((await client.listPodSandbox({})).items.length, 0);
  });
});

async function waitExit(fixture: Awaited<ReturnType<typeof openCriFixture>>, containerId: string) {
  return waitFor(
    async () => {
      const { status } = await fixture.client.containerStatus({ containerId });
      return status?.state === 'CONTAINER_EXITED' ? status : undefined;
    },
    { subject: 'the exit', timeoutMs: 10_000, intervalMs: 20 },
  );
}
