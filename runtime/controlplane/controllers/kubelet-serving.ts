import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import type { Node, Service } from 'kubernetes-types/core/v1.d.ts';
import type { CertificateRequest } from '../../../pki/csr.ts';

const NODE_USER = 'system:node:';
const NODES_GROUP = 'system:nodes';
const CONTROL_PLANE_LABEL = 'node-role.kubernetes.io/control-plane';

/** The cluster as far as a kubelet's serving certificate depends on it. */
export interface ServingContext {
  readonly nodes: readonly Node[];
  readonly services: readonly Service[];
  /** Addresses that clients reach the API server at: the endpoints of default/kubernetes. */
  readonly apiServerAddresses: readonly string[];
}

/** The node that a kubelet's request is for; undefined when its sender is no node. */
export function requestingNode({ spec }: CertificateSigningRequest): string | undefined {
  if (!spec?.username?.startsWith(NODE_USER) || !spec.groups?.includes(NODES_GROUP)) return undefined;
  return spec.username.slice(NODE_USER.length);
}

/**
 * Why a request for kubernetes.io/kubelet-serving is not approved without a person, or undefined. The addresses
 * in a Node's status are the kubelet's own word, and the cluster's CA vouches for the API server too: a node
 * gets its own name and those of its addresses that belong to nobody else.
 */
export function findServingObstacle(
  request: CertificateSigningRequest,
  csr: CertificateRequest,
  context: ServingContext,
): string | undefined {
  const name = requestingNode(request);
  if (name === undefined) return 'its sender is no node';
  if (csr.subject.commonName !== NODE_USER + name) return 'its subject is not its sender';
  const node = context.nodes.find(({ metadata }) => metadata?.name === name);
  if (!node) return `there is no Node "${name}"`;
  const foreignName = csr.dnsNames.find((dnsName) => dnsName !== name);
  if (foreignName !== undefined) return `"${foreignName}" is not the node's name`;
  for (const ip of csr.ipAddresses) {
    const obstacle = findAddressObstacle(ip, node, context);
    if (obstacle !== undefined) return obstacle;
  }
  return undefined;
}

function findAddressObstacle(ip: string, node: Node, context: ServingContext): string | undefined {
  if (!addressesOf(node).includes(ip)) return `"${ip}" is no address of the node`;
  if (/^(127\.|::1$|0\.0\.0\.0$|::$)/.test(ip)) return `"${ip}" is an address of every machine`;
  const other = context.nodes.find((entry) => entry !== node && addressesOf(entry).includes(ip));
  if (other) return `"${ip}" is an address of Node "${other.metadata?.name}" too`;
  const service = context.services.find(({ spec }) =>
    [spec?.clusterIP, ...(spec?.clusterIPs ?? []), ...(spec?.externalIPs ?? [])].includes(ip),
  );
  if (service) return `"${ip}" is an address of Service "${service.metadata?.name}"`;
  // A node cannot give itself this label (NodeRestriction).
  const isControlPlane = node.metadata?.labels?.[CONTROL_PLANE_LABEL] !== undefined;
  if (context.apiServerAddresses.includes(ip) && !isControlPlane)
    return `"${ip}" is the API server's address`;
  return undefined;
}

function addressesOf(node: Node): readonly string[] {
  return (node.status?.addresses ?? [])
    .filter(({ type }) => type === 'InternalIP' || type === 'ExternalIP')
    .map(({ address }) => address);
}
