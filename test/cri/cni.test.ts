import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { createCni } from '../../runtime/cri/cni.ts';
import { openCriFixture, skipReason } from './fixture.ts';

/** A CNI plugin that gives the pod an interface and writes down how it was called. */
const PLUGIN = `#!/bin/sh
input=$(cat)
printf '%s %s %s %s\\n' "$CNI_COMMAND" "$CNI_IFNAME" "$CNI_ARGS" "$input" >> "$(dirname "$0")/calls"
case $CNI_COMMAND in
ADD)
  nsenter --net="$CNI_NETNS" ip link add eth0 type veth peer name peer0 || exit 1
  nsenter --net="$CNI_NETNS" ip addr add 10.99.0.7/24 dev eth0
  nsenter --net="$CNI_NETNS" ip link set eth0 up
  echo '{"cniVersion":"1.0.0","ips":[{"address":"10.99.0.7/24"},{"address":"fd99::7/64"}]}' ;;
esac
`;
const CONFIG = {
  cniVersion: '1.0.0',
  name: 'testnet',
  plugins: [{ type: 'dummy', capabilities: { portMappings: true } }, { type: 'second' }],
};

t.test('a pod gets its network from CNI', { skip: skipReason }, async (t) => {
  const fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const { client, directory } = fixture;
  installCni(
    directory,
    PLUGIN,
    `#!/bin/sh\ninput=$(cat)\nprintf 'second %s %s\\n' "$CNI_COMMAND" "$input" >> "$(dirname "$0")/calls"\n`,
  );
  t.ok(
    (await client.status({})).status?.conditions.every(({ status }) => status),
    'NetworkReady',
  );
  const { podSandboxId } = await client.runPodSandbox({
    config: {
      metadata: { name: 'n', uid: 'u', namespace: 'ns' },
      hostname: 'pod-host',
      dnsConfig: { servers: ['10.96.0.10'], searches: ['a.b'], options: ['ndots:5'] },
      portMappings: [{ protocol: 'UDP', containerPort: 53, hostPort: 5353 }],
      linux: { cgroupParent: fixture.cgroupParent, sysctls: { 'net.core.somaxconn': '77' } },
    },
  });
  const { status } = await client.podSandboxStatus({ podSandboxId });
  t.same([status?.network?.ip, status?.network?.additionalIps], ['10.99.0.7', [{ ip: 'fd99::7' }]]);
  const { containerId } = await client.createContainer({
    podSandboxId,
    config: { metadata: { name: 'c' }, image: { image: 'busybox' }, command: ['sleep', '100'] },
    sandboxConfig: {
      metadata: { name: 'n' },
      hostname: 'pod-host',
      linux: { cgroupParent: fixture.cgroupParent },
    },
  });
  await client.startContainer({ containerId });
  const { stdout } = await client.execSync({
    containerId,
    cmd: ['sh', '-c', 'ip -o addr; hostname; cat /etc/resolv.conf /proc/sys/net/core/somaxconn; ps'],
  });
  const text = Buffer.from(stdout).toString();
  t.match(text, /lo\s+inet 127\.0\.0\.1/, 'loopback is up');
  t.match(text, /eth0\s+inet 10\.99\.0\.7/);
  t.match(text, /^pod-host$/m);
  t.match(text, /nameserver 10\.96\.0\.10\nsearch a\.b\noptions ndots:5\n77\n/);
  t.match(text, /^\s*1 \S+\s+.*\/pause/m, 'CRI default: one pid namespace for the pod');
  const { stats } = await client.podSandboxStats({ podSandboxId });
  t.equal(stats?.linux?.network?.defaultInterface?.name, 'eth0');
  await client.stopPodSandbox({ podSandboxId });
  await client.stopPodSandbox({ podSandboxId });
  await client.removePodSandbox({ podSandboxId });
  const calls = readFileSync(join(directory, 'cni-bin/calls'), 'utf8').trim().split('\n');
  t.same(
    calls.map((line) => line.split(' ').slice(0, 2).join(' ')),
    ['ADD eth0', 'second ADD', 'second DEL', 'DEL eth0'],
  );
  t.match(calls[0], /K8S_POD_NAMESPACE=ns;K8S_POD_NAME=n;/);
  t.match(calls[0], /"portMappings":\[\{"hostPort":5353,"containerPort":53,"protocol":"udp"/);
  t.match(calls[1], /"prevResult":\{"cniVersion":"1\.0\.0","ips"/);
  t.notMatch(calls[1], /portMappings/, 'only plugins with the capability get it');
});

t.test('a failed ADD is undone', { skip: skipReason }, async (t) => {
  const fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const { client, directory } = fixture;
  const failing = `#!/bin/sh\n[ "$CNI_COMMAND" = DEL ] && exit 0\necho '{"code":7,"msg":"no room","details":"at all"}'\nexit 1\n`;
  installCni(directory, PLUGIN, failing);
  const config = { metadata: { name: 'n' }, linux: { cgroupParent: fixture.cgroupParent } };
  await t.rejects(client.runPodSandbox({ config }), { message: /plugin "second": no room; at all/ });
  t.equal((await client.listPodSandbox({})).items.length, 0);
  const calls = readFileSync(join(directory, 'cni-bin/calls'), 'utf8').trim().split('\n');
  t.equal(calls[0]?.split(' ')[0], 'ADD');
  t.equal(calls.at(-1)?.split(' ')[0], 'DEL');
});

t.test('createCni() reads the first configuration by name and runs plugins in process', async (t) => {
  const confDir = t.testdir({
    '20-late.conflist': JSON.stringify({ cniVersion: '1.0.0', name: 'late', plugins: [{ type: 'x' }] }),
    '10-first.conf': JSON.stringify({ cniVersion: '1.0.0', name: 'first', type: 'tkadm-bridge', mtu: 1400 }),
    README: 'no configuration',
  });
  const requests: object[] = [];
  const cni = createCni({
    confDir,
    binDirs: [],
    log: SILENT_LOGGER,
    plugins: [
      {
        type: 'tkadm-bridge',
        async run(request) {
          requests.push(request);
          return request.command === 'ADD' ? { ips: [{ address: '10.0.0.2/24' }] } : undefined;
        },
      },
    ],
  });
  const attachment = await cni.add(await cni.prepare({ args: 'A=1', runtimeConfig: {} }), 'id', '/ns');
  await cni.del(attachment, 'id', '');
  t.match(requests, [
    {
      command: 'ADD',
      netns: '/ns',
      ifName: 'eth0',
      config: { name: 'first', type: 'tkadm-bridge', mtu: 1400 },
    },
    { command: 'DEL', netns: '', config: { prevResult: { ips: [{ address: '10.0.0.2/24' }] } } },
  ]);
  writeFileSync(join(confDir, '00-broken.conf'), '{');
  await t.rejects(cni.config(), { code: 'CNI_CONFIG' });
});

function installCni(directory: string, dummy: string, second: string): void {
  for (const path of ['net.d', 'cni-bin'])
    if (!existsSync(join(directory, path))) mkdirSync(join(directory, path));
  writeFileSync(join(directory, 'net.d/10-test.conflist'), JSON.stringify(CONFIG));
  for (const [name, text] of [
    ['dummy', dummy],
    ['second', second],
  ] as const) {
    writeFileSync(join(directory, 'cni-bin', name), text);
    chmodSync(join(directory, 'cni-bin', name), 0o755);
  }
}
