import type * as core from 'kubernetes-types/core/v1.d.ts';
import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import type { UserInfo } from '../auth/types.ts';
import { formatResource } from '../store/keys.ts';

/** An object as the strategies look at it. */
export type AnyObject = KubeObject & { spec?: Record<string, unknown>; status?: Record<string, unknown> };

export interface StrategyContext {
  readonly user: UserInfo;
  readonly now: () => Date;
}

/** What is special about writing one resource; everything else follows from the resource table. */
export interface Strategy {
  /** `metadata.generation` counts changes of everything but metadata and status. */
  readonly hasGeneration?: boolean;
  /** A client may set the status when it creates the object. */
  readonly keepsStatusOnCreate?: boolean;
  /** PUT without a resourceVersion is refused. */
  readonly needsRevision?: boolean;
  /** PUT of an absent object creates it. */
  readonly createsOnUpdate?: boolean;
  /** Deletion without a policy leaves the dependents. */
  readonly orphansByDefault?: boolean;
  /** DELETE answers the object, not a Status. */
  readonly returnsDeleted?: boolean;
  readonly initialStatus?: (object: AnyObject, context: StrategyContext) => Record<string, unknown>;
  readonly prepareCreate?: (object: AnyObject, context: StrategyContext) => void;
  readonly prepareUpdate?: (object: AnyObject, old: AnyObject, context: StrategyContext) => void;
}

const GENERATION: Strategy = { hasGeneration: true };

/** Rows by "plural.group". */
const STRATEGIES: Readonly<Record<string, Strategy>> = {
  pods: {
    hasGeneration: true,
    returnsDeleted: true,
    initialStatus: (pod) => ({ phase: 'Pending', qosClass: qosClassOf(pod as core.Pod) }),
  },
  nodes: { keepsStatusOnCreate: true },
  namespaces: {
    initialStatus: () => ({ phase: 'Active' }),
    prepareCreate: (namespace) => {
      const finalizers = new Set((namespace.spec?.['finalizers'] as string[] | undefined) ?? []);
      namespace.spec = { ...namespace.spec, finalizers: [...finalizers.add('kubernetes')] };
    },
    prepareUpdate: (namespace, old) => {
      namespace.spec = { ...namespace.spec, finalizers: old.spec?.['finalizers'] };
    },
  },
  persistentvolumes: { initialStatus: () => ({ phase: 'Pending' }), returnsDeleted: true },
  persistentvolumeclaims: { initialStatus: () => ({ phase: 'Pending' }), returnsDeleted: true },
  services: { createsOnUpdate: true, initialStatus: () => ({ loadBalancer: {} }), returnsDeleted: true },
  endpoints: { createsOnUpdate: true },
  events: { createsOnUpdate: true },
  limitranges: { createsOnUpdate: true },
  podtemplates: { hasGeneration: true, returnsDeleted: true },
  serviceaccounts: { returnsDeleted: true },
  resourcequotas: { returnsDeleted: true },
  replicationcontrollers: { hasGeneration: true, orphansByDefault: true, initialStatus: noReplicas },
  'deployments.apps': GENERATION,
  'replicasets.apps': { hasGeneration: true, initialStatus: noReplicas },
  'statefulsets.apps': { hasGeneration: true, initialStatus: noReplicas },
  'daemonsets.apps': {
    hasGeneration: true,
    initialStatus: () => ({
      currentNumberScheduled: 0,
      desiredNumberScheduled: 0,
      numberMisscheduled: 0,
      numberReady: 0,
    }),
  },
  'jobs.batch': { hasGeneration: true, orphansByDefault: true },
  'cronjobs.batch': GENERATION,
  'ingresses.networking.k8s.io': { hasGeneration: true, initialStatus: () => ({ loadBalancer: {} }) },
  'ingressclasses.networking.k8s.io': GENERATION,
  'networkpolicies.networking.k8s.io': GENERATION,
  'poddisruptionbudgets.policy': {
    hasGeneration: true,
    needsRevision: true,
    initialStatus: () => ({ currentHealthy: 0, desiredHealthy: 0, disruptionsAllowed: 0, expectedPods: 0 }),
  },
  'endpointslices.discovery.k8s.io': GENERATION,
  'leases.coordination.k8s.io': { needsRevision: true, createsOnUpdate: true },
  'clusterroles.rbac.authorization.k8s.io': { createsOnUpdate: true },
  'clusterrolebindings.rbac.authorization.k8s.io': { createsOnUpdate: true },
  'roles.rbac.authorization.k8s.io': { createsOnUpdate: true },
  'rolebindings.rbac.authorization.k8s.io': { createsOnUpdate: true },
  'certificatesigningrequests.certificates.k8s.io': {
    prepareCreate: (request, { user }) => {
      request.spec = {
        ...request.spec,
        username: user.name,
        ...(user.uid ? { uid: user.uid } : {}),
        groups: [...user.groups],
        ...(user.extra ? { extra: user.extra } : {}),
      };
    },
    prepareUpdate: (request, old) => {
      if (old.spec) request.spec = old.spec;
    },
  },
  'customresourcedefinitions.apiextensions.k8s.io': { hasGeneration: true, needsRevision: true },
  'priorityclasses.scheduling.k8s.io': GENERATION,
  'runtimeclasses.node.k8s.io': { needsRevision: true },
  'csinodes.storage.k8s.io': { needsRevision: true },
  'flowschemas.flowcontrol.apiserver.k8s.io': GENERATION,
  'prioritylevelconfigurations.flowcontrol.apiserver.k8s.io': GENERATION,
  'validatingwebhookconfigurations.admissionregistration.k8s.io': {
    hasGeneration: true,
    needsRevision: true,
  },
  'mutatingwebhookconfigurations.admissionregistration.k8s.io': { hasGeneration: true, needsRevision: true },
  'validatingadmissionpolicies.admissionregistration.k8s.io': GENERATION,
  'validatingadmissionpolicybindings.admissionregistration.k8s.io': GENERATION,
};

const DEFAULT_STRATEGY: Strategy = {};

/** The strategy of a row; `{}` when nothing is special. */
export function strategyOf(row: Pick<ResourceRow, 'group' | 'plural'>): Strategy {
  return STRATEGIES[formatResource(row)] ?? DEFAULT_STRATEGY;
}

/** The names of all strategies, for the table's test. */
export const STRATEGY_NAMES: readonly string[] = Object.keys(STRATEGIES);

/** Upstream's quality-of-service class of a pod, from the requests and limits of its containers. */
export function qosClassOf(pod: core.Pod): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const all = [...(pod.spec?.containers ?? []), ...(pod.spec?.initContainers ?? [])];
  const names = ['cpu', 'memory'] as const;
  const amounts = all.flatMap(({ resources }) =>
    names.map((name) => {
      const limit = resources?.limits?.[name];
      return { limit, request: resources?.requests?.[name] ?? limit };
    }),
  );
  if (amounts.every(({ limit, request }) => isZero(limit) && isZero(request))) return 'BestEffort';
  const isGuaranteed = amounts.every(({ limit, request }) => !isZero(limit) && limit === request);
  return isGuaranteed ? 'Guaranteed' : 'Burstable';
}

function isZero(quantity: string | undefined): boolean {
  return quantity === undefined || Number.parseFloat(quantity) === 0;
}

function noReplicas(): Record<string, unknown> {
  return { replicas: 0 };
}
