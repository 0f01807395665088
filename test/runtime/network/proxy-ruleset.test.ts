import './own-network.ts';
import t from 'tap';
import { buildRuleset } from '../../../runtime/network/proxy/build-ruleset.ts';
import { parseProxyConfig } from '../../../runtime/network/proxy/config.ts';
import { loadRuleset, removeRuleset } from '../../../runtime/network/proxy/proxy.ts';
import type { Ruleset } from '../../../runtime/network/proxy/ruleset.ts';
import type { Endpoint, ServicePort } from '../../../runtime/network/proxy/service-model.ts';
import { sh } from './fixture.ts';
import { skipReason } from './own-network.ts';

/** Mulberry32: the same states in every run. */
function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) % below;
  };
}

function randomPorts(random: (below: number) => number): readonly ServicePort[] {
  return Array.from({ length: 6 }, (_, index) => index).flatMap((index): ServicePort[] => {
    if (random(4) === 0) return [];
    const all = Array.from(
      { length: 4 },
      (_, number): Endpoint => ({
        address: `10.1.0.${number}`,
        port: 80 + random(2),
        isLocal: number < 2,
      }),
    ).filter(() => random(2) === 0);
    const local = all.filter(({ isLocal }) => isLocal);
    const keepsSource = random(3) === 0;
    return [
      {
        key: `ns/s${index}:http`,
        protocol: (['tcp', 'udp', 'sctp'] as const)[index % 3]!,
        port: 80,
        clusterIps: [`10.96.0.${index}`],
        externalIps: random(3) === 0 ? [`198.51.100.${index}`] : [],
        nodePort: random(2) === 0 ? 30_000 + index : undefined,
        affinitySeconds: [undefined, 10, 20][random(3)],
        all,
        internal: random(3) === 0 ? local : all,
        external: keepsSource ? local : all,
        keepsSource,
      },
    ];
  });
}

/** The kernel's table, without the order in which elements happen to lie. */
function listTable(): string {
  const text = sh('nft list table ip kube-proxy').replace(/elements = \{([^}]*)\}/gs, (_, body: string) =>
    body
      .split(',')
      .map((element) => element.trim())
      .sort()
      .join('\n'),
  );
  return text
    .split(/\n\n|(?<=\n\t\})\n/)
    .map((part) => part.trim())
    .sort()
    .join('\n');
}

t.test('every transition between states equals a full load', { skip: skipReason }, async (t) => {
  for (const clusterCidr of ['10.1.0.0/16', undefined]) {
    const random = createRandom(clusterCidr ? 7 : 8);
    let loaded: Ruleset | undefined;
    for (let step = 0; step < 15; step += 1) {
      const wanted = buildRuleset(randomPorts(random), { clusterCidr });
      loaded = await loadRuleset(loaded, wanted);
      const incremental = listTable();
      await loadRuleset(undefined, wanted);
      t.equal(incremental, listTable(), `state ${step}`);
    }
  }
  await removeRuleset();
  await removeRuleset();
  t.equal(sh('nft list tables'), '');
});

const REFUSED = [
  { text: 'mode: ipvs', message: /"ipvs"/ },
  { text: 'clusterCIDR: 10.1.0.0/16,fd00::/48', message: /"10\.1\.0\.0\/16,fd00::\/48"/ },
  { text: 'clusterCIDR: fd00::/48', message: /IPv4/ },
  { text: 'nodePortAddresses: [10.0.0.0/8]', message: /"nodePortAddresses"/ },
  { text: 'wings: 2', message: /"wings"/ },
] as const;

t.test('parseProxyConfig() refuses by name what it does not have', async (t) => {
  for (const { text, message } of REFUSED) {
    t.throws(
      () => parseProxyConfig(`kind: KubeProxyConfiguration\n${text}\n`),
      { code: 'PROXY_CONFIG', message },
      text,
    );
  }
});
