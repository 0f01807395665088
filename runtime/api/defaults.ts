import { type DefaultValues, fill } from './defaults-fill.ts';
import { defaultPod } from './defaults-pod.ts';
import { defaultClaim, defaultCsiDriver, defaultStorageClass, defaultVolume } from './defaults-storage.ts';
import {
  defaultCronJob,
  defaultDaemonSet,
  defaultDeployment,
  defaultJob,
  defaultReplicaSet,
  defaultReplicationController,
  defaultStatefulSet,
  defaultWorkload,
} from './defaults-workloads.ts';
import { ensureObject, getObject, getObjects, getString } from './schema/access.ts';
import type { JsonObject } from './schema/types.ts';

function defaultService(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { type: 'ClusterIP', sessionAffinity: 'None' });
  const type = getString(spec, 'type');
  if (spec['sessionAffinity'] === 'ClientIP')
    fill(ensureObject(ensureObject(spec, 'sessionAffinityConfig'), 'clientIP'), { timeoutSeconds: 10800 });
  if (type !== 'ExternalName') fill(spec, { internalTrafficPolicy: 'Cluster' });
  const hasExternalIps = type === 'ClusterIP' && Array.isArray(spec['externalIPs']);
  if (type === 'NodePort' || type === 'LoadBalancer' || hasExternalIps)
    fill(spec, { externalTrafficPolicy: 'Cluster' });
  if (type === 'LoadBalancer') fill(spec, { allocateLoadBalancerNodePorts: true });
  for (const port of getObjects(spec, 'ports')) {
    fill(port, { protocol: 'TCP' });
    const target = port['targetPort'];
    if (target === undefined || target === 0 || target === '') port['targetPort'] = port['port'];
  }
  fill(ensureObject(object, 'status'), { loadBalancer: {} });
}

/** Texts of `stringData` move to `data`, over what is there. */
function defaultSecret(object: JsonObject): void {
  fill(object, { type: 'Opaque' });
  const texts = getObject(object, 'stringData');
  if (!texts) return;
  const data = ensureObject(object, 'data');
  for (const [key, text] of Object.entries(texts)) data[key] = Buffer.from(String(text)).toString('base64');
  delete object['stringData'];
}

function defaultEndpoints(object: JsonObject): void {
  for (const subset of getObjects(object, 'subsets'))
    for (const port of getObjects(subset, 'ports')) fill(port, { protocol: 'TCP' });
}

function defaultEndpointSlice(object: JsonObject): void {
  for (const port of getObjects(object, 'ports')) {
    if (port['name'] === undefined) port['name'] = '';
    fill(port, { protocol: 'TCP' });
  }
}

function defaultNamespace(object: JsonObject): void {
  fill(ensureObject(object, 'status'), { phase: 'Active' });
  const metadata = ensureObject(object, 'metadata');
  const name = getString(metadata, 'name');
  if (name) ensureObject(metadata, 'labels')['kubernetes.io/metadata.name'] = name;
}

function defaultNode(object: JsonObject): void {
  const status = getObject(object, 'status');
  if (status?.['capacity'] && !status['allocatable'])
    status['allocatable'] = structuredClone(status['capacity']);
}

function defaultBinding(object: JsonObject): void {
  const group = 'rbac.authorization.k8s.io';
  fill(getObject(object, 'roleRef'), { apiGroup: group });
  for (const subject of getObjects(object, 'subjects')) {
    if (subject['kind'] === 'User' || subject['kind'] === 'Group') fill(subject, { apiGroup: group });
  }
}

function defaultLimitRange(object: JsonObject): void {
  for (const limit of getObjects(object['spec'], 'limits')) {
    if (limit['type'] !== 'Container') continue;
    const max = getObject(limit, 'max');
    const min = getObject(limit, 'min');
    const given = getObject(limit, 'default');
    if (max || given) limit['default'] = { ...max, ...given };
    const defaults = getObject(limit, 'default');
    const requests = getObject(limit, 'defaultRequest');
    if (defaults || min || requests) limit['defaultRequest'] = { ...min, ...defaults, ...requests };
  }
}

function defaultBudget(object: JsonObject): void {
  ensureObject(object, 'spec');
}

function defaultAutoscaler(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { minReplicas: 1 });
  if (object['apiVersion'] === 'autoscaling/v1') return;
  const cpu = {
    type: 'Resource',
    resource: { name: 'cpu', target: { type: 'Utilization', averageUtilization: 80 } },
  };
  if (getObjects(spec, 'metrics').length === 0) spec['metrics'] = [cpu];
  const behavior = getObject(spec, 'behavior');
  if (!behavior) return;
  fill(ensureObject(behavior, 'scaleUp'), {
    stabilizationWindowSeconds: 0,
    selectPolicy: 'Max',
    policies: [
      { type: 'Pods', value: 4, periodSeconds: 15 },
      { type: 'Percent', value: 100, periodSeconds: 15 },
    ],
  });
  fill(ensureObject(behavior, 'scaleDown'), {
    selectPolicy: 'Max',
    policies: [{ type: 'Percent', value: 100, periodSeconds: 15 }],
  });
}

function defaultNetworkPolicy(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  for (const rule of [...getObjects(spec, 'ingress'), ...getObjects(spec, 'egress')])
    for (const port of getObjects(rule, 'ports')) fill(port, { protocol: 'TCP' });
  if (spec['policyTypes'] === undefined)
    spec['policyTypes'] = spec['egress'] === undefined ? ['Ingress'] : ['Ingress', 'Egress'];
}

function defaultDefinition(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { scope: 'Namespaced' });
  const names = ensureObject(spec, 'names');
  const kind = getString(names, 'kind');
  if (kind) fill(names, { singular: kind.toLowerCase(), listKind: `${kind}List` });
  const conversion = ensureObject(spec, 'conversion');
  fill(conversion, { strategy: 'None' });
  const webhook = getObject(conversion, 'webhook');
  fill(getObject(getObject(webhook, 'clientConfig'), 'service'), { port: 443 });
}

const WEBHOOK_DEFAULTS: DefaultValues = {
  failurePolicy: 'Fail',
  matchPolicy: 'Equivalent',
  namespaceSelector: {},
  objectSelector: {},
  timeoutSeconds: 10,
};

function defaultWebhooks(object: JsonObject): void {
  for (const webhook of getObjects(object, 'webhooks')) {
    fill(webhook, WEBHOOK_DEFAULTS);
    if (object['kind'] === 'MutatingWebhookConfiguration') fill(webhook, { reinvocationPolicy: 'Never' });
    fill(getObject(getObject(webhook, 'clientConfig'), 'service'), { port: 443 });
    for (const rule of getObjects(webhook, 'rules')) fill(rule, { scope: '*' });
  }
}

function defaultAdmissionPolicy(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { failurePolicy: 'Fail' });
  const constraints = getObject(spec, 'matchConstraints');
  if (!constraints) return;
  fill(constraints, { matchPolicy: 'Equivalent', namespaceSelector: {}, objectSelector: {} });
  for (const rule of [
    ...getObjects(constraints, 'resourceRules'),
    ...getObjects(constraints, 'excludeResourceRules'),
  ])
    fill(rule, { scope: '*' });
}

function defaultApiService(object: JsonObject): void {
  fill(getObject(ensureObject(object, 'spec'), 'service'), { port: 443 });
}

function defaultPriorityLevel(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  const limited = getObject(spec, 'limited');
  if (!limited) return;
  fill(limited, { nominalConcurrencyShares: 30, lendablePercent: 0 });
}

function defaultPodTemplateObject(object: JsonObject): void {
  defaultWorkload(object);
}

/** What each kind sets in place, by "apiVersion/Kind". */
const DEFAULTERS: Readonly<Record<string, (object: JsonObject) => void>> = {
  'v1/Pod': defaultPod,
  'v1/PodTemplate': defaultPodTemplateObject,
  'v1/ReplicationController': defaultReplicationController,
  'v1/Service': defaultService,
  'v1/Secret': defaultSecret,
  'v1/Endpoints': defaultEndpoints,
  'v1/Namespace': defaultNamespace,
  'v1/Node': defaultNode,
  'v1/LimitRange': defaultLimitRange,
  'v1/PersistentVolumeClaim': defaultClaim,
  'v1/PersistentVolume': defaultVolume,
  'apps/v1/Deployment': defaultDeployment,
  'apps/v1/ReplicaSet': defaultReplicaSet,
  'apps/v1/DaemonSet': defaultDaemonSet,
  'apps/v1/StatefulSet': defaultStatefulSet,
  'batch/v1/Job': defaultJob,
  'batch/v1/CronJob': defaultCronJob,
  'autoscaling/v1/HorizontalPodAutoscaler': defaultAutoscaler,
  'autoscaling/v2/HorizontalPodAutoscaler': defaultAutoscaler,
  'policy/v1/PodDisruptionBudget': defaultBudget,
  'networking.k8s.io/v1/NetworkPolicy': defaultNetworkPolicy,
  'networking.k8s.io/v1/IngressClass': (object) =>
    fill(getObject(object['spec'], 'parameters'), { scope: 'Cluster' }),
  'discovery.k8s.io/v1/EndpointSlice': defaultEndpointSlice,
  'rbac.authorization.k8s.io/v1/RoleBinding': defaultBinding,
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': defaultBinding,
  'storage.k8s.io/v1/StorageClass': defaultStorageClass,
  'storage.k8s.io/v1/CSIDriver': defaultCsiDriver,
  'scheduling.k8s.io/v1/PriorityClass': (object) =>
    fill(object, { preemptionPolicy: 'PreemptLowerPriority' }),
  'apiextensions.k8s.io/v1/CustomResourceDefinition': defaultDefinition,
  'apiregistration.k8s.io/v1/APIService': defaultApiService,
  'admissionregistration.k8s.io/v1/MutatingWebhookConfiguration': defaultWebhooks,
  'admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration': defaultWebhooks,
  'admissionregistration.k8s.io/v1/ValidatingAdmissionPolicy': defaultAdmissionPolicy,
  'admissionregistration.k8s.io/v1/MutatingAdmissionPolicy': defaultAdmissionPolicy,
  'flowcontrol.apiserver.k8s.io/v1/PriorityLevelConfiguration': defaultPriorityLevel,
  'flowcontrol.apiserver.k8s.io/v1/FlowSchema': (object) =>
    fill(ensureObject(object, 'spec'), { matchingPrecedence: 1000 }),
  'authentication.k8s.io/v1/TokenRequest': (object) =>
    fill(ensureObject(object, 'spec'), { expirationSeconds: 3600 }),
};

/** Sets the fields that the object leaves out to what the v1 API defines, in place; idempotent. */
export function applyDefaults(apiVersion: string, kind: string, object: JsonObject): void {
  DEFAULTERS[`${apiVersion}/${kind}`]?.(object);
}
