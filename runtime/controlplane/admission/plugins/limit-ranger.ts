import type {
  Container,
  LimitRange,
  LimitRangeItem,
  PersistentVolumeClaim,
  Pod,
} from 'kubernetes-types/core/v1.d.ts';
import { LIMIT_RANGES } from '../../../api/kinds.ts';
import { formatQuantity, parseQuantity, parseQuantityFormat } from '../../../api/quantity.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { podResources, type ResourceAmounts, toAmounts } from '../pod-resources.ts';
import { isCreateOf, isWriteOf, objectOf, refuse } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

type Quantities = Record<string, string>;

/** Gives containers the namespace's default requests and limits, and holds pods and claims to its bounds. */
export function createLimitRanger({ reader }: { readonly reader: ObjectReader }): AdmissionPlugin {
  const itemsOf = (request: AdmissionRequest) =>
    reader.list(LIMIT_RANGES, request.namespace).flatMap((range: LimitRange) => range.spec?.limits ?? []);
  return {
    name: 'LimitRanger',
    admit(request) {
      if (!isCreateOf(request, 'pods')) return;
      const pod = objectOf<Pod>(request);
      const items = itemsOf(request).filter(({ type }) => type === 'Container');
      const containers = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.containers ?? [])];
      for (const item of items) for (const container of containers) setDefaults(container, item);
    },
    validate(request) {
      if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
      const problems = itemsOf(request).flatMap((item) => problemsOf(request, item));
      if (problems.length === 0) return;
      throw refuse(request, problems.length === 1 ? problems[0]! : `[${problems.join(', ')}]`);
    },
  };
}

function setDefaults(container: Container, item: LimitRangeItem): void {
  const limits = { ...(item.default as Quantities), ...(container.resources?.limits as Quantities) };
  const requests = { ...(container.resources?.requests as Quantities) };
  for (const [name, value] of Object.entries((item.defaultRequest ?? {}) as Quantities)) {
    // A limit that the author set is his request too, before any default is.
    requests[name] ??= (container.resources?.limits as Quantities | undefined)?.[name] ?? value;
  }
  if (Object.keys(limits).length === 0 && Object.keys(requests).length === 0) return;
  container.resources = { ...container.resources };
  if (Object.keys(limits).length > 0) container.resources.limits = limits;
  if (Object.keys(requests).length > 0) container.resources.requests = requests;
}

function problemsOf(request: AdmissionRequest, item: LimitRangeItem): string[] {
  if (isWriteOf(request, 'persistentvolumeclaims') && item.type === 'PersistentVolumeClaim') {
    const { resources } = objectOf<PersistentVolumeClaim>(request).spec ?? {};
    const requests = toAmounts(resources?.requests as Quantities | undefined);
    return checkBounds(item, { requests, limits: requests, isClaim: true });
  }
  if (!isCreateOf(request, 'pods')) return [];
  const { spec } = objectOf<Pod>(request);
  if (!spec) return [];
  if (item.type === 'Pod') {
    return checkBounds(item, {
      requests: podResources(spec, 'requests'),
      limits: podResources(spec, 'limits'),
    });
  }
  if (item.type !== 'Container') return [];
  return [...spec.containers, ...(spec.initContainers ?? [])].flatMap(({ resources }) =>
    checkBounds(item, {
      requests: toAmounts({ ...(resources?.limits as Quantities), ...(resources?.requests as Quantities) }),
      limits: toAmounts(resources?.limits as Quantities | undefined),
    }),
  );
}

function checkBounds(
  item: LimitRangeItem,
  {
    requests,
    limits,
    isClaim = false,
  }: { requests: ResourceAmounts; limits: ResourceAmounts; isClaim?: boolean },
): string[] {
  const problems: string[] = [];
  const { type } = item;
  for (const [name, bound] of Object.entries((item.min ?? {}) as Quantities)) {
    const asked = requests.get(name);
    if (asked === undefined)
      problems.push(`minimum ${name} usage per ${type} is ${bound}.  No request is specified`);
    else if (asked < parseQuantity(bound)) {
      problems.push(`minimum ${name} usage per ${type} is ${bound}, but request is ${show(asked, bound)}`);
    }
  }
  for (const [name, bound] of Object.entries((item.max ?? {}) as Quantities)) {
    const limit = limits.get(name);
    const asked = requests.get(name);
    if (limit === undefined) {
      problems.push(`maximum ${name} usage per ${type} is ${bound}.  No limit is specified`);
    } else if (limit > parseQuantity(bound)) {
      problems.push(
        `maximum ${name} usage per ${type} is ${bound}, but ${isClaim ? 'request' : 'limit'} is ${show(limit, bound)}`,
      );
    } else if (asked !== undefined && asked > parseQuantity(bound)) {
      problems.push(`maximum ${name} usage per ${type} is ${bound}, but request is ${show(asked, bound)}`);
    }
  }
  for (const [name, ratio] of Object.entries((item.maxLimitRequestRatio ?? {}) as Quantities)) {
    const limit = limits.get(name);
    const asked = requests.get(name);
    if (!limit || !asked) {
      problems.push(
        `${name} max limit to request ratio per ${type} is ${ratio}, but no request or limit is specified`,
      );
    } else if (limit * 1_000_000_000n > asked * parseQuantity(ratio)) {
      const actual = Number((limit * 1_000_000n) / asked) / 1_000_000;
      problems.push(
        `${name} max limit to request ratio per ${type} is ${ratio}, but provided ratio is ${actual.toFixed(6)}`,
      );
    }
  }
  return problems;
}

function show(amount: bigint, like: string): string {
  return formatQuantity(amount, parseQuantityFormat(like).format);
}
