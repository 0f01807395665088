import { execFileSync } from 'node:child_process';
import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { skipReason as noRoot } from '../runtime/network/own-network.ts';
import { type CriFixture, openCriFixture, runContainer } from './fixture.ts';

const PLUGINS = '/usr/lib/cni';
const NAMES = ['bridge', 'host-local', 'portmap', 'bandwidth', 'tuning', 'loopback'];
const MISSING = [...NAMES.map((name) => join(PLUGINS, name)), '/usr/sbin/iptables', '/usr/sbin/tc'].find(
  (path) => !existsSync(path),
);
const skip = noRoot || (MISSING === undefined ? false : `needs ${MISSING} (containernetworking-plugins)`);
const HOST_PORT = 18_080;

/** Prints what it was told, fails when a file says so, and else passes the result on. */
const MOODY = `#!/bin/sh
input=$(cat)
dir=$(dirname "$0")
echo "$CNI_COMMAND" >> "$dir/moody.calls"
[ -e "$dir/fail-$CNI_COMMAND" ] && { echo '{"code":11,"msg":"in a mood"}'; exit 1; }
[ "$CNI_COMMAND" = ADD ] && printf '%s' "$input" | sed 's/.*"prevResult"://; s/}$//'
exit 0
`;

t.test('plugins of containernetworking make a chain', { skip }, async (t) => {
  let fixture = await openCriFixture();
  t.teardown(() => fixture.close());
  const store = installChain(fixture);
  const addresses = () => (existsSync(store) ? readdirSync(store).filter((name) => /^\d/.test(name)) : []);
  const veths = () => readdirSync('/sys/class/net').filter((name) => name.startsWith('veth'));
  const { directory } = fixture;
  const bin = join(directory, 'cni-bin');

  t.test('a pod gets address, host port, bandwidth and tuning', async (t) => {
    const { client } = fixture;
    const podSandboxId = await runPod(fixture, 'one');
    const { status } = await client.podSandboxStatus({ podSandboxId });
    t.same(addresses(), [status?.network?.ip]);
    const containerId = await runContainer(fixture, podSandboxId, {
      command: ['sh', '-c', 'while :; do echo inside | nc -l -p 80; done'],
      linux: {},
    });
    const read = async (path: string) =>
      Buffer.from((await client.execSync({ containerId, cmd: ['cat', path] })).stdout)
        .toString()
        .trim();
    t.equal(await read('/proc/sys/net/core/somaxconn'), '500', 'tuning');
    const answer = execFileSync('sh', [
      '-c',
      `for i in 1 2 3 4 5 6 7 8 9; do
      out=$(busybox nc -w 2 10.97.0.1 ${HOST_PORT} </dev/null) && [ -n "$out" ] && break; sleep 0.2; done; echo "$out"`,
    ]);
    t.equal(String(answer).trim(), 'inside', 'portmap');
    t.match(String(execFileSync('tc', ['qdisc'])), /tbf/, 'bandwidth');
    const calls = readFileSync(join(bin, 'moody.calls'), 'utf8');
    t.equal(calls.trim(), 'ADD');
  });

  t.test('a restarted runtime asks CHECK, and DEL gives everything back', async (t) => {
    fixture = await fixture.restart();
    for (
      let tries = 0;
      tries < 200 && !/CHECK/.test(readFileSync(join(bin, 'moody.calls'), 'utf8'));
      tries += 1
    )
      await new Promise((resolve) => setTimeout(resolve, 20));
    t.match(readFileSync(join(bin, 'moody.calls'), 'utf8'), /CHECK/);
    for (const { id } of (await fixture.client.listPodSandbox({})).items) {
      await fixture.client.stopPodSandbox({ podSandboxId: id });
      await fixture.client.removePodSandbox({ podSandboxId: id });
    }
    t.same([addresses(), veths()], [[], []]);
    t.notMatch(String(execFileSync('iptables-save')), new RegExp(String(HOST_PORT)), 'the host port is free');
  });

  t.test('whatever fails, the address is free again', async (t) => {
    writeFileSync(join(bin, 'fail-ADD'), '');
    await t.rejects(runPod(fixture, 'two'), { message: /plugin "moody": in a mood/ });
    rmSync(join(bin, 'fail-ADD'));
    t.same([addresses(), veths()], [[], []], 'a later plugin fails in ADD');
    t.equal((await fixture.client.listPodSandbox({})).items.length, 0);

    const podSandboxId = await runPod(fixture, 'three');
    writeFileSync(join(bin, 'fail-DEL'), '');
    await t.rejects(fixture.client.stopPodSandbox({ podSandboxId }), { message: /in a mood/ });
    t.same([addresses(), veths()], [[], []], 'a plugin fails in DEL: the others were asked');
    t.equal((await fixture.client.podSandboxStatus({ podSandboxId })).status?.state, 'SANDBOX_NOTREADY');
    rmSync(join(bin, 'fail-DEL'));
    await fixture.client.removePodSandbox({ podSandboxId });
    t.equal((await fixture.client.listPodSandbox({})).items.length, 0);
  });

  t.test('a host port without a plugin for it is refused', async (t) => {
    writeChain(fixture, { plugins: [bridgePlugin(fixture)] });
    await t.rejects(runPod(fixture, 'four'), { message: /Cannot map host ports of sandbox .*"ns\/four"/ });
    t.same([addresses(), veths()], [[], []]);
  });

  t.test('a result without an address is refused', async (t) => {
    writeChain(fixture, { plugins: [{ type: 'loopback', capabilities: { portMappings: true } }] });
    const empty =
      '#!/bin/sh\ncat >/dev/null\n[ $CNI_COMMAND = ADD ] && echo \'{"cniVersion":"1.0.0"}\'\nexit 0\n';
    rmSync(join(bin, 'loopback'));
    writeFileSync(join(bin, 'loopback'), empty, { mode: 0o755 });
    await t.rejects(runPod(fixture, 'five'), { message: /result of CNI network "chain": it has no address/ });
  });
});

function bridgePlugin({ directory }: CriFixture) {
  return {
    type: 'bridge',
    bridge: 'cnitest0',
    isGateway: true,
    ipMasq: false,
    ipam: {
      type: 'host-local',
      dataDir: join(directory, 'host-local'),
      ranges: [[{ subnet: '10.97.0.0/24' }]],
      routes: [{ dst: '0.0.0.0/0' }],
    },
  };
}

/** Puts the programs and the chain in place: the directory where host-local keeps its addresses. */
function installChain(fixture: CriFixture): string {
  const { directory } = fixture;
  mkdirSync(join(directory, 'cni-bin'));
  for (const name of NAMES) cpSync(join(PLUGINS, name), join(directory, 'cni-bin', name));
  writeFileSync(join(directory, 'cni-bin/moody'), MOODY);
  chmodSync(join(directory, 'cni-bin/moody'), 0o755);
  writeChain(fixture, {
    plugins: [
      bridgePlugin(fixture),
      { type: 'tuning', sysctl: { 'net.core.somaxconn': '500' } },
      { type: 'moody' },
      // Its CHECK fails without IPv6 rules in the version of Debian 12: so the others come before.
      { type: 'portmap', capabilities: { portMappings: true } },
      { type: 'bandwidth', capabilities: { bandwidth: true } },
    ],
  });
  return join(directory, 'host-local/chain');
}

function writeChain({ directory }: CriFixture, { plugins }: { readonly plugins: readonly object[] }): void {
  mkdirSync(join(directory, 'net.d'), { recursive: true });
  const list = { cniVersion: '1.0.0', name: 'chain', plugins };
  writeFileSync(join(directory, 'net.d/10.conflist'), JSON.stringify(list));
}

async function runPod({ client, cgroupParent, directory }: CriFixture, name: string): Promise<string> {
  const { podSandboxId } = await client.runPodSandbox({
    config: {
      metadata: { name, uid: name, namespace: 'ns' },
      hostname: name,
      logDirectory: join(directory, 'logs', name),
      portMappings: [{ protocol: 'TCP', containerPort: 80, hostPort: HOST_PORT }],
      annotations: { 'kubernetes.io/ingress-bandwidth': '10M' },
      linux: { cgroupParent },
    },
  });
  return podSandboxId;
}
