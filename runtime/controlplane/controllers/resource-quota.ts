import type { Pod, ResourceQuota } from 'kubernetes-types/core/v1.d.ts';
import type { ApiClient } from '../../api/client.ts';
import { PERSISTENT_VOLUME_CLAIMS, PODS, RESOURCE_QUOTAS, SERVICES } from '../../api/kinds.ts';
import { quantityToMilli, quantityToNumber } from '../../api/quantity.ts';
import type { ObjectList } from '../../api/requests.ts';
import { formatCollectionPath, RESOURCES } from '../../api/resources.ts';
import { updateStatus } from '../component/action.ts';
import { isPodTerminal, isSameJson } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
  watchSelf,
} from './controller.ts';

const RESYNC_MS = 5 * 60_000;

/** Keeps `status.used` of each ResourceQuota; admission enforces it. */
export function createResourceQuotaController(): Controller {
  const quotasIn = (view: View, namespace: string) =>
    view.inNamespace(RESOURCE_QUOTAS, namespace).map(({ metadata }) => `${namespace}/${metadata?.name}`);
  return {
    name: 'resourcequota-controller',
    watches: [
      watchSelf(RESOURCE_QUOTAS),
      watch(PODS, ({ type, object }, view) =>
        type === 'MODIFIED' && !isPodTerminal(object) ? [] : quotasIn(view, object.metadata?.namespace ?? ''),
      ),
      watch(SERVICES, ({ object }, view) => quotasIn(view, object.metadata?.namespace ?? '')),
      watch(PERSISTENT_VOLUME_CLAIMS, ({ object }, view) => quotasIn(view, object.metadata?.namespace ?? '')),
    ],
    reconcile: reconcileQuota,
  };
}

async function reconcileQuota(key: string, { view, api }: ReconcileContext): Promise<ReconcileResult> {
  const quota = view.get(RESOURCE_QUOTAS, key);
  if (!quota || quota.metadata?.deletionTimestamp) return SETTLED;
  const hard = quota.spec?.hard ?? {};
  const used: Record<string, string> = {};
  for (const name of Object.keys(hard)) {
    const amount = await measure(name, quota, view, api);
    if (amount !== undefined) used[name] = amount;
  }
  const status = { hard, used };
  if (isSameJson(status, quota.status)) return { actions: [], requeueAfterMs: RESYNC_MS };
  return { actions: [updateStatus(RESOURCE_QUOTAS, { ...quota, status })], requeueAfterMs: RESYNC_MS };
}

/** What the namespace uses of a quota's resource; undefined for one that nobody knows. */
async function measure(
  name: string,
  quota: ResourceQuota,
  view: View,
  api: ApiClient,
): Promise<string | undefined> {
  const namespace = quota.metadata?.namespace ?? '';
  const pods = () =>
    view.inNamespace(PODS, namespace).filter((pod) => !isPodTerminal(pod) && isInScope(pod, quota));
  const services = () => view.inNamespace(SERVICES, namespace);
  const claims = () => view.inNamespace(PERSISTENT_VOLUME_CLAIMS, namespace);
  if (name === 'pods' || name === 'count/pods') return String(pods().length);
  if (name === 'services') return String(services().length);
  if (name === 'services.nodeports') {
    const ports = services().flatMap(({ spec }) => spec?.ports?.filter((port) => port.nodePort) ?? []);
    return String(ports.length);
  }
  if (name === 'services.loadbalancers') {
    return String(services().filter(({ spec }) => spec?.type === 'LoadBalancer').length);
  }
  if (name === 'persistentvolumeclaims') return String(claims().length);
  if (name === 'requests.storage') {
    return formatAmount(
      claims().map(({ spec }) => quantityToNumber(spec?.resources?.requests?.['storage'])),
      1,
    );
  }
  const compute = /^(requests\.|limits\.)?(cpu|memory|ephemeral-storage|hugepages-.+|.+\/.+)$/.exec(name);
  const isCount = name.startsWith('count/');
  if (compute && !isCount)
    return measurePods(pods(), compute[1] === 'limits.' ? 'limits' : 'requests', compute[2]!);
  return countObjects(isCount ? name.slice('count/'.length) : name, namespace, api);
}

function measurePods(pods: readonly Pod[], field: 'requests' | 'limits', resource: string): string {
  const isCpu = resource === 'cpu';
  const read = isCpu ? quantityToMilli : quantityToNumber;
  const amounts = pods.map((pod) => {
    const sum = (pod.spec?.containers ?? []).reduce(
      (total, { resources }) => total + read(resources?.[field]?.[resource]),
      0,
    );
    const initial = (pod.spec?.initContainers ?? []).map(({ resources }) =>
      read(resources?.[field]?.[resource]),
    );
    return Math.max(sum, ...initial) + read(pod.spec?.overhead?.[resource]);
  });
  return formatAmount(amounts, isCpu ? 1000 : 1);
}

/** A sum as a quantity: thousandths as "250m", multiples of 2^10 with their suffix. */
function formatAmount(amounts: readonly number[], scale: 1 | 1000): string {
  const sum = amounts.reduce((total, amount) => total + amount, 0);
  if (scale === 1000) return sum % 1000 === 0 ? String(sum / 1000) : `${sum}m`;
  for (const [suffix, factor] of [
    ['Gi', 2 ** 30],
    ['Mi', 2 ** 20],
    ['Ki', 2 ** 10],
  ] as const) {
    if (sum > 0 && sum % factor === 0) return `${sum / factor}${suffix}`;
  }
  return String(sum);
}

async function countObjects(name: string, namespace: string, api: ApiClient): Promise<string | undefined> {
  const dot = name.indexOf('.');
  const [plural, group] = dot < 0 ? [name, ''] : [name.slice(0, dot), name.slice(dot + 1)];
  const row = RESOURCES.find((entry) => entry.plural === plural && entry.group === group && entry.namespaced);
  if (!row?.verbs.includes('list')) return undefined;
  const path = formatCollectionPath(row, namespace);
  const accept = 'application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json';
  const list = await api.requestJson<ObjectList<object>>('GET', path, { headers: { accept } });
  return String(list.items.length);
}

function isInScope(pod: Pod, { spec }: ResourceQuota): boolean {
  const isBestEffort = pod.status?.qosClass === 'BestEffort';
  const isTerminating = pod.spec?.activeDeadlineSeconds !== undefined;
  const className = pod.spec?.priorityClassName ?? '';
  const scopes: Readonly<Record<string, boolean>> = {
    BestEffort: isBestEffort,
    NotBestEffort: !isBestEffort,
    Terminating: isTerminating,
    NotTerminating: !isTerminating,
    PriorityClass: className !== '',
  };
  const matchesExpressions = (spec?.scopeSelector?.matchExpressions ?? []).every(
    ({ scopeName, operator, values = [] }) => {
      if (scopeName !== 'PriorityClass') return scopes[scopeName] ?? false;
      if (operator === 'In') return values.includes(className);
      if (operator === 'NotIn') return !values.includes(className);
      return (className !== '') === (operator === 'Exists');
    },
  );
  return (spec?.scopes ?? []).every((scope) => scopes[scope] ?? false) && matchesExpressions;
}
