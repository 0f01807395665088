import { setTimeout as sleep } from 'node:timers/promises';
import { startWorker, type Worker, withCluster, withEtcdCluster } from '../cluster.ts';
import type { Bench, Row, Subject } from '../measure.ts';
import { readProcesses } from '../processes.ts';

const PEERS = 'kube-apiserver';
const SECONDS = 3;
/** Clients → what kube-apiserver with etcd does on such a machine, requests a second. */
const LOADS = [
  { clients: 1, creates: 371, gets: 759, p99Ms: 7 },
  { clients: 16, creates: 1180, gets: 2228, p99Ms: 63 },
  { clients: 64, creates: 1481, gets: 2507, p99Ms: 112 },
] as const;

/** The rows of the loads of a subject: "api". */
function loadRows(subject: string): readonly Row[] {
  return LOADS.flatMap((load) => rowsOfLoad(subject, load));
}

function rowsOfLoad(
  subject: string,
  { clients, creates, gets, p99Ms }: (typeof LOADS)[number],
): readonly Row[] {
  const by = `${clients} client${clients === 1 ? '' : 's'}`;
  return [
    {
      key: `${subject}.create.${clients}`,
      what: `creates, ${by}`,
      unit: '1/s',
      bar: creates,
      isRate: true,
      peers: `${PEERS} ${creates}`,
    },
    {
      key: `${subject}.create.p99.${clients}`,
      what: `creates, ${by}: p99`,
      unit: 'ms',
      bar: p99Ms,
      peers: `${PEERS} ${p99Ms}`,
    },
    {
      key: `${subject}.get.${clients}`,
      what: `GETs, ${by}`,
      unit: '1/s',
      bar: gets,
      isRate: true,
      peers: `${PEERS} ${gets}`,
    },
  ];
}

/** The API server of a cluster under the load of a client on the same cores; 1 KB ConfigMaps. */
export const apiSubject: Subject = {
  name: 'api',
  rows: [
    ...loadRows('api'),
    {
      key: 'api.watch',
      what: 'create to the event at 100 watchers',
      unit: 'ms',
      bar: 9.7,
      peers: `${PEERS} 9.7`,
    },
    { key: 'api.list.1000', what: 'LIST of 1,000', unit: 'ms', bar: 14.6, peers: `${PEERS} 14.6` },
    { key: 'api.list.10000', what: 'LIST of 10,000', unit: 'ms', bar: 132, peers: `${PEERS} 132` },
    {
      key: 'api.growth',
      what: 'API server with 5,000 ConfigMaps and 1,000 Pods',
      unit: 'MiB',
      bar: 250,
      peers: `${PEERS} 354, etcd 85`,
    },
  ],
  async run(bench) {
    await withCluster(bench, async ({ host, kubeconfigPath }) => {
      const worker = startWorker(bench, host, 'api-load', { kubeconfigPath });
      try {
        await worker.next();
        await sleep(3_000);
        await measureGrowth(bench, worker, async () => {
          const processes = await readProcesses(host);
          return processes.find(({ command }) => command.includes('kube-apiserver'))?.pssMib;
        });
        await measureLoads(bench, worker, 'api');
        const watched = await ask<{ ms: number[] }>(worker, { kind: 'watch', watchers: 100, times: 20 });
        for (const ms of watched.ms) bench.record('api.watch', ms);
        await measureLists(bench, worker);
      } finally {
        await worker.close();
      }
    });
  },
};

/** The same loads with etcd behind the API server, as kube-apiserver has it. */
export const apiEtcdSubject: Subject = {
  name: 'api-etcd',
  rows: loadRows('api-etcd'),
  async run(bench) {
    await withEtcdCluster(bench, async ({ host, kubeconfigPath }) => {
      const worker = startWorker(bench, host, 'api-load', { kubeconfigPath });
      try {
        await worker.next();
        await sleep(3_000);
        await measureLoads(bench, worker, 'api-etcd');
      } finally {
        await worker.close();
      }
    });
  },
};

async function measureGrowth(
  bench: Bench,
  worker: Worker,
  readMib: () => Promise<number | undefined>,
): Promise<void> {
  await ask(worker, { kind: 'fill', namespace: 'kube-public', count: 5_000 });
  await ask(worker, { kind: 'fill-pods', namespace: 'kube-public', count: 1_000 });
  await sleep(2_000);
  const mib = await readMib();
  if (mib !== undefined) bench.record('api.growth', mib);
}

async function measureLoads(bench: Bench, worker: Worker, subject: string): Promise<void> {
  const rounds = Math.max(1, Math.floor(bench.samples / 3));
  for (let round = 0; round < rounds; round += 1) {
    for (const { clients } of LOADS) {
      const creates = await ask<Load>(worker, { kind: 'create', clients, seconds: SECONDS });
      bench.record(`${subject}.create.${clients}`, creates.rate);
      bench.record(`${subject}.create.p99.${clients}`, creates.p99Ms);
      const gets = await ask<Load>(worker, { kind: 'get', clients, seconds: SECONDS });
      bench.record(`${subject}.get.${clients}`, gets.rate);
    }
  }
}

async function measureLists(bench: Bench, worker: Worker): Promise<void> {
  for (const [namespace, count] of [
    ['kube-node-lease', 1_000],
    ['kube-system', 10_000],
  ] as const) {
    await ask(worker, { kind: 'fill', namespace, count });
    const { ms } = await ask<{ ms: number[] }>(worker, { kind: 'list', namespace, times: bench.samples + 1 });
    for (const value of ms.slice(1)) bench.record(`api.list.${count}`, value);
  }
}

interface Load {
  readonly rate: number;
  readonly p99Ms: number;
}

async function ask<T>(worker: Worker, job: object): Promise<T> {
  worker.send(job);
  return worker.next<T>();
}
