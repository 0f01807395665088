import { mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { hostPodConfig, openCriFixture, runContainer, skipReason } from './fixture.ts';

const HOST_ID = 524_288;
const MAPPINGS = [{ hostId: HOST_ID, containerId: 0, length: 65_536 }];
const USERNS = { mode: 'POD', uids: MAPPINGS, gids: MAPPINGS } as const;
const OWN_NETWORK = {
  cniVersion: '1.0.0',
  name: 'none',
  plugins: [{ type: 'fixed' }],
};
/** An address that nobody asks for: the namespace is what matters. */
const PLUGIN = `#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" = ADD ] && echo '{"cniVersion":"1.0.0","ips":[{"address":"10.96.7.7/32"}]}'
exit 0
`;

t.test('a pod with a user namespace', { skip: skipReason }, async (t) => {
  const fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const { client, directory } = fixture;
  for (const name of ['net.d', 'cni-bin', 'volume']) mkdirSync(join(directory, name));
  writeFileSync(join(directory, 'net.d/10.conflist'), JSON.stringify(OWN_NETWORK));
  writeFileSync(join(directory, 'cni-bin/fixed'), PLUGIN, { mode: 0o755 });
  writeFileSync(join(directory, 'volume/of-root'), 'mine', { mode: 0o600 });
  const podConfig = (name: string, namespaceOptions: object) => ({
    ...hostPodConfig(fixture, name),
    hostname: name,
    linux: { cgroupParent: fixture.cgroupParent, securityContext: { namespaceOptions } },
  });
  const namespaceOptions = { pid: 'CONTAINER', usernsOptions: USERNS } as const;
  const { runtimeHandlers } = await client.status({});
  t.equal(runtimeHandlers.find(({ name }) => name === '')?.features?.userNamespaces, true);
  const { podSandboxId } = await client.runPodSandbox({ config: podConfig('mapped', namespaceOptions) });
  t.same(
    (await client.podSandboxStatus({ podSandboxId })).status?.linux?.namespaces?.options?.usernsOptions,
    USERNS,
  );
  const run = (name: string, config: object = {}) =>
    runContainer(fixture, podSandboxId, {
      metadata: { name },
      command: ['sleep', '100'],
      mounts: [
        {
          containerPath: '/data',
          hostPath: join(directory, 'volume'),
          uidMappings: MAPPINGS,
          gidMappings: MAPPINGS,
        },
      ],
      linux: { securityContext: { namespaceOptions, runAsUser: { value: 0 } } },
      ...config,
    });
  const containerId = await run('root');
  const shell = async (script: string) =>
    Buffer.from((await client.execSync({ containerId, cmd: ['sh', '-c', script] })).stdout).toString();

  t.test('root inside is nobody outside', async (t) => {
    const { info } = await client.containerStatus({ containerId, verbose: true });
    const { pid } = JSON.parse(info['info'] ?? '{}') as { readonly pid: number };
    t.match(readFileSync(`/proc/${pid}/status`, 'utf8'), new RegExp(`^Uid:\\t${HOST_ID}\\t`, 'm'));
    t.match(await shell('id -u; cat /proc/self/uid_map'), new RegExp(`^0\\n\\s+0\\s+${HOST_ID}\\s+65536`));
  });

  t.test('files of image, volume and pod belong to the ids inside', async (t) => {
    t.equal(await shell('cat /data/of-root; echo new > /data/new; echo x > /root/x && echo ok'), 'mineok\n');
    t.equal(statSync(join(directory, 'volume/new')).uid, 0, 'on the disk it is root');
    t.match(
      await shell('cat /etc/resolv.conf /etc/hostname >/dev/null && touch /dev/shm/a && echo ok'),
      /ok/,
    );
  });

  t.test('the pod shares its namespaces, and their parameters are its own', async (t) => {
    const second = await run('second', {
      linux: { securityContext: { namespaceOptions, runAsUser: { value: 1000 } } },
    });
    const link = async (id: string, name: string) =>
      Buffer.from(
        (await client.execSync({ containerId: id, cmd: ['ls', '-l', `/proc/self/ns/${name}`] })).stdout,
      )
        .toString()
        .split('-> ')[1];
    for (const name of ['user', 'net', 'ipc', 'uts'])
      t.equal(await link(second, name), await link(containerId, name));
    t.match(await shell('cat /proc/sys/net/ipv4/ip_unprivileged_port_start'), /^0$/m);
  });

  t.test('what does not go together is refused', async (t) => {
    const node = { ...namespaceOptions, network: 'NODE' } as const;
    await t.rejects(
      client.runPodSandbox({ config: podConfig('node', node) }),
      /"namespace_options.userns_options"/,
    );
    const other = { ...USERNS, uids: [{ ...MAPPINGS[0], hostId: 1_000_000 }] };
    const options = { ...namespaceOptions, usernsOptions: other };
    await t.rejects(run('other', { linux: { securityContext: { namespaceOptions: options } } }), {
      message: /"namespace_options.userns_options": the sandbox has another/,
    });
  });
});
