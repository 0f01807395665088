import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { isNodeReady } from '../../../runtime/api/node-ready.ts';
import { nodeAddress } from '../collect/cluster.ts';
import { type DiagnosisRow, seen } from '../diagnosis.ts';
import type { ClusterEvidence, Evidence } from '../evidence.ts';
import { findBlock, formatBlock } from './firewall.ts';

/** The node controller waits as long before it says that a Node is not known any more. */
const LEASE_MS = 50_000;
const AGENT_PORT = 10250;

/** The nodes, by the API server's word. */
export const NODE_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'node-silent',
    of: 'node',
    summary: "A Node's agent does not report any more",
    confidence: 'likely',
    matches: (node, cluster, { now }) => {
      const ageMs = leaseAgeMs(node, cluster, now);
      if (isNodeReady(node) || ageMs === undefined || ageMs < LEASE_MS) return undefined;
      const name = node.metadata?.name;
      return {
        cause: `${name} does not report: the machine is off, its agent has stopped, or it does not reach the API server`,
        fix: `on ${name}: tkadm why`,
        evidence: seen(`its Lease is ${Math.round(ageMs / 1000)} s old`, readyMessage(node)),
      };
    },
  },
  {
    name: 'pod-range-missing',
    of: 'node',
    summary: 'A Node was given no range of pod addresses',
    confidence: 'likely',
    matches: (node) =>
      !isNodeReady(node) && !node.spec?.podCIDR
        ? {
            cause: `${node.metadata?.name} waits for its range of pod addresses: kube-controller-manager does not work, or no range is left`,
            fix: 'on the control plane: tkadm why; kubectl -n kube-system logs -l component=kube-controller-manager',
            evidence: ['spec.podCIDR is not set'],
          }
        : undefined,
  },
  {
    name: 'node-network-not-ready',
    of: 'node',
    summary: 'A Node says that its network or runtime is not ready',
    confidence: 'likely',
    matches: (node) => {
      const ready = findCondition(node, 'Ready');
      if (ready?.status !== 'False' || !node.spec?.podCIDR) return undefined;
      return {
        cause: `the agent of ${node.metadata?.name} says that it is not ready`,
        fix: `on ${node.metadata?.name}: tkadm why`,
        evidence: seen(readyMessage(node)),
      };
    },
  },
  {
    name: 'node-under-pressure',
    of: 'node',
    summary: 'A Node is short of memory, disk or processes',
    confidence: 'certain',
    matches: (node) => {
      const pressure = ['MemoryPressure', 'DiskPressure', 'PIDPressure']
        .map((type) => findCondition(node, type))
        .find((row) => row?.status === 'True');
      if (!pressure) return undefined;
      return {
        cause: `${node.metadata?.name} has ${pressure.type}: new pods are kept away, and some may be removed`,
        fix: `make room on ${node.metadata?.name}: kubectl describe node ${node.metadata?.name}`,
        evidence: [`${pressure.type}: ${pressure.message ?? pressure.reason}`],
      };
    },
  },
  {
    name: 'agent-port-blocked',
    of: 'node',
    summary: "A firewall rule drops what goes to an agent's port 10250, at either end",
    confidence: 'certain',
    matches: (node, cluster, all) => {
      const found = findClosedAgent(node, cluster, all);
      if (!found?.block || found.block.isPolicy) return undefined;
      const { block, probe, ends } = found;
      const name = node.metadata?.name;
      const way = block.machine.name === name ? 'comes to its agent' : `goes to the agent of ${name}`;
      return {
        cause: `a firewall rule of ${block.machine.name} drops what ${way}: logs, exec and port-forward fail`,
        fix: `on ${block.machine.name}: take the rule away, or accept TCP port ${AGENT_PORT} before it: nft -a list ruleset`,
        evidence: [`${ends}${probe.url}: ${probe.said}`, formatBlock(block)],
      };
    },
  },
  {
    name: 'agent-port-closed',
    of: 'node',
    summary: "A Node's agent is not reached on port 10250",
    confidence: 'likely',
    unless: ['runtime-stopped', 'agent-stopped', 'service-crashing', 'agent-port-blocked'],
    matches: (node, cluster, all) => {
      const found = findClosedAgent(node, cluster, all);
      if (!found) return undefined;
      const { block, probe, ends } = found;
      const name = node.metadata?.name;
      return {
        cause: `the agent of ${name} is not reached on its port: kubectl logs, exec and port-forward fail`,
        fix: block
          ? `on ${block.machine.name}: accept TCP port ${AGENT_PORT}`
          : `accept TCP port ${AGENT_PORT} on ${name} and between; on ${name}: tkadm why`,
        evidence: seen(`${ends}${probe.url}: ${probe.said}`, block && formatBlock(block)),
      };
    },
  },
  {
    name: 'node-address-shared',
    of: 'node',
    summary: 'Two Nodes tell the same address',
    confidence: 'likely',
    matches: (node, { nodes }) => {
      const address = nodeAddress(node);
      const twin = nodes.find((other) => other !== node && address && nodeAddress(other) === address);
      if (!twin || (twin.metadata?.name ?? '') < (node.metadata?.name ?? '')) return undefined;
      return {
        cause: `${node.metadata?.name} and ${twin.metadata?.name} tell the same address`,
        fix: 'delete the Node that is left over: kubectl delete node NAME; or give the machine its own address',
        evidence: [`InternalIP ${address}`],
      };
    },
  },
  {
    name: 'node-cordoned',
    of: 'node',
    summary: 'A Node takes no new pods',
    confidence: 'possible',
    matches: (node) =>
      node.spec?.unschedulable
        ? {
            cause: `${node.metadata?.name} takes no new pods: somebody has cordoned it`,
            fix: `kubectl uncordon ${node.metadata?.name}`,
            evidence: ['spec.unschedulable: true'],
          }
        : undefined,
  },
];

/** An agent that does not answer at its port, with what may stand in the way from here. */
function findClosedAgent(node: Node, { agentProbes }: ClusterEvidence, { witnesses }: Evidence) {
  const name = node.metadata?.name;
  const probe = agentProbes.find(({ nodeName }) => nodeName === name);
  if (!probe || probe.outcome === 'answered') return undefined;
  const from = witnesses.find(({ isLocal }) => isLocal);
  const to = witnesses.find((machine) => machine.name === name);
  const block = findBlock({ from, to, port: AGENT_PORT, outcome: probe.outcome });
  return { probe, block, ends: from && from !== to ? `${from.name} to ${name}, ` : '' };
}

/** Age of the Lease by which the agent tells that it lives; undefined without one. */
export function leaseAgeMs(node: Node, { leases }: ClusterEvidence, now: Date): number | undefined {
  const lease = leases.find(({ metadata }) => metadata?.name === node.metadata?.name);
  const renewedMs = Date.parse(lease?.spec?.renewTime ?? '');
  return Number.isNaN(renewedMs) ? undefined : now.getTime() - renewedMs;
}

function findCondition(node: Node, type: string) {
  return node.status?.conditions?.find((row) => row.type === type);
}

function readyMessage(node: Node): string | undefined {
  const ready = findCondition(node, 'Ready');
  return ready && `Ready is ${ready.status}: ${ready.message ?? ready.reason}`;
}
