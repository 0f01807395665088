import './own-network.ts';
import type { ChildProcess } from 'node:child_process';
import type { Service } from 'kubernetes-types/core/v1.d.ts';
import type { EndpointSlice } from 'kubernetes-types/discovery/v1.d.ts';
import t from 'tap';
import { addToBridge } from '../../../runtime/network/bridge.ts';
import { buildRuleset } from '../../../runtime/network/proxy/build-ruleset.ts';
import { openConntrack, selectStaleFlows } from '../../../runtime/network/proxy/conntrack.ts';
import { loadRuleset } from '../../../runtime/network/proxy/proxy.ts';
import type { Ruleset } from '../../../runtime/network/proxy/ruleset.ts';
import { buildServicePorts } from '../../../runtime/network/proxy/service-model.ts';
import { addNamespace, addOutside, ask, serve, sh } from './fixture.ts';
import { skipReason } from './own-network.ts';

const CLUSTER_CIDR = '10.244.0.0/16';
const PODS = { p1: '10.244.1.2', p2: '10.244.1.3', caller: '10.244.1.4' } as const;
const VIP = '10.96.0.7';

type Endpoints = Readonly<Record<string, string>>;

/** A Service "web" with port 80 → 8080, TCP and UDP, whose endpoints are address → node. */
function state(spec: object, endpoints: Endpoints) {
  const service = {
    metadata: { namespace: 'd', name: 'web' },
    spec: {
      clusterIP: VIP,
      clusterIPs: [VIP],
      ports: [
        { name: 't', port: 80, protocol: 'TCP', nodePort: 30080 },
        { name: 'u', port: 80, protocol: 'UDP', nodePort: 30080 },
      ],
      ...spec,
    },
  } as Service;
  const slice = {
    addressType: 'IPv4',
    metadata: { namespace: 'd', name: 'web-1', labels: { 'kubernetes.io/service-name': 'web' } },
    ports: [
      { name: 't', port: 8080, protocol: 'TCP' },
      { name: 'u', port: 8080, protocol: 'UDP' },
    ],
    endpoints: Object.entries(endpoints).map(([address, nodeName]) => ({ addresses: [address], nodeName })),
  } as unknown as EndpointSlice;
  return buildServicePorts([service], [slice], 'here');
}

const kinds = (answers: readonly string[]) => [...new Set(answers)].sort();

t.test('the proxy', { skip: skipReason }, async (t) => {
  addOutside();
  const servers: ChildProcess[] = [];
  for (const name of Object.keys(PODS)) {
    const netns = addNamespace(name);
    const result = await addToBridge(
      {
        cniVersion: '1.0.0',
        name: 'n',
        type: 'tkadm-bridge',
        bridge: 'tkadm0',
        podCIDR: '10.244.1.0/24',
        clusterCIDR: CLUSTER_CIDR,
      },
      { containerId: name, netns, interfaceName: 'eth0' },
    );
    t.equal(result.ips[0]?.address, `${PODS[name as keyof typeof PODS]}/32`);
    servers.push(await serve(name, name, 8080));
  }
  sh('ip -n outside route add 10.96.0.0/12 via 192.0.2.1');
  t.teardown(() => {
    for (const server of servers) server.kill('SIGKILL');
  });
  let loaded: Ruleset | undefined;
  const load = async (spec: object, endpoints: Endpoints) => {
    loaded = await loadRuleset(loaded, buildRuleset(state(spec, endpoints), { clusterCidr: CLUSTER_CIDR }));
  };
  const both: Endpoints = { [PODS.p1]: 'here', [PODS.p2]: 'here' };

  await t.test('spreads a ClusterIP over its endpoints', async (t) => {
    await load({}, both);
    t.same(
      kinds(ask('caller', VIP, 80, { count: 30 })),
      ['p1 10.244.1.4', 'p2 10.244.1.4'],
      'source is kept',
    );
    t.same(kinds(ask('caller', VIP, 80, { count: 20, protocol: 'udp' })), ['p1 10.244.1.4', 'p2 10.244.1.4']);
    t.same(kinds(ask('', VIP, 80, { count: 30 })), ['p1 10.244.1.1', 'p2 10.244.1.1'], 'from the node');
    t.same(kinds(ask('outside', VIP, 80, { count: 30 })), ['p1 10.244.1.1', 'p2 10.244.1.1'], 'masqueraded');
  });

  await t.test('spreads a node port', async (t) => {
    const answers = ['p1 10.244.1.1', 'p2 10.244.1.1'];
    t.same(kinds(ask('outside', '192.0.2.1', 30080, { count: 30 })), answers);
    t.same(kinds(ask('caller', '192.0.2.1', 30080, { count: 30 })), answers);
    t.same(kinds(ask('', '192.0.2.1', 30080, { count: 30 })), answers);
    t.same(
      ask('', '127.0.0.1', 30080),
      ['ECONNREFUSED'],
      'not at the loopback, as upstream in nftables mode',
    );
  });

  await t.test('a pod reaches itself through its Service', async (t) => {
    t.same(kinds(ask('p1', VIP, 80, { count: 20 })), ['p1 10.244.1.1', 'p2 10.244.1.2']);
    await load({}, { [PODS.p1]: 'here' });
    t.same(ask('p1', VIP, 80, { protocol: 'udp' }), ['p1 10.244.1.1']);
  });

  await t.test('a client stays with its endpoint under session affinity', async (t) => {
    const affinity = (timeoutSeconds: number) => ({
      sessionAffinity: 'ClientIP',
      sessionAffinityConfig: { clientIP: { timeoutSeconds } },
    });
    await load(affinity(2), both);
    const [first] = ask('caller', VIP, 80);
    t.same(kinds(ask('caller', VIP, 80, { count: 20 })), [first]);
    await load(affinity(2), { ...both, [PODS.caller]: 'here' });
    t.same(kinds(ask('caller', VIP, 80, { count: 20 })), [first], 'another endpoint changes nothing');
    await load(affinity(1000), both);
    t.match(sh('nft list sets ip'), /timeout 16m40s/, 'a new time is used');
    t.notMatch(sh('nft list sets ip'), /timeout 2s/);
    const stays = ask('caller', VIP, 80)[0]?.slice(0, 2) ?? '';
    await load(affinity(1000), { [PODS[stays === 'p1' ? 'p2' : 'p1']]: 'here' });
    t.not(ask('caller', VIP, 80)[0]?.slice(0, 2), stays, 'unless its endpoint goes away');
  });

  await t.test('refuses where there is no endpoint', async (t) => {
    await load({}, {});
    for (const from of ['caller', 'outside', '']) {
      t.same(ask(from, VIP, 80), ['ECONNREFUSED'], `ClusterIP from "${from}"`);
      t.same(ask(from, '192.0.2.1', 30080), ['ECONNREFUSED'], `node port from "${from}"`);
    }
    t.same(ask('caller', VIP, 80, { protocol: 'udp' }), ['ECONNREFUSED'], 'UDP');
    await load({}, both);
    t.match(ask('caller', VIP, 80), [/^p/]);
  });

  await t.test('externalTrafficPolicy Local keeps the client and stays on the node', async (t) => {
    const spec = { externalTrafficPolicy: 'Local', type: 'NodePort' };
    await load(spec, { [PODS.p1]: 'here', [PODS.p2]: 'there' });
    t.same(kinds(ask('outside', '192.0.2.1', 30080, { count: 20 })), ['p1 192.0.2.2']);
    t.same(kinds(ask('caller', '192.0.2.1', 30080, { count: 30 })), ['p1 10.244.1.4', 'p2 10.244.1.4']);
    t.same(kinds(ask('', '192.0.2.1', 30080, { count: 30 })), ['p1 10.244.1.1', 'p2 10.244.1.1']);
    t.same(kinds(ask('caller', VIP, 80, { count: 30 })), ['p1 10.244.1.4', 'p2 10.244.1.4']);
    await load(spec, { [PODS.p2]: 'there' });
    t.same(ask('outside', '192.0.2.1', 30080), ['timeout'], 'no local endpoint: no answer');
    t.same(ask('caller', '192.0.2.1', 30080), ['p2 10.244.1.4']);
  });

  await t.test('internalTrafficPolicy Local stays on the node', async (t) => {
    const spec = { internalTrafficPolicy: 'Local' };
    await load(spec, { [PODS.p1]: 'here', [PODS.p2]: 'there' });
    t.same(kinds(ask('caller', VIP, 80, { count: 20 })), ['p1 10.244.1.4']);
    await load(spec, { [PODS.p2]: 'there' });
    t.same(ask('caller', VIP, 80), ['ECONNREFUSED']);
    t.same(ask('outside', '192.0.2.1', 30080), ['p2 10.244.1.1'], 'from outside every endpoint counts');
  });

  await t.test('external addresses lead to the Service', async (t) => {
    await load({ externalIPs: ['198.51.100.7'] }, both);
    sh('ip -n outside route add 198.51.100.0/24 via 192.0.2.1');
    t.match(ask('outside', '198.51.100.7', 80), [/^p[12] 10\.244\.1\.1$/]);
    await load({ externalIPs: ['198.51.100.7'] }, {});
    t.same(ask('outside', '198.51.100.7', 80), ['ECONNREFUSED']);
  });

  await t.test('a UDP flow leaves an endpoint that went away, and nothing else does', async (t) => {
    const conntrack = openConntrack();
    t.teardown(() => conntrack.close());
    const clean = async (spec: object, endpoints: Endpoints) =>
      conntrack.delete(selectStaleFlows(conntrack.listUdp(), state(spec, endpoints)));
    const from = { protocol: 'udp', localPort: 4000 } as const;
    await load({}, { [PODS.p1]: 'here' });
    t.same(ask('caller', VIP, 80, from), ['p1 10.244.1.4']);
    t.same(ask('outside', '192.0.2.1', 30080, from), ['p1 10.244.1.1']);
    t.same(ask('caller', PODS.p1, 8080, { ...from, localPort: 4001 }), ['p1 10.244.1.4']);
    await load({}, { [PODS.p2]: 'here' });
    t.same(ask('caller', VIP, 80, from), ['p1 10.244.1.4'], 'the kernel remembers');
    t.ok((await clean({}, { [PODS.p2]: 'here' })) >= 2);
    t.same(ask('caller', VIP, 80, from), ['p2 10.244.1.4']);
    t.same(ask('outside', '192.0.2.1', 30080, from), ['p2 10.244.1.1']);
    t.ok(
      conntrack.listUdp().some(({ address, port }) => address === PODS.p1 && port === 8080),
      'a flow past the Service stays',
    );
  });

  await t.test('a UDP flow to a Service without rules finds its first endpoint', async (t) => {
    const conntrack = openConntrack();
    t.teardown(() => conntrack.close());
    const from = { protocol: 'udp', localPort: 4100 } as const;
    sh('nft delete table ip kube-proxy');
    loaded = undefined;
    t.same(ask('caller', VIP, 80, from), ['timeout']);
    await load({}, { [PODS.p1]: 'here' });
    t.same(ask('caller', VIP, 80, from), ['timeout'], 'the kernel remembers that there was no endpoint');
    const ports = state({}, { [PODS.p1]: 'here' });
    t.ok(conntrack.delete(selectStaleFlows(conntrack.listUdp(), ports)) >= 1);
    t.same(ask('caller', VIP, 80, from), ['p1 10.244.1.4']);
  });
});
