import t from 'tap';
import { criErrorCode } from '../../runtime/cri/client.ts';
import { openCriFixture, skipReason } from './fixture.ts';

t.test('a host network pod', { skip: skipReason }, async (t) => {
  const fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const { client } = fixture;
  const config = {
    metadata: { name: 'pod', uid: 'u1', namespace: 'default', attempt: 0 },
    logDirectory: `${fixture.directory}/logs`,
    labels: { app: 'x' },
    linux: {
      cgroupParent: fixture.cgroupParent,
      securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER' } },
    },
  } as const;
  console.error('version', await client.version({}));
  console.time('run');
  const { podSandboxId } = await client.runPodSandbox({ config });
  console.timeEnd('run');
  console.error(await client.podSandboxStatus({ podSandboxId, verbose: true }));
  console.time('create');
  const { containerId } = await client.createContainer({
    podSandboxId,
    config: {
      metadata: { name: 'c' },
      image: { image: 'busybox' },
      command: ['sh', '-c', 'echo hello; id; env; sleep 1000'],
      logPath: 'c/0.log',
      linux: { securityContext: { namespaceOptions: { network: 'NODE', pid: 'CONTAINER' } } },
    },
    sandboxConfig: config,
  });
  console.timeEnd('create');
  console.time('start');
  await client.startContainer({ containerId });
  console.timeEnd('start');
  console.time('exec');
  const r = await client.execSync({ containerId, cmd: ['sh', '-c', 'id; pwd; mount; exit 3'] });
  console.timeEnd('exec');
  console.error(Buffer.from(r.stdout).toString(), Buffer.from(r.stderr).toString(), r.exitCode);
  console.error((await client.containerStatus({ containerId })).status);
  console.time('stop');
  await client.stopPodSandbox({ podSandboxId });
  console.timeEnd('stop');
  console.error((await client.containerStatus({ containerId })).status);
  await t.rejects(client.containerStatus({ containerId: 'nope' }), {
    code: 'CRI_CALL',
    details: { grpcCode: 'NOT_FOUND' },
  });
  t.equal(criErrorCode(undefined), undefined);
});
