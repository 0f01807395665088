import { PATHS } from '../../../runtime/base/paths.ts';
import { nodeAddress } from '../collect/cluster.ts';
import { type DiagnosisRow, seen } from '../diagnosis.ts';
import type { Evidence, LinkEvidence, MachineEvidence, ProbeEvidence } from '../evidence.ts';
import { findBlock, formatBlock } from './firewall.ts';
import { isStarting } from './pod-facts.ts';

const BRIDGE = 'tkadm0';
/** Below this IPv6 is off, and much of IPv4 breaks. */
const LEAST_MTU = 1280;

/** Ways between machines, and what makes the pods' network on one. */
export const NETWORK_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'api-blocked',
    of: 'machine',
    summary: "A firewall rule drops what goes to the API server's port, at either end",
    confidence: 'certain',
    matches: (machine, all) => {
      const probe = BLOCKED.map((outcome) => findProbe(machine, outcome)).find(Boolean);
      const block = probe && findApiBlock(machine, probe, all);
      if (!block || block.isPolicy) return undefined;
      const port = portOf(probe);
      const way = block.machine === machine ? 'goes' : `comes from ${machine.name}`;
      return {
        cause: `a firewall rule of ${block.machine.name} drops what ${way} to the API server, port ${port}`,
        fix: `on ${block.machine.name}: take the rule away, or accept TCP port ${port} before it: nft -a list ruleset`,
        evidence: seen(formatWay(machine, all, probe), formatBlock(block), formatOtherWay(machine, all)),
      };
    },
  },
  {
    name: 'api-silent',
    of: 'machine',
    summary: 'The API server does not answer, and does not refuse either',
    confidence: 'likely',
    unless: ['api-blocked'],
    matches: (machine, all) => {
      const probe = findProbe(machine, 'silent');
      if (!probe) return undefined;
      const block = findApiBlock(machine, probe, all);
      return {
        cause: block
          ? `what ${machine.name} sends to ${probe.url} is lost: ${block.machine.name} drops what no rule accepts`
          : `what ${machine.name} sends to ${probe.url} is lost: a firewall on the way, or the machine is off`,
        fix: block
          ? `on ${block.machine.name}: accept TCP port ${portOf(probe)}`
          : `accept TCP port ${portOf(probe)} on the control plane and between; there: tkadm why`,
        evidence: seen(
          formatWay(machine, all, probe),
          block && formatBlock(block),
          formatOtherWay(machine, all),
        ),
      };
    },
  },
  {
    name: 'api-address-unknown',
    of: 'machine',
    summary: "The API server's name has no address, or there is no route to it",
    confidence: 'certain',
    unless: ['api-blocked'],
    matches: (machine) => {
      const probe = findProbe(machine, 'unknown-name') ?? findProbe(machine, 'no-route');
      return (
        probe && {
          cause:
            probe.outcome === 'no-route'
              ? `${machine.name} has no route to the API server`
              : `${machine.name} finds no address for the API server's name`,
          fix:
            probe.outcome === 'no-route'
              ? 'ip route; ip address'
              : 'mend DNS, or put the name into /etc/hosts',
          evidence: [`${probe.url}: ${probe.said}`],
        }
      );
    },
  },
  {
    name: 'api-refused',
    of: 'machine',
    summary: "Nothing listens at the API server's address",
    confidence: 'likely',
    unless: ['api-blocked'],
    matches: (machine) => {
      const probe = findProbe(machine, 'refused');
      if (!probe || machine.role !== 'worker') return undefined;
      return {
        cause: `nothing listens at ${probe.url}: the API server is down, or its address has changed`,
        fix: 'on the control plane: tkadm why',
        evidence: [`${probe.url}: ${probe.said}`],
      };
    },
  },
  {
    name: 'cni-missing',
    of: 'machine',
    summary: `No network configuration in ${PATHS.cniConfig}`,
    confidence: 'certain',
    matches: ({ cni, name }, { cluster }) => {
      // Before a node has its range of pod addresses there is nothing to write one from.
      const node = cluster?.nodes.find(({ metadata }) => metadata?.name === name);
      if (cni.length > 0 || !node?.spec?.podCIDR) return undefined;
      return {
        cause: `${name} has no network for pods: there is no CNI configuration`,
        fix: 'tkadm service stop; tkadm service start: the agent writes its own anew. With another CNI: install it',
        evidence: [`"${PATHS.cniConfig}" holds no .conflist`],
      };
    },
  },
  {
    name: 'cni-broken',
    of: 'machine',
    summary: 'A network configuration cannot be used: no JSON, or no such plugin',
    confidence: 'certain',
    matches: ({ cni, name }) => {
      // The runtime takes the first one.
      const [first] = cni;
      if (!first?.problem) return undefined;
      return {
        cause: `the network configuration of ${name} cannot be used`,
        fix: `mend or remove "${first.path}"; the agent writes its own anew: tkadm service stop; tkadm service start`,
        evidence: [`"${first.path}": ${first.problem}`],
      };
    },
  },
  {
    name: 'proxy-rules-missing',
    of: 'machine',
    summary: 'The rules of the service proxy are not there',
    confidence: 'likely',
    matches: ({ nftTables, role, name }, { cluster, now }) => {
      const isWanted = cluster?.daemonSets.some(({ metadata }) => metadata?.name === 'kube-proxy') ?? false;
      if (role === 'none' || !isWanted || !nftTables || nftTables.includes('ip kube-proxy')) return undefined;
      const isNew = cluster?.pods.some(
        (pod) =>
          pod.metadata?.labels?.['k8s-app'] === 'kube-proxy' &&
          pod.spec?.nodeName === name &&
          isStarting(pod, now),
      );
      if (isNew) return undefined;
      return {
        cause: `Services are not reached from ${name}: the rules of kube-proxy are gone`,
        fix: `kubectl -n kube-system delete pod -l k8s-app=kube-proxy --field-selector spec.nodeName=${name}`,
        evidence: [`nft list tables: ${nftTables.join(', ') || 'none'}; no "ip kube-proxy"`],
      };
    },
  },
  {
    name: 'mtu-wrong',
    of: 'machine',
    summary: "The pods' bridge takes larger packets than the machine's way out, or hardly any",
    confidence: 'likely',
    matches: ({ links, name }) => {
      const bridge = links.find((link) => link.name === BRIDGE);
      const wayOut = links.find(isWayOut);
      if (!bridge || !wayOut) return undefined;
      const isTooLarge = bridge.mtu > wayOut.mtu;
      if (!isTooLarge && wayOut.mtu >= LEAST_MTU) return undefined;
      return {
        cause: isTooLarge
          ? `large packets of pods are lost on ${name}: their bridge takes more than ${wayOut.name} does`
          : `${wayOut.name} of ${name} takes hardly any packet`,
        fix: isTooLarge
          ? `ip link set ${wayOut.name} mtu ${bridge.mtu}, or ip link set ${BRIDGE} mtu ${wayOut.mtu}`
          : `ip link set ${wayOut.name} mtu 1500`,
        evidence: [`mtu of ${BRIDGE} ${bridge.mtu}, of ${wayOut.name} ${wayOut.mtu}`],
      };
    },
  },
  {
    name: 'node-address-lost',
    of: 'machine',
    summary: "The Node's address is none of the machine's",
    confidence: 'certain',
    matches: ({ links, name }, { cluster }) => {
      const node = cluster?.nodes.find(({ metadata }) => metadata?.name === name);
      const address = node && nodeAddress(node);
      const own = links.flatMap(({ addresses }) => addresses);
      if (!address || own.length === 0 || own.includes(address)) return undefined;
      return {
        cause: `${name} has not the address any more that its Node tells: ${address}`,
        fix: `give the machine its address back, or set --node-ip in /var/lib/kubelet/kubeadm-flags.env and: tkadm service stop; tkadm service start`,
        evidence: [
          `ip addr: ${links
            .filter(isWayOut)
            .flatMap(({ addresses }) => addresses)
            .join(', ')}`,
        ],
      };
    },
  },
  {
    name: 'no-name-server',
    of: 'machine',
    summary: '/etc/resolv.conf names no server',
    confidence: 'possible',
    matches: ({ nameServers, role, name }) =>
      role !== 'none' && nameServers?.length === 0
        ? {
            cause: `${name} knows no name server: neither images' registries nor outside names are found`,
            fix: 'put a line "nameserver IP" into /etc/resolv.conf',
            evidence: ['/etc/resolv.conf has no line "nameserver"'],
          }
        : undefined,
  },
];

/** What is left of a request that a firewall drops, or rejects. */
const BLOCKED = ['silent', 'refused', 'no-route'] as const;

function findProbe({ probes }: MachineEvidence, outcome: ProbeEvidence['outcome']) {
  return probes.find((probe) => probe.name === 'kube-apiserver' && probe.outcome === outcome);
}

/** The machine that serves the API at a probe's address, if it was looked at. */
function findServer({ url }: ProbeEvidence, { witnesses }: Evidence): MachineEvidence | undefined {
  const { hostname } = new URL(url);
  return witnesses.find(({ links }) => links.some(({ addresses }) => addresses.includes(hostname)));
}

function findApiBlock(from: MachineEvidence, probe: ProbeEvidence, all: Evidence) {
  return findBlock({ from, to: findServer(probe, all), port: portOf(probe), outcome: probe.outcome });
}

/** "node1 to cp, https://10.0.0.1:6443/readyz: no answer" */
function formatWay({ name }: MachineEvidence, all: Evidence, probe: ProbeEvidence): string {
  const server = findServer(probe, all);
  const ends = server && server.name !== name ? `${name} to ${server.name}, ` : '';
  return `${ends}${probe.url}: ${probe.said}`;
}

/** That the way back is open. */
function formatOtherWay({ name }: MachineEvidence, { cluster, witnesses }: Evidence): string | undefined {
  const here = witnesses.find(({ isLocal }) => isLocal);
  const probe = cluster?.agentProbes.find(({ nodeName }) => nodeName === name);
  if (!here || here.name === name || probe?.outcome !== 'answered') return undefined;
  return `${here.name} to ${name}, ${probe.url}: ${probe.said}`;
}

function portOf({ url }: ProbeEvidence): number {
  const { port, protocol } = new URL(url);
  return Number(port) || (protocol === 'https:' ? 443 : 80);
}

/** An interface towards other machines. */
export function isWayOut({ name, addresses }: LinkEvidence): boolean {
  return (
    !/^(lo|tkadm|veth|cni|docker|br-|virbr)/.test(name) && addresses.some((text) => !text.startsWith('fe80:'))
  );
}
