import type { Pod, Service, ServicePort } from 'kubernetes-types/core/v1.d.ts';
import { PODS, SERVICES } from '../../api/kinds.ts';
import { matchesLabels } from '../../api/label-selectors.ts';
import { isPodReady, isPodTerminal, isSameJson } from '../component/objects.ts';
import type { View } from '../component/view.ts';
import { type WatchRow, watch } from './controller.ts';

/** A port of a Service as one pod resolves it. */
export interface EndpointPort {
  readonly name: string;
  readonly port: number;
  readonly protocol: string;
  readonly appProtocol?: string;
}

/** A pod behind a Service. */
export interface Member {
  readonly pod: Pod;
  readonly ports: readonly EndpointPort[];
  readonly isReady: boolean;
  readonly isServing: boolean;
  readonly isTerminating: boolean;
}

/** The pods that the Service selects and that have an address; ended pods are left out. */
export function selectMembers(service: Service, view: View): Member[] {
  const { selector, publishNotReadyAddresses: publishes = false } = service.spec ?? {};
  if (!selector || Object.keys(selector).length === 0) return [];
  return view
    .inNamespace(PODS, service.metadata?.namespace ?? '')
    .filter((pod) => matchesLabels(selector, pod.metadata?.labels))
    .filter((pod) => !isPodTerminal(pod) && addressesOf(pod).length > 0)
    .map((pod) => {
      const isTerminating = pod.metadata?.deletionTimestamp !== undefined;
      const isServing = isPodReady(pod);
      return {
        pod,
        ports: resolvePorts(service, pod),
        isReady: publishes || (isServing && !isTerminating),
        isServing,
        isTerminating,
      };
    });
}

/** All addresses of the pod. */
export function addressesOf({ status }: Pod): readonly string[] {
  const addresses = status?.podIPs?.flatMap(({ ip }) => ip ?? []) ?? [];
  return addresses.length > 0 ? addresses : status?.podIP ? [status.podIP] : [];
}

/** The name that the pod has below a headless Service, if any. */
export function hostnameOf(pod: Pod, service: Service): string | undefined {
  const { hostname, subdomain } = pod.spec ?? {};
  return hostname && subdomain === service.metadata?.name ? hostname : undefined;
}

export function isHeadless(service: Service): boolean {
  return service.spec?.clusterIP === 'None';
}

/** Watches by which a change of a Service or its pods gives the Service's key. */
export const SERVICE_WATCHES: readonly WatchRow[] = [
  watch(SERVICES, (change) => [change.key]),
  watch(PODS, ({ object, previous }, view) => {
    if (previous && isSameMember(object, previous) && object.metadata?.uid === previous.metadata?.uid) {
      return [];
    }
    const { namespace = '', labels } = object.metadata ?? {};
    const before = previous?.metadata?.labels;
    return view
      .inNamespace(SERVICES, namespace)
      .filter(({ spec }) => {
        const selector = spec?.selector;
        if (!selector || Object.keys(selector).length === 0) return false;
        return matchesLabels(selector, labels) || (previous !== undefined && matchesLabels(selector, before));
      })
      .map((service) => `${namespace}/${service.metadata?.name}`);
  }),
];

function isSameMember(left: Pod, right: Pod): boolean {
  const facts = (pod: Pod) => [
    addressesOf(pod),
    isPodReady(pod),
    pod.metadata?.deletionTimestamp,
    isPodTerminal(pod),
    pod.spec?.nodeName,
    pod.metadata?.labels,
  ];
  return isSameJson(facts(left), facts(right));
}

function resolvePorts(service: Service, pod: Pod): EndpointPort[] {
  return (service.spec?.ports ?? []).flatMap((servicePort) => {
    const port = resolvePort(servicePort, pod);
    if (port === undefined) return [];
    const { name = '', protocol = 'TCP', appProtocol } = servicePort;
    return [{ name, port, protocol, ...(appProtocol ? { appProtocol } : {}) }];
  });
}

function resolvePort({ targetPort, port, protocol = 'TCP' }: ServicePort, pod: Pod): number | undefined {
  if (targetPort === undefined || targetPort === 0 || targetPort === '') return port;
  if (typeof targetPort === 'number') return targetPort;
  const initial = (pod.spec?.initContainers ?? []).filter(
    (container) => (container as { restartPolicy?: string }).restartPolicy === 'Always',
  );
  for (const container of [...(pod.spec?.containers ?? []), ...initial]) {
    const match = container.ports?.find(
      (entry) => entry.name === targetPort && (entry.protocol ?? 'TCP') === protocol,
    );
    if (match) return match.containerPort;
  }
  return undefined;
}
