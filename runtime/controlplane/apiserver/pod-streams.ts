import type * as core from 'kubernetes-types/core/v1.d.ts';
import { ENDPOINT_SLICES, NODES, PODS, SERVICES } from '../../api/kinds.ts';
import type { ObjectReader } from '../store/reader.ts';
import { sendText } from './answers.ts';
import type { Call } from './call.ts';
import type { UpgradeSocket } from './server.ts';
import { StatusError } from './status-error.ts';
import { badRequest, notFound } from './status-errors.ts';
import { type ProxyTarget, proxyRequest } from './stream-proxy.ts';

export interface KubeletOptions {
  readonly cert: string | undefined;
  readonly key: string | undefined;
  /** undefined: the kubelets' certificates are not verified, as upstream without --kubelet-certificate-authority. */
  readonly ca: string | undefined;
  readonly addressTypes: readonly string[];
}

const KUBELET_PORT = 10250;
const LOG_PARAMETERS = [
  'follow',
  'previous',
  'sinceSeconds',
  'sinceTime',
  'timestamps',
  'tailLines',
  'limitBytes',
  'stream',
];
/** The client's words for an exec's streams and the kubelet's. */
const STREAM_PARAMETERS = [
  ['stdin', 'input'],
  ['stdout', 'output'],
  ['stderr', 'error'],
  ['tty', 'tty'],
] as const;

/** Requests that a node, a pod or a service answers: logs, exec, attach, port-forward, proxy. */
export class PodStreams {
  readonly #reader: ObjectReader;
  readonly #kubelet: () => KubeletOptions;

  constructor(reader: ObjectReader, kubelet: () => KubeletOptions) {
    this.#reader = reader;
    this.#kubelet = kubelet;
  }

  /** GET pods/log. A pod that is on no node has no log yet. */
  async log(call: Call): Promise<void> {
    const pod = this.#pod(call);
    const container = chooseContainer(pod, call.info.query.get('container') ?? '');
    if (!pod.spec?.nodeName) return sendText(call.response, 200, '');
    const query = new URLSearchParams();
    for (const name of LOG_PARAMETERS) copyParameter(call.info.query, query, name, name);
    const path = `/containerLogs/${podPath(pod)}/${container}?${query}`;
    await proxyRequest(call, this.#kubeletTarget(pod.spec.nodeName, path), undefined);
  }

  /** GET or POST pods/exec and pods/attach. */
  async exec(call: Call, upgrade: UpgradeSocket | undefined): Promise<void> {
    const pod = this.#pod(call);
    const given = call.info.query;
    const container = chooseContainer(pod, given.get('container') ?? '');
    const query = new URLSearchParams();
    for (const [ours, theirs] of STREAM_PARAMETERS) {
      if (given.get(ours) === 'true' || given.get(ours) === '1') query.set(theirs, '1');
    }
    for (const argument of given.getAll('command')) query.append('command', argument);
    const path = `/${call.info.subresource}/${podPath(pod)}/${container}?${query}`;
    await proxyRequest(call, this.#kubeletTarget(nodeOf(pod), path), upgrade);
  }

  /** GET or POST pods/portforward. */
  async portForward(call: Call, upgrade: UpgradeSocket | undefined): Promise<void> {
    const pod = this.#pod(call);
    const query = new URLSearchParams();
    for (const port of call.info.query.getAll('ports')) query.append('port', port);
    const text = query.toString();
    const path = `/portForward/${podPath(pod)}${text ? `?${text}` : ''}`;
    await proxyRequest(call, this.#kubeletTarget(nodeOf(pod), path), upgrade);
  }

  async proxyNode(call: Call, upgrade: UpgradeSocket | undefined): Promise<void> {
    const { name } = parseProxyName(call.info.name);
    const target = this.#kubeletTarget(name, proxyPath(call));
    await proxyRequest(call, { ...target, hasStatusErrors: false }, upgrade);
  }

  async proxyPod(call: Call, upgrade: UpgradeSocket | undefined): Promise<void> {
    const { scheme, name, port } = parseProxyName(call.info.name);
    const pod = this.#reader.get(PODS, name, call.info.namespace);
    if (!pod) throw notFound(call.row, name);
    const host = pod.status?.podIP;
    if (!host) throw badRequest(`address not allowed: pod "${name}" has no address`);
    const first = pod.spec?.containers[0]?.ports?.[0]?.containerPort;
    await proxyRequest(call, plainTarget(call, scheme, host, Number(port) || first || 80), upgrade);
  }

  async proxyService(call: Call, upgrade: UpgradeSocket | undefined): Promise<void> {
    const { scheme, name, port } = parseProxyName(call.info.name);
    const service = this.#reader.get(SERVICES, name, call.info.namespace);
    if (!service) throw notFound(call.row, name);
    const address = this.#endpointOf(service, port);
    if (!address) {
      throw new StatusError(503, {
        reason: 'ServiceUnavailable',
        message: `no endpoints available for service "${call.info.name}"`,
      });
    }
    await proxyRequest(call, plainTarget(call, scheme, address.host, address.port), upgrade);
  }

  #endpointOf(service: core.Service, port: string) {
    const ports = service.spec?.ports ?? [];
    const wanted =
      ports.find((item) => item.name === port || String(item.port) === port) ??
      (port === '' ? ports[0] : undefined);
    if (!wanted) return undefined;
    const { name, namespace } = service.metadata ?? {};
    const slices = this.#reader
      .list(ENDPOINT_SLICES, namespace)
      .filter((slice) => slice.metadata?.labels?.['kubernetes.io/service-name'] === name);
    const found = slices.flatMap((slice) => {
      const number = slice.ports?.find((item) => (item.name ?? '') === (wanted.name ?? ''))?.port;
      const ready = slice.endpoints.filter((endpoint) => endpoint.conditions?.ready !== false);
      return number === undefined
        ? []
        : ready.flatMap((endpoint) => endpoint.addresses.map((host) => ({ host, port: number })));
    });
    return found[Math.floor(Math.random() * found.length)];
  }

  #pod(call: Call): core.Pod {
    const pod = this.#reader.get(PODS, call.info.name, call.info.namespace);
    if (!pod) throw notFound(call.row, call.info.name);
    return pod;
  }

  #kubeletTarget(nodeName: string, path: string): ProxyTarget {
    const node = this.#reader.get(NODES, nodeName);
    if (!node) throw notFound(NODES, nodeName);
    const addresses = node.status?.addresses ?? [];
    const { addressTypes, cert, key, ca } = this.#kubelet();
    const host = addressTypes
      .map((type) => addresses.find((address) => address.type === type)?.address)
      .find((address) => address !== undefined);
    if (!host) {
      throw new StatusError(500, {
        reason: 'InternalError',
        message: `no preferred addresses found for node "${nodeName}"; known addresses: ${JSON.stringify(addresses)}`,
      });
    }
    return {
      isTls: true,
      host,
      port: node.status?.daemonEndpoints?.kubeletEndpoint?.Port ?? KUBELET_PORT,
      path,
      tls: {
        ...(cert && key ? { cert, key } : {}),
        ...(ca ? { ca } : { rejectUnauthorized: false }),
      } as NonNullable<ProxyTarget['tls']>,
      hasStatusErrors: true,
    };
  }
}

function plainTarget(call: Call, scheme: string, host: string, port: number): ProxyTarget {
  return {
    isTls: scheme === 'https',
    host,
    port,
    path: proxyPath(call),
    tls: { rejectUnauthorized: false } as NonNullable<ProxyTarget['tls']>,
    hasStatusErrors: false,
  };
}

/** "[scheme:]name[:port]" */
function parseProxyName(text: string): {
  readonly scheme: string;
  readonly name: string;
  readonly port: string;
} {
  const parts = text.split(':');
  if (parts.length === 1) return { scheme: 'http', name: text, port: '' };
  if (parts.length === 2) return { scheme: 'http', name: parts[0]!, port: parts[1]! };
  return { scheme: parts[0] || 'http', name: parts[1]!, port: parts[2]! };
}

function proxyPath(call: Call): string {
  const query = call.request.url?.split('?')[1];
  const slash = call.request.url?.split('?')[0]?.endsWith('/') && call.info.tail !== '' ? '/' : '';
  return `/${call.info.tail}${slash}${query ? `?${query}` : ''}`;
}

function podPath(pod: core.Pod): string {
  return `${pod.metadata?.namespace}/${pod.metadata?.name}`;
}

function nodeOf(pod: core.Pod): string {
  if (pod.spec?.nodeName) return pod.spec.nodeName;
  throw badRequest(`pod ${pod.metadata?.name} does not have a host assigned`);
}

function copyParameter(from: URLSearchParams, to: URLSearchParams, name: string, as: string): void {
  const value = from.get(name);
  if (value !== null && value !== '') to.set(as, value);
}

function chooseContainer(pod: core.Pod, asked: string): string {
  const name = pod.metadata?.name;
  const ordinary = (pod.spec?.containers ?? []).map((container) => container.name);
  const others = [...(pod.spec?.initContainers ?? []), ...(pod.spec?.ephemeralContainers ?? [])];
  const all = [...ordinary, ...others.map((container) => container.name)];
  if (asked !== '') {
    if (all.includes(asked)) return asked;
    throw badRequest(`container ${asked} is not valid for pod ${name}`);
  }
  if (ordinary.length === 1) return ordinary[0]!;
  throw badRequest(`a container name must be specified for pod ${name}, choose one of: [${all.join(' ')}]`);
}
