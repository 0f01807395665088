import type { Pod, PodSpec, PodStatus } from 'kubernetes-types/core/v1.d.ts';
import { parseQuantity } from '../../../api/quantity.ts';
import { formatTime } from '../../../api/time.ts';
import { isCreateOf, isWriteOf, objectOf } from '../refusals.ts';
import type { AdmissionPlugin } from '../types.ts';

const QOS_RESOURCES = ['cpu', 'memory'];

/** A new pod is Pending, with its quality of service class worked out; a status update cannot lose that class. */
export function createPodStrategy({ now }: { readonly now: () => Date }): AdmissionPlugin {
  return {
    name: 'PodStrategy',
    admit(request) {
      if (request.operation === 'UPDATE' && isWriteOf(request, 'pods', 'status')) {
        const { status } = objectOf<Pod>(request);
        const qosClass = (request.oldObject as Pod | undefined)?.status?.qosClass;
        if (status && qosClass) status.qosClass ??= qosClass;
      }
      if (!isCreateOf(request, 'pods')) return;
      const pod = objectOf<Pod>(request);
      const isGated = (pod.spec?.schedulingGates?.length ?? 0) > 0;
      (pod as { status?: PodStatus }).status = {
        phase: 'Pending',
        qosClass: qosClassOf(pod.spec),
        ...(isGated ? { conditions: [schedulingGated(now())] } : {}),
      };
    },
  };
}

function schedulingGated(now: Date) {
  return {
    type: 'PodScheduled',
    status: 'False' as const,
    reason: 'SchedulingGated',
    message: 'Scheduling is blocked due to non-empty scheduling gates',
    lastTransitionTime: formatTime(now),
  };
}

/**
 * Guaranteed: every container limits cpu and memory and requests exactly that; BestEffort: nobody asks for
 * anything; else Burstable. Resources of the pod as a whole count instead, where they are given.
 */
export function qosClassOf(spec: PodSpec | undefined): 'Guaranteed' | 'Burstable' | 'BestEffort' {
  const whole = (spec as { resources?: ResourceNeeds } | undefined)?.resources;
  const containers: readonly { resources?: ResourceNeeds }[] = whole
    ? [{ resources: whole }]
    : [...(spec?.containers ?? []), ...(spec?.initContainers ?? [])];
  const isAsking = containers.some(({ resources }) =>
    QOS_RESOURCES.some(
      (name) => isPositive(resources?.requests?.[name]) || isPositive(resources?.limits?.[name]),
    ),
  );
  if (!isAsking) return 'BestEffort';
  return containers.every(({ resources }) => isGuaranteed(resources)) ? 'Guaranteed' : 'Burstable';
}

interface ResourceNeeds {
  readonly requests?: Readonly<Record<string, string>>;
  readonly limits?: Readonly<Record<string, string>>;
}

function isPositive(quantity: string | undefined): boolean {
  return quantity !== undefined && parseQuantity(quantity) > 0n;
}

function isGuaranteed(resources: ResourceNeeds | undefined): boolean {
  return QOS_RESOURCES.every((name) => {
    const limit = resources?.limits?.[name];
    if (!isPositive(limit)) return false;
    const request = resources?.requests?.[name] ?? limit!;
    return parseQuantity(request) === parseQuantity(limit!);
  });
}
