import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { type DiagnosisRow, seen } from '../diagnosis.ts';
import type { Evidence, MachineEvidence, WayEvidence } from '../evidence.ts';
import { findBlock, formatBlock } from './firewall.ts';
import { isWayOut } from './network.ts';

/** Ways between nodes, which were tried. A way is told of the node that it leads to, else of the one that it leads from. */
export const WAY_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'pod-route-missing',
    of: 'node',
    summary: "A machine has no route to another node's pods",
    confidence: 'certain',
    matches: (node, _cluster, all) => {
      const found = listWays(node, all).find(({ way }) => way.hasRoute === false);
      if (!found) return undefined;
      const { from, way } = found;
      return {
        cause: `${from.name} has no route to the pods of ${way.to}: what its pods send there is lost`,
        fix: `on ${from.name}: ip route replace ${way.range} via ${way.address} proto 116`,
        evidence: seen(
          `ip route show proto 116 on ${from.name}: nothing by way of ${way.address}`,
          formatPath(found),
        ),
      };
    },
  },
  {
    name: 'pod-path-blocked',
    of: 'node',
    summary: 'A firewall between the pods of two nodes drops what is forwarded',
    confidence: 'certain',
    unless: ['pod-route-missing', 'ip-forward-off'],
    matches: (node, _cluster, all) => {
      const found = listWays(node, all).find((tried) => isBroken(tried) && blockOf(tried));
      const block = found && blockOf(found);
      if (!found || !block) return undefined;
      return {
        cause: `a firewall rule of ${block.machine.name} drops what goes between pods: those of ${found.way.to} are not reached from ${found.from.name}`,
        fix: `on ${block.machine.name}: take the rule away, or accept what is forwarded from and to the pods: nft -a list ruleset`,
        evidence: seen(formatPath(found), formatBlock(block)),
      };
    },
  },
  {
    name: 'pods-unreached',
    of: 'node',
    summary: 'The pods of a node are not reached from another node',
    confidence: 'likely',
    unless: ['pod-route-missing', 'pod-path-blocked', 'ip-forward-off'],
    matches: (node, _cluster, all) => {
      const found = listWays(node, all).find(isBroken);
      if (!found || found.way.pods?.outcome === 'refused') return undefined;
      const { from, to, way } = found;
      const still = [from, to].find((machine) => machine?.kernel.isForwarding === false);
      return {
        cause: still
          ? `the pods of ${way.to} are not reached from ${from.name}: ${still.name} forwards no packets`
          : `the pods of ${way.to} are not reached from ${from.name}`,
        fix: still
          ? `on ${still.name}: sysctl -w net.ipv4.ip_forward=1`
          : `on ${way.to}: tkadm why; and let the pods' addresses pass between the machines`,
        evidence: seen(formatPath(found), still && `net.ipv4.ip_forward of ${still.name} is 0`),
      };
    },
  },
  {
    name: 'large-packets-lost',
    of: 'node',
    summary: 'Packets as large as pods send them are lost between two nodes',
    confidence: 'certain',
    unless: ['mtu-wrong'],
    matches: (node, _cluster, all) => {
      const found = listWays(node, all).find(({ way }) => way.packets?.passingBytes !== undefined);
      const { fullBytes, isAnswered, passingBytes } = found?.way.packets ?? {};
      if (!found || isAnswered) return undefined;
      const { from, way } = found;
      return {
        cause: `large packets from ${from.name} to ${way.to} are lost: the way takes less than pods send`,
        fix: `let the network between them carry ${fullBytes} bytes; or on both: ip link set ${wayOut(from)} mtu ${passingBytes}; ip link set tkadm0 mtu ${passingBytes}`,
        evidence: [`packet of ${fullBytes} bytes to ${way.address}: no answer; of ${passingBytes}: answered`],
      };
    },
  },
];

function wayOut({ links }: MachineEvidence): string {
  return links.find(isWayOut)?.name ?? 'INTERFACE';
}

interface TriedWay {
  readonly from: MachineEvidence;
  readonly to: MachineEvidence | undefined;
  readonly way: WayEvidence;
}

function listWays({ metadata }: Node, { witnesses, cluster }: Evidence): readonly TriedWay[] {
  const name = metadata?.name;
  const isAsked = (other: string) => cluster?.nodes.some((node) => node.metadata?.name === other);
  return witnesses.flatMap((from) =>
    from.ways
      .filter(({ to }) => to === name || (from.name === name && !isAsked(to)))
      .map((way) => ({ from, to: witnesses.find((machine) => machine.name === way.to), way })),
  );
}

/** A refusal may be the pod's own. */
function isBroken(tried: TriedWay): boolean {
  const { pods } = tried.way;
  if (pods?.outcome === 'refused') return blockOf(tried) !== undefined;
  return pods !== undefined && pods.outcome !== 'answered';
}

function blockOf({ from, to, way }: TriedWay) {
  return findBlock({ from, to, outcome: way.pods?.outcome ?? 'answered' });
}

function formatPath({ from, way: { pods } }: TriedWay): string | undefined {
  if (!pods || pods.outcome === 'answered') return undefined;
  const start = pods.from === 'pod' ? `a pod of ${from.name}` : from.name;
  return `from ${start} to pod ${pods.podName} at ${pods.address}:${pods.port}: ${pods.said}`;
}
