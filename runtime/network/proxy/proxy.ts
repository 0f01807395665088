import { createServer, type Server } from 'node:http';
import type { Service } from 'kubernetes-types/core/v1.d.ts';
import type { ApiClient } from '../../api/client.ts';
import { Informer } from '../../api/informer.ts';
import { ENDPOINT_SLICES, SERVICES } from '../../api/kinds.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import { runCommand } from '../command.ts';
import { buildRuleset } from './build-ruleset.ts';
import { type Conntrack, openConntrack, selectStaleFlows } from './conntrack.ts';
import { EMPTY_RULESET, formatBase, formatTransition, PROXY_TABLE, type Ruleset } from './ruleset.ts';
import { buildServicePorts, type ServicePort } from './service-model.ts';

export interface ProxyOptions {
  readonly client: ApiClient;
  readonly nodeName: string;
  readonly clusterCidr: string | undefined;
  readonly log: Logger;
  readonly signal: AbortSignal;
  /** Called after each time that the kernel holds the newest state. */
  readonly onSynced?: () => void;
}

/** Changes that come within this time are loaded together. */
const GATHER_MS = 10;
const RETRY_MS = 1_000;

/** Keeps the kernel's nftables table equal to the Services and EndpointSlices until the signal ends it. */
export async function runProxy(options: ProxyOptions): Promise<void> {
  const { client, signal, log } = options;
  const services = new Informer(client, SERVICES, { signal, log });
  const slices = new Informer(client, ENDPOINT_SLICES, { signal, log });
  const wake = createWakeUp(signal);
  for (const informer of [services, slices]) void drain(informer.changes(), wake.call);
  await Promise.all([services.synced(), slices.synced()]);
  let loaded: Ruleset | undefined;
  const forgetStaleFlows = createFlowCleaner(log);
  warnOfIpv6(services.list(), log);
  while (!signal.aborted) {
    const ports = buildServicePorts(services.list(), slices.list(), options.nodeName);
    const wanted = buildRuleset(ports, options);
    try {
      loaded = await loadRuleset(loaded, wanted);
      forgetStaleFlows(ports);
      options.onSynced?.();
    } catch (error) {
      // The table may have been changed by somebody else: the next try makes all of it anew.
      loaded = undefined;
      log.error((error as Error).message);
      await sleep(RETRY_MS, signal).catch(() => {});
      continue;
    }
    await wake.next();
    await sleep(GATHER_MS, signal).catch(() => {});
  }
}

/** Loads the difference, or everything when nothing is known of the kernel's state. */
export async function loadRuleset(loaded: Ruleset | undefined, wanted: Ruleset): Promise<Ruleset> {
  const base = loaded === undefined ? formatBase() : '';
  const script = base + formatTransition(loaded ?? EMPTY_RULESET, wanted);
  if (script !== '') await runCommand(['nft', '-f', '-'], script);
  return wanted;
}

/** Removes the proxy's table; no error when it is not there. */
export async function removeRuleset(): Promise<void> {
  await runCommand(['nft', '-f', '-'], `add table ${PROXY_TABLE}\ndelete table ${PROXY_TABLE}\n`);
}

/** `/healthz`: 200 once the first state is loaded. */
export function startHealthServer(address: string, isHealthy: () => boolean): Server {
  const [, host = '0.0.0.0', port = '10256'] = /^(.*):(\d+)$/.exec(address) ?? [];
  const server = createServer((request, response) => {
    const isKnown = request.url?.startsWith('/healthz') || request.url?.startsWith('/livez');
    response.writeHead(isKnown ? (isHealthy() ? 200 : 503) : 404, { 'content-type': 'text/plain' });
    response.end(isKnown ? 'ok\n' : 'not found\n');
  });
  server.listen(Number(port), host);
  return server;
}

/** Looks at the kernel's flows when a UDP port's endpoints changed, the first time too. */
function createFlowCleaner(log: Logger): (ports: readonly ServicePort[]) => void {
  let conntrack: Conntrack | undefined;
  let seen = '';
  return (ports) => {
    const udp = ports.filter(({ protocol }) => protocol === 'udp');
    const text = JSON.stringify(udp);
    if (text === seen || (udp.length === 0 && seen === '')) return;
    try {
      conntrack ??= openConntrack();
      const count = conntrack.delete(selectStaleFlows(conntrack.listUdp(), udp));
      if (count > 0) log.info('Forgot UDP flows to endpoints that are gone', { count });
      seen = text;
    } catch (error) {
      conntrack?.close();
      conntrack = undefined;
      log.warn((error as Error).message);
    }
  };
}

function warnOfIpv6(services: readonly Service[], log: Logger): void {
  for (const { metadata, spec } of services) {
    const address = spec?.clusterIPs?.find((ip) => ip.includes(':'));
    if (!address) continue;
    log.warn(
      `Cannot serve "${metadata?.namespace}/${metadata?.name}" at "${address}": IPv6 is not supported`,
    );
  }
}

async function drain(changes: AsyncIterable<unknown>, onChange: () => void): Promise<void> {
  for await (const _ of changes) onChange();
}

function createWakeUp(signal: AbortSignal): { call: () => void; next: () => Promise<void> } {
  let isPending = false;
  let resolve: (() => void) | undefined;
  const call = () => {
    isPending = true;
    resolve?.();
  };
  signal.addEventListener('abort', call, { once: true });
  return {
    call,
    async next() {
      if (!isPending) {
        await new Promise<void>((done) => {
          resolve = done;
        });
      }
      resolve = undefined;
      isPending = false;
    },
  };
}
