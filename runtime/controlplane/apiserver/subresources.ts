import type * as core from 'kubernetes-types/core/v1.d.ts';
import type * as policy from 'kubernetes-types/policy/v1.d.ts';
import { type KubeObject, POD_DISRUPTION_BUDGETS } from '../../api/kinds.ts';
import { formatLabelSelector, type LabelSelector, matchesLabelSelector } from '../../api/label-selectors.ts';
import type { ResourceRow } from '../../api/resources.ts';
import { formatTime } from '../../api/time.ts';
import { formatResource } from '../store/keys.ts';
import { sendJson } from './answers.ts';
import { mediaTypeOf, readBody } from './body.ts';
import type { Call } from './call.ts';
import { isDryRun } from './call.ts';
import { type DeleteOptions, deleteObject } from './delete-handlers.ts';
import { getObject } from './list-handler.ts';
import { chooseAccepted, isPlain } from './negotiate.ts';
import { parsePatch } from './patcher.ts';
import type { PodStreams } from './pod-streams.ts';
import type { UpgradeSocket } from './server.ts';
import { StatusError } from './status-error.ts';
import { badRequest, conflict, notFound } from './status-errors.ts';
import type { AnyObject } from './strategies.ts';
import { readObject, targetOf, type WriteDependencies } from './write-handlers.ts';

export type CallHandler = (call: Call, upgrade: UpgradeSocket | undefined) => Promise<void>;

/** Answers the review of a kind (TokenReview, SubjectAccessReview, ...). */
export type ReviewHandler = (call: Call, review: KubeObject) => Promise<KubeObject> | KubeObject;

export interface SubresourceOptions extends WriteDependencies {
  readonly streams: PodStreams;
  readonly reviews: Readonly<Record<string, ReviewHandler>>;
  /** POST serviceaccounts/NAME/token */
  readonly issueToken: (call: Call, request: KubeObject) => Promise<KubeObject> | KubeObject;
}

/** The handlers of paths that are more than reading and writing an object. */
export class SubresourceHandlers {
  readonly #handlers: ReadonlyMap<string, CallHandler>;
  readonly #scale: CallHandler;
  readonly #reviews: Readonly<Record<string, ReviewHandler>>;
  readonly #review: CallHandler;

  constructor(options: SubresourceOptions) {
    const { streams } = options;
    const bind: CallHandler = (call) => bindPod(options, call);
    this.#handlers = new Map<string, CallHandler>([
      ['bindings/', bind],
      ['pods/binding', bind],
      ['pods/eviction', (call) => evictPod(options, call)],
      ['pods/log', (call) => streams.log(call)],
      ['pods/exec', (call, upgrade) => streams.exec(call, upgrade)],
      ['pods/attach', (call, upgrade) => streams.exec(call, upgrade)],
      ['pods/portforward', (call, upgrade) => streams.portForward(call, upgrade)],
      ['pods/proxy', (call, upgrade) => streams.proxyPod(call, upgrade)],
      ['services/proxy', (call, upgrade) => streams.proxyService(call, upgrade)],
      ['nodes/proxy', (call, upgrade) => streams.proxyNode(call, upgrade)],
      ['serviceaccounts/token', (call) => issueToken(options, call)],
      ['componentstatuses/', (call) => answerComponentStatuses(call)],
    ]);
    this.#scale = (call) => answerScale(options, call);
    this.#reviews = options.reviews;
    this.#review = (call) => answerReview(options, call);
  }

  /** The handler of a call that has one of its own. */
  find(call: Call): CallHandler | undefined {
    if (call.info.subresource === 'scale') return this.#scale;
    if (call.info.subresource === '' && this.#reviews[call.row.kind]) return this.#review;
    return this.#handlers.get(`${formatResource(call.row)}/${call.info.subresource}`);
  }
}

async function answerReview(options: SubresourceOptions, call: Call): Promise<void> {
  chooseAccepted(call.request.headers.accept, isPlain);
  const review = await readObject(options.codec, call, call.row);
  const answer = await options.reviews[call.row.kind]!(call, review);
  const { kind, group, version } = call.row;
  const apiVersion = group === '' ? version : `${group}/${version}`;
  sendJson(call.response, 201, { ...answer, kind, apiVersion });
}

async function issueToken(options: SubresourceOptions, call: Call): Promise<void> {
  const row = { group: 'authentication.k8s.io', version: 'v1', kind: 'TokenRequest' };
  const object = await readObject(options.codec, call, row);
  const change = { operation: 'CREATE', object, oldObject: undefined } as const;
  const issue = async () => options.issueToken(call, object);
  const answer = await options.registry.admit(targetOf(call), change, issue);
  sendJson(call.response, 201, { ...answer, kind: 'TokenRequest', apiVersion: 'authentication.k8s.io/v1' });
}

async function bindPod(options: SubresourceOptions, call: Call): Promise<void> {
  const binding = (await readObject(options.codec, call, {
    group: '',
    version: 'v1',
    kind: 'Binding',
  })) as core.Binding;
  const name = call.info.name || (binding.metadata?.name ?? '');
  const node = binding.target?.name;
  if (!node) throw badRequest('target.name: Required value');
  const pods = podsRow(options);
  const target = {
    ...targetOf(call, { namespace: call.info.namespace, name }),
    row: pods,
    subresource: 'binding',
  };
  await options.registry.update(target, {
    isConditional: false,
    change: (pod) => bound(pods, pod, binding),
  });
  sendJson(call.response, 201, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    code: 201,
  });
}

function bound(pods: ResourceRow, pod: AnyObject, binding: core.Binding): AnyObject {
  const { name = '', uid, deletionTimestamp } = pod.metadata ?? {};
  const wanted = binding.metadata?.uid;
  if (wanted && wanted !== uid) {
    throw conflict(
      pods,
      name,
      `Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${uid}`,
    );
  }
  if (deletionTimestamp)
    throw conflict(pods, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  const node = pod.spec?.['nodeName'];
  if (node) throw conflict(pods, name, `pod ${name} is already assigned to node "${node}"`);
  const conditions = ((pod.status?.['conditions'] ?? []) as core.PodCondition[]).filter(
    (condition) => condition.type !== 'PodScheduled',
  );
  const scheduled = {
    type: 'PodScheduled',
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: formatTime(new Date()),
  };
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      ...(binding.metadata?.annotations
        ? { annotations: { ...pod.metadata?.annotations, ...binding.metadata.annotations } }
        : {}),
    },
    spec: { ...pod.spec, nodeName: binding.target.name },
    status: { ...pod.status, conditions: [...conditions, scheduled] },
  };
}

async function evictPod(options: SubresourceOptions, call: Call): Promise<void> {
  const row = { group: 'policy', version: 'v1', kind: 'Eviction' };
  const eviction = (await readObject(options.codec, call, row)) as KubeObject & {
    deleteOptions?: DeleteOptions;
  };
  const { name, namespace } = call.info;
  const pods = podsRow(options);
  const current = options.registry.find({ row: pods, namespace, name });
  if (!current) throw notFound(pods, name);
  const pod = current.object as core.Pod;
  const phase = pod.status?.phase;
  const dryRun = isDryRun(call.info.query, eviction.deleteOptions?.dryRun ?? []);
  const isFree =
    phase === 'Succeeded' || phase === 'Failed' || phase === 'Pending' || pod.metadata?.deletionTimestamp;
  if (!isFree) await spendDisruption(options, call, pod, dryRun);
  await deleteObject(options.registry, call, eviction.deleteOptions ?? {});
  sendJson(call.response, 201, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    code: 201,
  });
}

async function spendDisruption(
  options: SubresourceOptions,
  call: Call,
  pod: core.Pod,
  dryRun: boolean,
): Promise<void> {
  const { registry } = options;
  const budgets = registry.state
    .list(POD_DISRUPTION_BUDGETS, call.info.namespace)
    .filter((budget) => matchesLabelSelector(budget.spec?.selector, pod.metadata?.labels));
  if (budgets.length > 1) {
    throw new StatusError(500, {
      reason: 'InternalError',
      message:
        'This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.',
    });
  }
  const name = budgets[0]?.metadata?.name;
  if (name === undefined) return;
  const base = targetOf(call, { namespace: call.info.namespace, name });
  const target = {
    ...base,
    row: POD_DISRUPTION_BUDGETS,
    subresource: 'status',
    isDryRun: base.isDryRun || dryRun,
  };
  const podName = pod.metadata?.name ?? '';
  await registry.update(target, { isConditional: false, change: (budget) => spent(budget, podName) });
}

function spent(budget: AnyObject, podName: string): AnyObject {
  const status = (budget.status ?? {}) as Partial<policy.PodDisruptionBudgetStatus>;
  const { name } = budget.metadata ?? {};
  const isStale = (status.observedGeneration ?? 0) < (budget.metadata?.generation ?? 0);
  if (isStale) throw tooMany(`The disruption budget ${name} is still being processed by the server.`, 10);
  const allowed = status.disruptionsAllowed ?? 0;
  if (allowed <= 0) {
    const { desiredHealthy = 0, currentHealthy = 0 } = status;
    throw tooMany(
      `The disruption budget ${name} needs ${desiredHealthy} healthy pods and has ${currentHealthy} currently`,
    );
  }
  return {
    ...budget,
    status: {
      ...status,
      disruptionsAllowed: allowed - 1,
      disruptedPods: { ...status.disruptedPods, [podName]: formatTime(new Date()) },
    },
  };
}

function tooMany(cause: string, retryAfterSeconds?: number): StatusError {
  return new StatusError(429, {
    reason: 'TooManyRequests',
    message: "Cannot evict pod as it would violate the pod's disruption budget.",
    details: {
      causes: [{ reason: 'DisruptionBudget', message: cause }],
      ...(retryAfterSeconds ? { retryAfterSeconds } : {}),
    },
    ...(retryAfterSeconds ? { headers: { 'Retry-After': String(retryAfterSeconds) } } : {}),
  });
}

async function answerScale(options: SubresourceOptions, call: Call): Promise<void> {
  if (call.info.verb === 'get') {
    return sendJson(
      call.response,
      200,
      formatScale(getObject(options.registry.state, call).object as AnyObject),
    );
  }
  const change = await readScaleChange(options, call);
  const { object } = await options.registry.update(targetOf(call), { isConditional: false, change });
  sendJson(call.response, 200, formatScale(object.object as AnyObject));
}

async function readScaleChange(
  options: SubresourceOptions,
  call: Call,
): Promise<(object: AnyObject) => AnyObject> {
  const row = { group: 'autoscaling', version: 'v1', kind: 'Scale' };
  if (call.info.verb === 'patch') {
    const body = await readBody(call.request);
    const patch = parsePatch(await options.loadPatches(), mediaTypeOf(call.request), body);
    const scaleRow = { ...call.row, ...row };
    return (object) => withReplicas(call, object, patch.apply(formatScale(object), scaleRow) as AnyObject);
  }
  const scale = await readObject(options.codec, call, row);
  return (object) => withReplicas(call, object, scale);
}

function withReplicas(call: Call, object: AnyObject, scale: AnyObject): AnyObject {
  const { resourceVersion } = scale.metadata ?? {};
  if (resourceVersion && resourceVersion !== object.metadata?.resourceVersion) {
    throw conflict(
      call.row,
      call.info.name,
      'the object has been modified; please apply your changes to the latest version and try again',
    );
  }
  const replicas = scale.spec?.['replicas'] ?? 0;
  if (typeof replicas !== 'number' || replicas < 0)
    throw badRequest(`spec.replicas: Invalid value: ${replicas}: must be greater than or equal to 0`);
  return { ...object, spec: { ...object.spec, replicas } };
}

function formatScale(object: AnyObject): AnyObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata ?? {};
  const selector = formatSelector(object.spec?.['selector']);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as NonNullable<
      AnyObject['metadata']
    >,
    spec: { replicas: object.spec?.['replicas'] ?? 0 },
    status: { replicas: object.status?.['replicas'] ?? 0, ...(selector ? { selector } : {}) },
  };
}

/** A selector as text; a ReplicationController's is a plain map of labels. */
function formatSelector(selector: unknown): string {
  if (selector === undefined || selector === null) return '';
  const isPlain = !('matchLabels' in Object(selector) || 'matchExpressions' in Object(selector));
  return formatLabelSelector((isPlain ? { matchLabels: selector } : selector) as LabelSelector);
}

async function answerComponentStatuses(call: Call): Promise<void> {
  const item = (name: string, message: string) => ({
    kind: 'ComponentStatus',
    apiVersion: 'v1',
    metadata: { name, creationTimestamp: null },
    conditions: [{ type: 'Healthy', status: 'True', message }],
  });
  // Only the store is this server's to judge; the other two have health endpoints of their own.
  const items = [item('etcd-0', 'ok')];
  if (call.info.verb === 'list') {
    return sendJson(call.response, 200, {
      kind: 'ComponentStatusList',
      apiVersion: 'v1',
      metadata: {},
      items,
    });
  }
  const found = items.find((candidate) => candidate.metadata.name === call.info.name);
  if (!found) throw notFound(call.row, call.info.name);
  sendJson(call.response, 200, found);
}

function podsRow(options: SubresourceOptions): ResourceRow {
  return options.registry.state.resource({ group: '', plural: 'pods' }).row;
}
