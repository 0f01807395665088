import { isDeepStrictEqual } from 'node:util';
import type { TokenRequest } from 'kubernetes-types/authentication/v1.d.ts';
import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import { PODS } from '../../../api/kinds.ts';
import { nodeNameOf } from '../../auth/names.ts';
import { collectPodReferences } from '../../auth/node/pod-references.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const MIRROR_ANNOTATION = 'kubernetes.io/config.mirror';
const LEASE_NAMESPACE = 'kube-node-lease';
/** Labels of Kubernetes' own domains that a kubelet may set on its node. */
const KUBELET_LABELS = [
  'kubernetes.io/hostname',
  'kubernetes.io/os',
  'kubernetes.io/arch',
  'beta.kubernetes.io/os',
  'beta.kubernetes.io/arch',
  'node.kubernetes.io/instance-type',
  'beta.kubernetes.io/instance-type',
  'topology.kubernetes.io/zone',
  'topology.kubernetes.io/region',
  'failure-domain.beta.kubernetes.io/zone',
  'failure-domain.beta.kubernetes.io/region',
];
const KUBELET_LABEL_DOMAINS = ['kubelet.kubernetes.io', 'node.kubernetes.io'];

interface Check {
  readonly request: AdmissionRequest;
  readonly nodeName: string;
  readonly reader: ObjectReader;
}

/** Resource (with subresource) → what a kubelet's write to it must satisfy. */
const CHECKS: Readonly<Record<string, (check: Check) => void>> = {
  pods: checkPod,
  'pods/status': checkPodStatus,
  'pods/eviction': checkEviction,
  nodes: checkNode,
  'nodes/status': checkNode,
  'serviceaccounts/token': checkToken,
  'leases.coordination.k8s.io': checkLease,
  'csinodes.storage.k8s.io': ({ request, nodeName }) => {
    if (writtenName(request) === nodeName) return;
    throw refuse(request, 'can only access CSINode with the same name as the requesting node');
  },
  'resourceslices.resource.k8s.io': ({ request, nodeName }) => {
    const slice = (request.object ?? request.oldObject) as { spec?: { nodeName?: string } } | undefined;
    if (slice?.spec?.nodeName === nodeName) return;
    throw refuse(request, 'can only create ResourceSlice with the same NodeName as the requesting node');
  },
};

/** A kubelet writes its own Node, Lease, CSINode, ResourceSlices, its pods' status, and mirror pods: nothing else. */
export function createNodeRestriction({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  return {
    name: 'NodeRestriction',
    validate(request) {
      const nodeName = nodeNameOf(request.user);
      if (nodeName === undefined) return;
      const { group, plural } = request.resource;
      const resource = group === '' ? plural : `${plural}.${group}`;
      const key = request.subresource === '' ? resource : `${resource}/${request.subresource}`;
      CHECKS[key]?.({ request, nodeName, reader });
    },
  };
}

function writtenName(request: AdmissionRequest): string {
  return request.name || request.object?.metadata?.name || '';
}

function checkPod({ request, nodeName }: Check): void {
  if (request.operation === 'DELETE') {
    const pod = request.oldObject as Pod | undefined;
    // Without the object (a collection) the authorizer has refused already.
    if (pod?.spec?.nodeName === nodeName) return;
    throw refuse(request, `node "${nodeName}" can only delete pods with spec.nodeName set to itself`);
  }
  if (request.operation !== 'CREATE')
    throw refuse(
      request,
      `unexpected operation "${request.operation}", node "${nodeName}" can only create and delete mirror pods`,
    );
  const pod = objectOf<Pod>(request);
  if (pod.metadata?.annotations?.[MIRROR_ANNOTATION] === undefined) {
    throw refuse(
      request,
      `pod does not have "${MIRROR_ANNOTATION}" annotation, node "${nodeName}" can only create mirror pods`,
    );
  }
  if (pod.spec?.nodeName !== nodeName) {
    throw refuse(request, `node "${nodeName}" can only create pods with spec.nodeName set to itself`);
  }
  const owners = pod.metadata.ownerReferences ?? [];
  const isOwned = owners.every(
    ({ kind, name, controller }) => kind === 'Node' && name === nodeName && controller,
  );
  if (owners.length > 1 || !isOwned) {
    throw refuse(request, `node "${nodeName}" can only create pods with an owner reference set to itself`);
  }
  const references = collectPodReferences(pod);
  const forbiddenSorts = [
    [pod.spec.serviceAccountName ? 1 : 0, 'a service account'],
    [references.secrets.size, 'secrets'],
    [references.configMaps.size, 'configmaps'],
    [references.claims.size, 'persistentvolumeclaims'],
    [references.resourceClaims.size, 'resourceclaims'],
  ] as const;
  for (const [count, what] of forbiddenSorts) {
    if (count > 0) throw refuse(request, `node "${nodeName}" can not create pods that reference ${what}`);
  }
}

function checkPodStatus({ request, nodeName }: Check): void {
  const old = request.oldObject as Pod | undefined;
  if (old?.spec?.nodeName !== nodeName) {
    throw refuse(
      request,
      `node "${nodeName}" can only update pod status for pods with spec.nodeName set to itself`,
    );
  }
  if (!isDeepStrictEqual({ ...old.metadata?.labels }, { ...request.object?.metadata?.labels })) {
    throw refuse(request, `node "${nodeName}" cannot update labels through pod status`);
  }
}

function checkEviction({ request, nodeName, reader }: Check): void {
  const pod = reader.get(PODS, writtenName(request), request.namespace);
  if (!pod || pod.spec?.nodeName === nodeName) return;
  throw refuse(request, `node ${nodeName} can only evict pods with spec.nodeName set to itself`);
}

function checkNode({ request, nodeName }: Check): void {
  const name = writtenName(request);
  if (name !== nodeName) throw refuse(request, `node "${nodeName}" is not allowed to modify node "${name}"`);
  if (request.operation === 'DELETE') return;
  const node = objectOf<Node>(request);
  const old = request.oldObject as Node | undefined;
  const before = old?.metadata?.labels ?? {};
  const after = node.metadata?.labels ?? {};
  const changed = [...new Set([...Object.keys(before), ...Object.keys(after)])].filter(
    (key) => before[key] !== after[key] && !isKubeletLabel(key),
  );
  if (changed.length > 0) {
    const verb = old ? 'modify labels' : 'set the following labels';
    throw refuse(request, `is not allowed to ${verb}: ${changed.toSorted().join(', ')}`);
  }
  if (!old) return;
  if (!isDeepStrictEqual(copyOf(old.spec?.taints), copyOf(node.spec?.taints))) {
    throw refuse(request, `node "${nodeName}" is not allowed to modify taints`);
  }
  if (!isDeepStrictEqual(copyOf(old.metadata?.ownerReferences), copyOf(node.metadata?.ownerReferences))) {
    throw refuse(request, `node "${nodeName}" is not allowed to modify ownerReferences`);
  }
}

function copyOf(list: readonly object[] | undefined): unknown {
  return JSON.parse(JSON.stringify(list ?? []));
}

/** Labels outside of Kubernetes' domains are free; of its own only those that kubelets have always set. */
function isKubeletLabel(key: string): boolean {
  const domain = key.includes('/') ? key.slice(0, key.indexOf('/')) : '';
  const isOurs = ['kubernetes.io', 'k8s.io'].some((ours) => domain === ours || domain.endsWith(`.${ours}`));
  if (!isOurs || KUBELET_LABELS.includes(key)) return true;
  return KUBELET_LABEL_DOMAINS.some((allowed) => domain === allowed || domain.endsWith(`.${allowed}`));
}

function checkToken({ request, nodeName, reader }: Check): void {
  const { spec } = objectOf<TokenRequest>(request);
  const reference = spec?.boundObjectRef;
  if (reference?.kind !== 'Pod' || reference.apiVersion !== 'v1' || !reference.name) {
    throw refuse(request, 'node requested token not bound to a pod');
  }
  if (!reference.uid) throw refuse(request, 'node requested token with a pod binding without a uid');
  const pod = reader.get(PODS, reference.name, request.namespace);
  if (!pod) throw refuse(request, `node requested token bound to a pod that does not exist`);
  if (pod.metadata?.uid !== reference.uid) {
    throw refuse(
      request,
      `the UID in the bound object reference (${reference.uid}) does not match the UID in record (${pod.metadata?.uid}). The object might have been deleted and then recreated`,
    );
  }
  if (pod.spec?.nodeName !== nodeName) {
    throw refuse(request, 'node requested token bound to a pod scheduled on a different node');
  }
  const unknown = spec.audiences?.find((audience) => audience !== '' && !podAudiences(pod).has(audience));
  if (unknown !== undefined) {
    throw refuse(
      request,
      `audience "${unknown}" not found in pod spec volume, system:node:${nodeName} is not authorized to request tokens for this audience`,
    );
  }
}

function podAudiences(pod: Pod): ReadonlySet<string> {
  const sources = (pod.spec?.volumes ?? []).flatMap((volume) => volume.projected?.sources ?? []);
  return new Set(sources.flatMap((source) => source.serviceAccountToken?.audience ?? []));
}

function checkLease({ request, nodeName }: Check): void {
  if (request.namespace !== LEASE_NAMESPACE) {
    throw refuse(request, `can only access leases in the "${LEASE_NAMESPACE}" system namespace`);
  }
  if (writtenName(request) !== nodeName) {
    throw refuse(request, 'can only access node lease with the same name as the requesting node');
  }
}
