import { defaultPod, defaultPodTemplate } from './defaults-pod.ts';
import { ensureObject, getObject, getObjects, getString } from './schema/access.ts';
import { isJsonObject, type JsonObject } from './schema/types.ts';

/** Fields and the values that they take when they are not set; a function builds the value. */
type DefaultValues = Readonly<Record<string, unknown>>;

function fill(object: JsonObject | undefined, values: DefaultValues): void {
  if (!object) return;
  for (const [key, value] of Object.entries(values)) {
    const has = object[key];
    if (has === undefined || has === null || has === '') object[key] = structuredClone(value);
  }
}

function labelsOfTemplate(spec: JsonObject): JsonObject | undefined {
  return getObject(getObject(getObject(spec, 'template'), 'metadata'), 'labels');
}

function defaultWorkload(spec: JsonObject): void {
  const template = getObject(spec, 'template');
  if (template) defaultPodTemplate(template);
}

function defaultRollingUpdate(strategy: JsonObject, values: DefaultValues): void {
  fill(strategy, { type: 'RollingUpdate' });
  if (strategy['type'] === 'RollingUpdate') fill(ensureObject(strategy, 'rollingUpdate'), values);
}

function defaultDeployment(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600 });
  defaultRollingUpdate(ensureObject(spec, 'strategy'), { maxUnavailable: '25%', maxSurge: '25%' });
  defaultWorkload(spec);
}

function defaultReplicaSet(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { replicas: 1 });
  defaultWorkload(spec);
}

function defaultReplicationController(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  const labels = labelsOfTemplate(spec);
  if (labels) {
    if (!getObject(spec, 'selector')) spec['selector'] = { ...labels };
    const metadata = ensureObject(object, 'metadata');
    if (!getObject(metadata, 'labels')) metadata['labels'] = { ...labels };
  }
  defaultReplicaSet(object);
}

function defaultDaemonSet(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { revisionHistoryLimit: 10 });
  defaultRollingUpdate(ensureObject(spec, 'updateStrategy'), { maxUnavailable: 1, maxSurge: 0 });
  defaultWorkload(spec);
}

function defaultStatefulSet(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { replicas: 1, revisionHistoryLimit: 10, podManagementPolicy: 'OrderedReady' });
  defaultRollingUpdate(ensureObject(spec, 'updateStrategy'), { partition: 0 });
  fill(ensureObject(spec, 'persistentVolumeClaimRetentionPolicy'), {
    whenDeleted: 'Retain',
    whenScaled: 'Retain',
  });
  defaultWorkload(spec);
  for (const claim of getObjects(spec, 'volumeClaimTemplates')) {
    fill(claim, { apiVersion: 'v1', kind: 'PersistentVolumeClaim' });
    defaultClaim(claim);
  }
}

function defaultJobSpec(spec: JsonObject): void {
  if (spec['completions'] === undefined && spec['parallelism'] === undefined) {
    spec['completions'] = 1;
    spec['parallelism'] = 1;
  }
  fill(spec, { parallelism: 1, completionMode: 'NonIndexed', suspend: false });
  if (spec['backoffLimit'] === undefined)
    spec['backoffLimit'] = spec['backoffLimitPerIndex'] === undefined ? 6 : 2147483647;
  if (spec['podReplacementPolicy'] === undefined)
    spec['podReplacementPolicy'] = spec['podFailurePolicy'] ? 'Failed' : 'TerminatingOrFailed';
  for (const rule of getObjects(spec['podFailurePolicy'], 'rules'))
    for (const condition of getObjects(rule, 'onPodConditions')) fill(condition, { status: 'True' });
  defaultWorkload(spec);
}

function defaultJob(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  const labels = labelsOfTemplate(spec);
  const metadata = ensureObject(object, 'metadata');
  if (labels && !getObject(metadata, 'labels')) metadata['labels'] = { ...labels };
  defaultJobSpec(spec);
}

function defaultCronJob(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, {
    concurrencyPolicy: 'Allow',
    suspend: false,
    successfulJobsHistoryLimit: 3,
    failedJobsHistoryLimit: 1,
  });
  const jobSpec = getObject(getObject(spec, 'jobTemplate'), 'spec');
  const template = getObject(jobSpec, 'template');
  if (template) defaultPodTemplate(template);
}

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

function defaultClaimSpec(spec: JsonObject): void {
  fill(spec, { volumeMode: 'Filesystem' });
}

function defaultClaim(object: JsonObject): void {
  defaultClaimSpec(ensureObject(object, 'spec'));
  fill(ensureObject(object, 'status'), { phase: 'Pending' });
}

function defaultVolume(object: JsonObject): void {
  const spec = ensureObject(object, 'spec');
  fill(spec, { persistentVolumeReclaimPolicy: 'Retain', volumeMode: 'Filesystem' });
  if (isJsonObject(spec['hostPath']) && spec['hostPath']['type'] === undefined) spec['hostPath']['type'] = '';
  fill(ensureObject(object, 'status'), { phase: 'Pending' });
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

function defaultStorageClass(object: JsonObject): void {
  fill(object, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' });
}

function defaultCsiDriver(object: JsonObject): void {
  fill(ensureObject(object, 'spec'), {
    attachRequired: true,
    podInfoOnMount: false,
    storageCapacity: false,
    fsGroupPolicy: 'ReadWriteOnceWithFSType',
    volumeLifecycleModes: ['Persistent'],
    requiresRepublish: false,
    seLinuxMount: false,
  });
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
