import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { isNodeReady } from '../../../runtime/api/node-ready.ts';
import { type DiagnosisRow, seen } from '../diagnosis.ts';
import type { ClusterEvidence } from '../evidence.ts';

/** The node controller waits as long before it says that a Node is not known any more. */
const LEASE_MS = 50_000;
/** An approved request is signed at once where somebody signs. */
const SIGNING_MS = 15_000;
/** The controllers approve what may be approved at once. */
const APPROVAL_MS = 2_000;
const NODE_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';

/** The cluster and its nodes, by the API server's word. */
export const CLUSTER_ROWS: readonly DiagnosisRow[] = [
  {
    name: 'kubeconfig-unusable',
    of: 'cluster',
    summary: 'The kubeconfig cannot be read or used',
    confidence: 'likely',
    matches: ({ problem }, { machines, subject }) =>
      // While a node is made there is none yet.
      subject.kind !== 'machine' &&
      problem?.code === 'KUBECONFIG_INVALID' &&
      machines.some(({ role }) => role !== 'none')
        ? {
            cause: 'the cluster cannot be asked: its kubeconfig is not usable',
            fix: 'sudo tkadm why, or: export KUBECONFIG=FILE',
            evidence: [problem.message],
          }
        : undefined,
  },
  {
    name: 'api-denied',
    of: 'cluster',
    summary: 'The API server does not accept the credentials',
    confidence: 'certain',
    matches: ({ problem }) =>
      problem && ['Unauthorized', 'Forbidden'].includes(problem.code)
        ? {
            cause: 'the API server answers, and does not accept these credentials',
            fix: 'tkadm certs check-expiration; tkadm certs renew admin.conf',
            evidence: [problem.message],
          }
        : undefined,
  },
  {
    name: 'api-unreachable',
    of: 'cluster',
    summary: 'The API server is not reached',
    confidence: 'likely',
    matches: ({ problem, server }) =>
      problem && !['KUBECONFIG_INVALID', 'Unauthorized', 'Forbidden'].includes(problem.code)
        ? {
            cause: `the API server${server === '' ? '' : ` at ${server}`} cannot be asked`,
            fix: 'on the control plane: tkadm why',
            evidence: [problem.message],
          }
        : undefined,
  },
  {
    name: 'dns-down',
    of: 'cluster',
    summary: "The cluster's DNS has no ready pod",
    confidence: 'certain',
    matches: ({ deployments }) => {
      const dns = deployments.find(({ metadata }) => metadata?.name === 'coredns');
      if (!dns || (dns.status?.readyReplicas ?? 0) > 0) return undefined;
      const wanted = dns.spec?.replicas ?? 1;
      return {
        cause:
          wanted === 0
            ? 'names are not resolved in pods: Deployment kube-system/coredns is scaled to 0'
            : 'names are not resolved in pods: no pod of Deployment kube-system/coredns is ready',
        fix:
          wanted === 0
            ? 'kubectl -n kube-system scale deployment coredns --replicas=1'
            : 'kubectl -n kube-system get pods -l k8s-app=kube-dns; then tkadm why pod/kube-system/NAME',
        evidence: [`coredns: ${dns.status?.readyReplicas ?? 0} of ${wanted} ready`],
      };
    },
  },
  {
    name: 'request-not-approved',
    of: 'cluster',
    summary: "A node's certificate request waits for somebody to approve it",
    confidence: 'likely',
    matches: ({ requests }, { now }) => {
      const stuck = requests.find(
        ({ status, spec, metadata }) =>
          spec.signerName === NODE_SIGNER &&
          (status?.conditions ?? []).length === 0 &&
          now.getTime() - Date.parse(metadata?.creationTimestamp ?? '') > APPROVAL_MS,
      );
      if (!stuck) return undefined;
      return {
        cause: 'a node waits for its certificate: its request was not approved',
        fix: `kubectl certificate approve ${stuck.metadata?.name}; why not by itself: kubectl get clusterrolebinding kubeadm:node-autoapprove-bootstrap, and whether kube-controller-manager runs`,
        evidence: [`CertificateSigningRequest ${stuck.metadata?.name} of ${stuck.spec.username}: Pending`],
      };
    },
  },
  {
    name: 'request-not-signed',
    of: 'cluster',
    summary: 'A certificate request is approved and nobody signs it: the CA is an external one',
    confidence: 'certain',
    matches: ({ requests }, { now }) => {
      const stuck = requests.find(
        ({ status, metadata }) =>
          status?.conditions?.some(({ type }) => type === 'Approved') &&
          !status.certificate &&
          now.getTime() - Date.parse(metadata?.creationTimestamp ?? '') > SIGNING_MS,
      );
      if (!stuck) return undefined;
      return {
        cause: 'nobody in the cluster signs certificate requests: its CA is an external one',
        fix: `sign it with that CA: kubectl get csr ${stuck.metadata?.name} -o jsonpath='{.spec.request}'; or join with a kubelet.conf made beforehand`,
        evidence: [`CertificateSigningRequest ${stuck.metadata?.name}: Approved, no certificate`],
      };
    },
  },
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
    name: 'node-network-not-ready',
    of: 'node',
    summary: 'A Node says that its network or runtime is not ready',
    confidence: 'likely',
    matches: (node) => {
      const ready = findCondition(node, 'Ready');
      if (ready?.status !== 'False') return undefined;
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
    name: 'agent-port-closed',
    of: 'node',
    summary: "A Node's agent is not reached on port 10250",
    confidence: 'likely',
    matches: (node, { agentProbes }) => {
      const name = node.metadata?.name;
      const probe = agentProbes.find(({ nodeName }) => nodeName === name);
      if (!probe || probe.outcome === 'answered') return undefined;
      return {
        cause: `the agent of ${name} is not reached on its port: kubectl logs, exec and port-forward fail`,
        fix: `accept TCP port 10250 on ${name} and between; on ${name}: tkadm why`,
        evidence: [`${probe.url}: ${probe.said}`],
      };
    },
  },
  {
    name: 'node-unregistered',
    of: 'cluster',
    summary: 'A machine of the cluster has no Node',
    confidence: 'likely',
    matches: ({ nodes, problem }, { machines }) => {
      const machine = machines.find(
        ({ role, name }) => role !== 'none' && !nodes.some(({ metadata }) => metadata?.name === name),
      );
      if (!machine || problem || nodes.length === 0) return undefined;
      return {
        cause: `${machine.name} has no Node in the cluster: it was deleted, or its agent has never reached the API server`,
        fix: `on ${machine.name}: tkadm service stop; tkadm service start; the agent registers it anew`,
        evidence: [`Nodes: ${nodes.map(({ metadata }) => metadata?.name).join(', ')}`],
      };
    },
  },
  {
    name: 'node-address-shared',
    of: 'node',
    summary: 'Two Nodes tell the same address',
    confidence: 'likely',
    matches: (node, { nodes }) => {
      const address = addressOf(node);
      const twin = nodes.find((other) => other !== node && address && addressOf(other) === address);
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

/** Age of the Lease by which the agent tells that it lives; undefined without one. */
export function leaseAgeMs(node: Node, { leases }: ClusterEvidence, now: Date): number | undefined {
  const lease = leases.find(({ metadata }) => metadata?.name === node.metadata?.name);
  const renewedMs = Date.parse(lease?.spec?.renewTime ?? '');
  return Number.isNaN(renewedMs) ? undefined : now.getTime() - renewedMs;
}

function addressOf(node: Node): string | undefined {
  return node.status?.addresses?.find(({ type }) => type === 'InternalIP')?.address;
}

function findCondition(node: Node, type: string) {
  return node.status?.conditions?.find((row) => row.type === type);
}

function readyMessage(node: Node): string | undefined {
  const ready = findCondition(node, 'Ready');
  return ready && `Ready is ${ready.status}: ${ready.message ?? ready.reason}`;
}
