import type { DiagnosisRow } from '../diagnosis.ts';
import { isStarting } from './pod-facts.ts';

/** An approved request is signed at once where somebody signs. */
const SIGNING_MS = 15_000;
/** The controllers approve what may be approved at once. */
const APPROVAL_MS = 2_000;
const NODE_SIGNER = 'kubernetes.io/kube-apiserver-client-kubelet';

/** The cluster as a whole, by the API server's word. */
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
    unless: ['api-blocked', 'api-silent', 'api-refused', 'api-address-unknown'],
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
    matches: ({ deployments, pods }, { now }) => {
      const dns = deployments.find(({ metadata }) => metadata?.name === 'coredns');
      if (!dns || (dns.status?.readyReplicas ?? 0) > 0) return undefined;
      const wanted = dns.spec?.replicas ?? 1;
      const isNew = pods.some(
        (pod) => pod.metadata?.labels?.['k8s-app'] === 'kube-dns' && isStarting(pod, now),
      );
      if (wanted > 0 && isNew) return undefined;
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
];
