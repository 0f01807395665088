import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { Informer } from '../../api/informer.ts';
import { NODES } from '../../api/kinds.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import { setPodNetworks } from '../../network/bridge-rules.ts';
import type { ApiSession } from '../api-link.ts';

const run = promisify(execFile);

/** Marks our routes in the kernel's table (`ip route ... proto 116`), so that old ones are found again. */
const PROTOCOL = '116';
const SETTLE_MS = 100;

export interface NodeRoute {
  /** Pod CIDR, "10.244.1.0/24" */
  readonly destination: string;
  readonly gateway: string;
}

/** The routes to the pods of all other nodes, from their pod CIDRs and internal addresses. */
export function buildNodeRoutes(nodes: readonly core.Node[], ownName: string): NodeRoute[] {
  return nodes.flatMap((node) => {
    if (node.metadata?.name === ownName) return [];
    const gateways = (node.status?.addresses ?? []).filter(({ type }) => type === 'InternalIP');
    const cidrs = node.spec?.podCIDRs ?? (node.spec?.podCIDR ? [node.spec.podCIDR] : []);
    return cidrs.flatMap((destination) => {
      const gateway = gateways.find(({ address }) => address.includes(':') === destination.includes(':'));
      return gateway ? [{ destination, gateway: gateway.address }] : [];
    });
  });
}

/** Keeps the host's routes to other nodes' pods as the Nodes say, until the session ends. */
export async function followNodeRoutes(
  session: ApiSession,
  options: { readonly nodeName: string; readonly log: Logger },
): Promise<void> {
  const informer = new Informer(session.client, NODES, { signal: session.signal, log: options.log });
  await informer.synced();
  let last = '';
  for await (const _change of informer.changes()) {
    await sleep(SETTLE_MS, session.signal).catch(() => {});
    const routes = buildNodeRoutes(informer.list(), options.nodeName);
    const text = JSON.stringify(routes);
    if (text === last) continue;
    const isDone = await syncRoutes(routes).then(
      () => true,
      (error: Error) => {
        options.log.warn(`Cannot set the routes to other nodes: ${error.message}`);
        return false;
      },
    );
    last = isDone ? text : '';
  }
}

async function syncRoutes(routes: readonly NodeRoute[]): Promise<void> {
  const ranges = routes.map(({ destination }) => destination).filter((range) => !range.includes(':'));
  await setPodNetworks(ranges);
  const failures: string[] = [];
  for (const family of ['-4', '-6']) {
    const wanted = routes.filter(({ destination }) => destination.includes(':') === (family === '-6'));
    const present = await listRoutes(family);
    const stale = present.filter((dst) => !wanted.some(({ destination }) => destination === dst));
    for (const dst of stale) await run('ip', [family, 'route', 'del', dst, 'proto', PROTOCOL]);
    for (const { destination, gateway } of wanted) {
      await run('ip', [family, 'route', 'replace', destination, 'via', gateway, 'proto', PROTOCOL]).catch(
        (error: Error) => failures.push(`${destination} via ${gateway}: ${error.message}`),
      );
    }
  }
  if (failures.length > 0) throw new Error(failures.join('; '));
}

async function listRoutes(family: string): Promise<string[]> {
  try {
    const { stdout } = await run('ip', [family, '-j', 'route', 'show', 'proto', PROTOCOL]);
    return (JSON.parse(stdout || '[]') as { readonly dst: string }[]).map(({ dst }) => dst);
  } catch {
    return [];
  }
}
