import './own-network.ts';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import t from 'tap';
import { addToBridge, checkOnBridge, deleteFromBridge, vethName } from '../../../runtime/network/bridge.ts';
import { BRIDGE_TABLE } from '../../../runtime/network/bridge-rules.ts';
import type { BridgeConfig, PortMapping } from '../../../runtime/network/cni-types.ts';
import { addNamespace, addOutside, ask, serve, sh } from './fixture.ts';
import { skipReason } from './own-network.ts';

const CONFIG: BridgeConfig = {
  cniVersion: '1.0.0',
  name: 'tkadm',
  type: 'tkadm-bridge',
  bridge: 'tkadm0',
  podCIDR: '10.244.1.0/24',
  clusterCIDR: '10.244.0.0/16',
  mtu: 1400,
};

const withPorts = (...portMappings: readonly PortMapping[]): BridgeConfig => ({
  ...CONFIG,
  runtimeConfig: { portMappings },
});
const argsOf = (name: string) => ({
  containerId: name,
  netns: `/run/netns/${name}`,
  interfaceName: 'eth0',
});
const addressesHeld = () =>
  readdirSync('/var/lib/tkadm/network/tkadm').filter((name) => !name.startsWith('.'));
const hostPorts = () =>
  sh(`nft list table ip ${BRIDGE_TABLE} | grep -o '[a-z]* \\. [0-9]* : [0-9. ]*' | sort`);

t.test('the bridge', { skip: skipReason }, async (t) => {
  addOutside();
  const servers = await Promise.all(
    ['a', 'b'].map((name) => {
      addNamespace(name);
      return serve(name, name, 80);
    }),
  );
  t.teardown(() => {
    for (const server of servers) server.kill('SIGKILL');
  });

  await t.test('ADD gives the pod an address, routes and its host ports', async (t) => {
    const mapping = { hostPort: 8080, containerPort: 80, protocol: 'TCP' };
    const config = withPorts(mapping, { ...mapping, hostPort: 8081, protocol: 'udp' });
    const result = await addToBridge(config, argsOf('a'));
    t.match(result, {
      cniVersion: '1.0.0',
      interfaces: [
        { name: 'tkadm0' },
        { name: vethName(argsOf('a')) },
        { name: 'eth0', mac: /^[0-9a-f:]{17}$/ },
      ],
      ips: [{ address: '10.244.1.2/32', gateway: '10.244.1.1', interface: 2 }],
      routes: [{ dst: '0.0.0.0/0', gw: '10.244.1.1' }],
    });
    const inside = sh(
      'ip -n a -o addr show dev eth0; ip -n a route; ip -n a link show eth0; ip -n a link show lo',
    );
    t.match(inside, /inet 10\.244\.1\.2\/32/);
    t.match(inside, /default via 10\.244\.1\.1 dev eth0/);
    t.match(inside, /mtu 1400/);
    t.match(inside, /lo: <LOOPBACK,UP/);
    await addToBridge(CONFIG, argsOf('b'));
    await checkOnBridge(CONFIG, argsOf('a'));
    t.equal(sh('cat /proc/sys/net/ipv4/ip_forward'), '1');
  });

  await t.test('addresses are seen where they should be', async (t) => {
    t.same(ask('b', '10.244.1.2', 80), ['a 10.244.1.3'], 'pod to pod, not masqueraded');
    t.same(ask('', '10.244.1.2', 80), ['a 10.244.1.1'], 'host to pod');
    t.same(ask('a', '10.244.1.2', 80), ['a 10.244.1.2'], 'to itself');
    t.same(ask('outside', '192.0.2.1', 8080), ['a 192.0.2.2'], 'a host port keeps the client');
    t.same(ask('outside', '192.0.2.1', 8081, { protocol: 'udp' }), ['a 192.0.2.2'], 'UDP host port');
    t.same(ask('', '192.0.2.1', 8080), ['a 192.0.2.1'], 'from the host by its own address');
    t.same(ask('', '127.0.0.1', 8080), ['a 10.244.1.1'], 'from the host by the loopback');
    t.same(ask('b', '192.0.2.1', 8080), ['a 10.244.1.1'], 'from another pod');
    t.same(ask('a', '192.0.2.1', 8080), ['a 10.244.1.1'], 'from the pod itself');
    const server = await serve('outside', 'outside', 81);
    t.same(ask('a', '192.0.2.2', 81), ['outside 192.0.2.1'], 'out of the cluster: masqueraded');
    server.kill('SIGKILL');
  });

  await t.test('pods do not reach the loopback of the host', async (t) => {
    sh(`ip netns exec b sysctl -qw net.ipv4.conf.eth0.route_localnet=1
      ip -n b addr del 127.0.0.1/8 dev lo; ip -n b route add 127.0.0.1/32 via 10.244.1.1`);
    const listener = await serve('', 'host', 82);
    t.same(ask('', '127.0.0.1', 82), ['host 127.0.0.1']);
    t.same(ask('b', '127.0.0.1', 82), ['timeout']);
    listener.kill('SIGKILL');
    sh('ip -n b route del 127.0.0.1/32 via 10.244.1.1; ip -n b addr add 127.0.0.1/8 dev lo');
  });

  await t.test('a host port with hostIP is open at that address alone', async (t) => {
    addNamespace('c');
    servers.push(await serve('c', 'c', 80));
    const mapping = { containerPort: 80, protocol: 'TCP' };
    const config = withPorts(
      { ...mapping, hostPort: 8090, hostIP: '127.0.0.1' },
      { ...mapping, hostPort: 8091, hostIP: '192.0.2.1' },
      { ...mapping, hostPort: 8092, hostIP: '0.0.0.0' },
    );
    await addToBridge(config, argsOf('c'));
    t.same(ask('', '127.0.0.1', 8090), ['c 10.244.1.1']);
    t.same(ask('outside', '192.0.2.1', 8090), ['ECONNREFUSED'], 'a loopback port stays inside');
    t.same(ask('outside', '192.0.2.1', 8091), ['c 192.0.2.2']);
    t.same(ask('', '127.0.0.1', 8091), ['ECONNREFUSED']);
    t.same(ask('outside', '192.0.2.1', 8092), ['c 192.0.2.2']);
    await deleteFromBridge(config, argsOf('c'));
    t.same(ask('outside', '192.0.2.1', 8091), ['ECONNREFUSED']);
    await t.rejects(addToBridge(withPorts({ ...mapping, hostPort: 1, hostIP: '::1' }), argsOf('c')), {
      code: 'NETWORK_CONFIG',
      message: /"::1"/,
    });
  });

  await t.test('a failed ADD takes back what it did, and nothing else', async (t) => {
    addNamespace('d');
    const before = { links: sh('ip -o link | cut -d: -f2'), ports: hostPorts(), held: addressesHeld() };
    const taken = withPorts({ hostPort: 8080, containerPort: 99, protocol: 'TCP' });
    await t.rejects(addToBridge(taken, argsOf('d')), { code: 'NETWORK_COMMAND' });
    const gone = { ...argsOf('d'), containerId: 'e', netns: '/run/netns/none' };
    await t.rejects(addToBridge(CONFIG, gone), { code: 'NETWORK_COMMAND' });
    t.same({ links: sh('ip -o link | cut -d: -f2'), ports: hostPorts(), held: addressesHeld() }, before);
    t.same(ask('outside', '192.0.2.1', 8080), ['a 192.0.2.2'], 'the holder of the port keeps it');
    t.equal(sh('ip -n d -o link | wc -l'), '1');
    await t.rejects(checkOnBridge(CONFIG, argsOf('d')), { code: 'NETWORK_COMMAND' });
    await t.rejects(addToBridge({ ...CONFIG, podCIDR: 'fd00::/64' }, argsOf('d')), {
      code: 'NETWORK_CONFIG',
      message: /"fd00::\/64"/,
    });
    await t.rejects(addToBridge(CONFIG, { ...argsOf('d'), netns: undefined }), { code: 'NETWORK_CONFIG' });
  });

  await t.test('the rules come back when somebody flushed the ruleset', async (t) => {
    sh('nft flush ruleset');
    await addToBridge(CONFIG, argsOf('d'));
    const server = await serve('outside', 'outside', 81);
    t.same(ask('d', '192.0.2.2', 81), ['outside 192.0.2.1']);
    server.kill('SIGKILL');
    await deleteFromBridge(CONFIG, argsOf('d'));
  });

  await t.test('DEL gives everything back and may be repeated', async (t) => {
    const config = withPorts({ hostPort: 8080, containerPort: 80, protocol: 'TCP' });
    await deleteFromBridge(config, argsOf('a'));
    await deleteFromBridge(config, { ...argsOf('a'), netns: undefined });
    await addToBridge(config, argsOf('a'));
    await deleteFromBridge(config, argsOf('a'));
    await addToBridge(config, argsOf('c'));
    await deleteFromBridge(config, argsOf('a'));
    t.same(ask('outside', '192.0.2.1', 8080), ['c 192.0.2.2'], 'a late DEL leaves the next holder alone');
    await deleteFromBridge(config, argsOf('c'));
    await deleteFromBridge(CONFIG, argsOf('b'));
    t.same(addressesHeld(), []);
    t.equal(hostPorts(), '');
    t.notMatch(sh('ip -o link'), /tk[0-9a-f]{12}/);
  });

  await t.test('ADD is quick', async (t) => {
    const times: number[] = [];
    for (let index = 0; index < 9; index += 1) {
      const start = performance.now();
      await addToBridge(CONFIG, argsOf('d'));
      times.push(performance.now() - start);
      await deleteFromBridge(CONFIG, argsOf('d'));
    }
    const median = times.sort((a, b) => a - b)[4]!;
    t.comment(`median of ADD: ${median.toFixed(1)} ms`);
    t.ok(median < 250, 'far from the time of a program start, even on a busy machine');
  });

  await t.test('parallel ADDs of many pods do not disturb each other', async (t) => {
    const names = Array.from({ length: 8 }, (_, index) => `many${index}`);
    for (const name of names) addNamespace(name);
    const results = await Promise.all(names.map((name) => addToBridge(CONFIG, argsOf(name))));
    t.equal(new Set(results.map((result) => result.ips[0]?.address)).size, 8);
    await Promise.all(names.map((name) => deleteFromBridge(CONFIG, argsOf(name))));
    t.same(addressesHeld(), []);
  });
});

t.test('cni-main speaks CNI', { skip: skipReason }, async (t) => {
  addNamespace('exec');
  const run = (command: string, config: object = CONFIG) => {
    try {
      return execFileSync(process.execPath, ['--import=tsx', 'runtime/network/cni-main.ts'], {
        encoding: 'utf8',
        input: JSON.stringify(config),
        env: {
          PATH: process.env['PATH'],
          CNI_COMMAND: command,
          CNI_CONTAINERID: 'exec',
          CNI_NETNS: '/run/netns/exec',
          CNI_IFNAME: 'eth0',
        },
      });
    } catch (error) {
      return (error as { stdout: string }).stdout;
    }
  };
  t.match(JSON.parse(run('VERSION')), { supportedVersions: ['0.3.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0'] });
  t.match(JSON.parse(run('ADD')), { ips: [{ address: /^10\.244\.1\.\d+\/32$/ }] });
  t.equal(run('CHECK'), '');
  t.equal(run('DEL'), '');
  t.match(JSON.parse(run('CHECK')), { code: 100, msg: /Cannot/ });
  t.match(JSON.parse(run('FLY')), { code: 4, msg: /"FLY"/ });
});
