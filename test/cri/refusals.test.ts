import t from 'tap';
import { TkadmError } from '../../runtime/base/errors.ts';
import { decodeMessage, encodeMessage, type InitOf } from '../../runtime/base/protobuf.ts';
import { readAppArmor } from '../../runtime/cri/apparmor.ts';
import { ContainerConfig } from '../../runtime/cri/messages/container.ts';
import { LinuxContainerSecurityContext } from '../../runtime/cri/messages/linux.ts';
import { PodSandboxConfig } from '../../runtime/cri/messages/sandbox.ts';
import { checkContainer } from '../../runtime/cri/refusals.ts';
import type { RuntimeHandler } from '../../runtime/cri/runtime-handlers.ts';
import { type CriFixture, hostPodConfig, openCriFixture, runContainer, skipReason } from './fixture.ts';

type Security = InitOf<typeof LinuxContainerSecurityContext>;
const NO_KERNEL = { hasAppArmor: false, hasSelinux: false };
const HANDLER = { name: '', features: {} } as RuntimeHandler;

function refusalOf(securityContext: Security, kernel = NO_KERNEL): string {
  const config = { metadata: { name: 'c' }, linux: { securityContext } };
  const sandbox = { linux: { securityContext: { privileged: true } } };
  try {
    checkContainer({
      container: decodeMessage(ContainerConfig, encodeMessage(ContainerConfig, config)),
      config: decodeMessage(PodSandboxConfig, encodeMessage(PodSandboxConfig, sandbox)),
      kernel,
      handler: HANDLER,
    });
    return '';
  } catch (error) {
    return error instanceof TkadmError ? error.message : String(error);
  }
}

t.test('checkContainer() names what of AppArmor the kernel or the runtime lacks', (t) => {
  const kernel = { ...NO_KERNEL, hasAppArmor: true };
  const local = (localhostRef: string): Security => ({
    apparmor: { profileType: 'Localhost', localhostRef },
  });
  const own: Security = { apparmor: { profileType: 'RuntimeDefault' } };
  t.match(refusalOf(local('p')), /"apparmor": profile "Localhost" needs AppArmor/);
  t.match(refusalOf({ apparmorProfile: 'localhost/p' }), /needs AppArmor/);
  t.equal(refusalOf(local('p'), kernel), '');
  t.match(refusalOf(local(''), kernel), /names no profile/);
  t.equal(refusalOf(own), '', 'without AppArmor there is nothing to have');
  t.match(refusalOf(own, kernel), /"RuntimeDefault" is not there/);
  t.equal(refusalOf({ ...own, privileged: true }, kernel), '', 'as by other runtimes');
  t.end();
});

t.test('readAppArmor() reads both fields', (t) => {
  const read = (init: Security) =>
    readAppArmor(
      decodeMessage(LinuxContainerSecurityContext, encodeMessage(LinuxContainerSecurityContext, init)),
    );
  const rows: readonly (readonly [Security, unknown])[] = [
    [{}, undefined],
    [{ apparmor: { profileType: 'Localhost', localhostRef: 'localhost/p' } }, { profile: 'p' }],
    [{ apparmor: { profileType: 'Unconfined' }, apparmorProfile: 'localhost/p' }, undefined],
    [{ apparmorProfile: 'localhost/p' }, { profile: 'p' }],
    [{ apparmorProfile: 'runtime/default' }, 'runtime-default'],
    [{ apparmorProfile: 'unconfined' }, undefined],
  ];
  for (const [init, expected] of rows) t.same(read(init), expected, JSON.stringify(init));
  t.end();
});

t.test('the runtime refuses by name', { skip: skipReason }, async (t) => {
  const fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const { client } = fixture;
  const code = (grpcCode: string) => ({ details: { grpcCode } });

  t.test('a second sandbox or container of a name', async (t) => {
    const config = hostPodConfig(fixture, 'twice');
    const { podSandboxId } = await client.runPodSandbox({ config });
    await t.rejects(client.runPodSandbox({ config }), {
      message: /twice/,
      ...code('ALREADY_EXISTS'),
    });
    const another = { ...config, metadata: { ...config.metadata, attempt: 1 } };
    await t.resolves(client.runPodSandbox({ config: another }), 'another attempt is another sandbox');
    const container = { metadata: { name: 'c', attempt: 3 }, command: ['sleep', '1000'] };
    await runContainer(fixture, podSandboxId, container);
    await t.rejects(runContainer(fixture, podSandboxId, container), {
      message: /container "c", attempt 3: it exists as/,
      ...code('ALREADY_EXISTS'),
    });
    await t.resolves(
      runContainer(fixture, podSandboxId, { ...container, metadata: { name: 'c', attempt: 4 } }),
    );
    const both = await Promise.allSettled(
      [0, 1].map(() => runContainer(fixture, podSandboxId, { ...container, metadata: { name: 'd' } })),
    );
    t.same(both.map(({ status }) => status).sort(), ['fulfilled', 'rejected'], 'also at the same time');
  });

  t.test('sysctls of the node', async (t) => {
    const run = (name: string, sysctls: Record<string, string>) =>
      client.runPodSandbox({ config: sandboxWith(fixture, `sysctl-${name}`, sysctls) });
    for (const [name, state] of [
      ['vm.swappiness', /"vm.swappiness": it is not of a namespace/],
      ['kernel.panic', /not of a namespace/],
      ['net.core.somaxconn', /the pod has the node's network namespace/],
    ] as const)
      await t.rejects(run(name, { [name]: '1' }), { message: state, ...code('INVALID_ARGUMENT') });
    const { podSandboxId } = await run('own', { 'kernel.shmmni': '4000' });
    const containerId = await runContainer(fixture, podSandboxId, { command: ['sleep', '1000'] });
    const { stdout } = await client.execSync({ containerId, cmd: ['cat', '/proc/sys/kernel/shmmni'] });
    t.equal(Buffer.from(stdout).toString(), '4000\n', 'what is of a namespace is set');
  });

  t.test('annotations of an update', async (t) => {
    const { podSandboxId } = await client.runPodSandbox({ config: hostPodConfig(fixture, 'update') });
    const containerId = await runContainer(fixture, podSandboxId, { command: ['sleep', '1000'] });
    const linux = { cpuShares: 300 };
    await t.rejects(client.updateContainerResources({ containerId, linux, annotations: { a: 'b' } }), {
      message: /"annotations"/,
      ...code('UNIMPLEMENTED'),
    });
    await t.resolves(client.updateContainerResources({ containerId, linux }));
  });
});

function sandboxWith(fixture: CriFixture, name: string, sysctls: Readonly<Record<string, string>>) {
  const config = hostPodConfig(fixture, name);
  return { ...config, linux: { ...config.linux, sysctls } };
}
