import { readCertificateEnds } from '../../pki/expiry-warning.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { collectCluster } from '../diagnose/collect/cluster.ts';
import { createLooker } from '../diagnose/collect/looker.ts';
import { buildStatus, type ClusterStatus } from './cluster-status.ts';

export interface StatusOptions {
  readonly host: Host;
  readonly nodePath: string;
  readonly api: () => Promise<ApiClient>;
  readonly now: () => Date;
}

const REQUEST_MS = 2_500;
const LOOK_MS = 8_000;

/** Looks once at the cluster, and at this machine where it is one of its nodes. */
export async function collectStatus({ host, nodePath, api, now }: StatusOptions): Promise<ClusterStatus> {
  const looker = createLooker(LOOK_MS);
  const cluster = await collectCluster({ host, looker, api, nodePath, now, timeoutMs: REQUEST_MS });
  const names = cluster.nodes.map(({ metadata }) => metadata?.name ?? '');
  const [version, memoryUsedBytes, storeBytes] = await Promise.all([
    cluster.problem ? undefined : looker.look('version', () => readVersion(api), undefined),
    looker.look('memory', () => readMemory(names, api), new Map<string, number>()),
    looker.look('store', () => readStoreSize(host), undefined),
  ]);
  const [first] = [...readCertificateEnds(PATHS.kubernetes, `${PATHS.kubelet}/pki`)].sort(
    (a, b) => a.notAfter.getTime() - b.notAfter.getTime(),
  );
  return buildStatus({
    cluster,
    version,
    now: now(),
    memoryUsedBytes,
    nextExpiry: first && { name: first.name, notAfter: first.notAfter.toISOString() },
    storeBytes,
  });
}

async function readVersion(api: StatusOptions['api']): Promise<string> {
  const options = { timeoutMs: REQUEST_MS };
  const answer = (await api()).requestJson<{ readonly gitVersion: string }>('GET', '/version', options);
  return (await answer).gitVersion;
}

/** What each node's agent says of its memory, through the API server; nodes that do not answer are left out. */
async function readMemory(names: readonly string[], api: StatusOptions['api']) {
  interface Summary {
    readonly node?: { readonly memory?: { readonly workingSetBytes?: number } };
  }
  const client = names.length === 0 ? undefined : await api();
  const rows = names.map(async (name) => {
    const path = `/api/v1/nodes/${name}/proxy/stats/summary`;
    const answer = client?.requestJson<Summary>('GET', path, { timeoutMs: REQUEST_MS });
    const bytes = (await answer?.catch(() => undefined))?.node?.memory?.workingSetBytes;
    return bytes === undefined ? [] : [[name, bytes] as const];
  });
  return new Map((await Promise.all(rows)).flat());
}

async function readStoreSize(host: Host): Promise<number | undefined> {
  const names = await host.list(PATHS.store);
  const stats = await Promise.all(names.map((name) => host.stat(`${PATHS.store}/${name}`)));
  return names.length === 0 ? undefined : stats.reduce((sum, stat) => sum + (stat?.sizeBytes ?? 0), 0);
}
