import type { PersistentVolumeClaim, Pod, ResourceQuota, Service } from 'kubernetes-types/core/v1.d.ts';
import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import { podResources, type ResourceAmounts, toAmounts } from './pod-resources.ts';
import { qosClassOf } from './strategies/pod.ts';
import { servicePorts } from './strategies/service-allocation.ts';

const ONE = 1_000_000_000n;
/** Core resources whose plain plural is a quota name too. */
const COUNTED = [
  'configmaps',
  'persistentvolumeclaims',
  'replicationcontrollers',
  'resourcequotas',
  'secrets',
  'services',
];
/** Compute resources that quotas may name without "requests.". */
const SHORT_NAMES = ['cpu', 'memory', 'ephemeral-storage'];

/** What one object uses of every quota name that could hold it. */
export function usageOf(resource: ResourceRow, object: KubeObject): ResourceAmounts {
  const { group, plural } = resource;
  const usage: ResourceAmounts = new Map([[`count/${group === '' ? plural : `${plural}.${group}`}`, ONE]]);
  if (group !== '') return usage;
  if (COUNTED.includes(plural)) usage.set(plural, ONE);
  if (plural === 'pods') addPod(usage, object as Pod);
  if (plural === 'services') addService(usage, object as Service);
  if (plural === 'persistentvolumeclaims') addClaim(usage, object as PersistentVolumeClaim);
  return usage;
}

/** A pod that has ended uses nothing but its place in count/pods. */
function addPod(usage: ResourceAmounts, pod: Pod): void {
  if (!pod.spec || pod.status?.phase === 'Succeeded' || pod.status?.phase === 'Failed') return;
  usage.set('pods', ONE);
  for (const [name, amount] of podResources(pod.spec, 'requests')) {
    usage.set(`requests.${name}`, amount);
    if (SHORT_NAMES.includes(name) || name.startsWith('hugepages-')) usage.set(name, amount);
  }
  for (const [name, amount] of podResources(pod.spec, 'limits')) usage.set(`limits.${name}`, amount);
}

function addService(usage: ResourceAmounts, service: Service): void {
  const isBalanced = service.spec?.type === 'LoadBalancer';
  if (isBalanced) usage.set('services.loadbalancers', ONE);
  if (!isBalanced && service.spec?.type !== 'NodePort') return;
  usage.set('services.nodeports', BigInt(servicePorts(service).length) * ONE);
}

function addClaim(usage: ResourceAmounts, claim: PersistentVolumeClaim): void {
  const requests = toAmounts(claim.spec?.resources?.requests as Record<string, string> | undefined);
  const storage = requests.get('storage') ?? 0n;
  usage.set('requests.storage', storage);
  const className = claim.spec?.storageClassName;
  if (!className) return;
  usage.set(`${className}.storageclass.storage.k8s.io/requests.storage`, storage);
  usage.set(`${className}.storageclass.storage.k8s.io/persistentvolumeclaims`, ONE);
}

/** True when all scopes of the quota take this object in; scopes other than none are about pods alone. */
export function isInScope(quota: ResourceQuota, resource: ResourceRow, object: KubeObject): boolean {
  const terms = [
    ...(quota.spec?.scopes ?? []).map((scopeName) => ({
      scopeName: String(scopeName),
      operator: 'Exists',
      values: [] as string[],
    })),
    ...(quota.spec?.scopeSelector?.matchExpressions ?? []).map((term) => ({
      ...term,
      scopeName: String(term.scopeName),
      values: term.values ?? [],
    })),
  ];
  if (terms.length === 0) return true;
  if (resource.group !== '' || resource.plural !== 'pods') return false;
  return terms.every((term) => matchesScope(object as Pod, term));
}

function matchesScope(
  pod: Pod,
  term: { readonly scopeName: string; readonly operator: string; readonly values: readonly string[] },
): boolean {
  const { spec } = pod;
  switch (term.scopeName) {
    case 'Terminating':
      return spec?.activeDeadlineSeconds !== undefined;
    case 'NotTerminating':
      return spec?.activeDeadlineSeconds === undefined;
    case 'BestEffort':
      return qosClassOf(spec) === 'BestEffort';
    case 'NotBestEffort':
      return qosClassOf(spec) !== 'BestEffort';
    case 'CrossNamespacePodAffinity':
      return hasCrossNamespaceAffinity(spec);
    case 'PriorityClass':
      return matchesPriority(spec?.priorityClassName ?? '', term);
    default:
      return false;
  }
}

function matchesPriority(
  name: string,
  { operator, values }: { operator: string; values: readonly string[] },
): boolean {
  if (operator === 'In') return values.includes(name);
  if (operator === 'NotIn') return !values.includes(name);
  return (operator === 'Exists') === (name !== '');
}

function hasCrossNamespaceAffinity(spec: Pod['spec']): boolean {
  const sorts = [spec?.affinity?.podAffinity, spec?.affinity?.podAntiAffinity];
  const terms = sorts.flatMap((sort) => [
    ...(sort?.requiredDuringSchedulingIgnoredDuringExecution ?? []),
    ...(sort?.preferredDuringSchedulingIgnoredDuringExecution ?? []).map(
      ({ podAffinityTerm }) => podAffinityTerm,
    ),
  ]);
  return terms.some(
    ({ namespaces, namespaceSelector }) => (namespaces?.length ?? 0) > 0 || namespaceSelector,
  );
}
