import { setTimeout as sleep } from 'node:timers/promises';
import { IMAGE, startWorker, type Worker, withCluster } from '../cluster.ts';
import type { Bench, Subject } from '../measure.ts';

const PEERS = 'kubeadm stack';
const REPLICAS = 30;

/** Pods, a Deployment and a Service through the API of a one-node cluster. */
export const podsSubject: Subject = {
  name: 'pods',
  rows: [
    { key: 'pods.running', what: 'pod: create to Running', unit: 'ms', bar: 300, peers: `${PEERS} 555-644` },
    {
      key: 'pods.deployment',
      what: `Deployment of ${REPLICAS}: create to all Ready`,
      unit: 's',
      bar: 4,
      peers: `${PEERS} 6.2-7.3`,
    },
    {
      key: 'pods.deleted',
      what: `Deployment of ${REPLICAS}: delete to the last pod gone`,
      unit: 's',
      bar: 3,
      peers: `${PEERS} 5-6.5`,
    },
    {
      key: 'pods.service',
      what: 'Service: create to an answer at its ClusterIP',
      unit: 's',
      bar: 0.3,
      peers: `${PEERS} 1.07`,
    },
  ],
  async run(bench) {
    await withCluster(bench, async ({ host, kubeconfigPath }) => {
      const worker = startWorker(bench, host, 'pods', { kubeconfigPath, image: IMAGE });
      try {
        await sleep(5_000);
        await measurePods(bench, worker);
        await measureServices(bench, worker);
        await measureDeployments(bench, worker);
      } finally {
        await worker.close();
      }
    });
  },
};

async function measurePods(bench: Bench, worker: Worker): Promise<void> {
  for (let index = 0; index <= bench.samples * 2; index += 1) {
    const ms = await ask(worker, { kind: 'pod', name: `pod-${index}` });
    if (index > 0) bench.record('pods.running', ms);
    await sleep(500);
  }
}

async function measureServices(bench: Bench, worker: Worker): Promise<void> {
  await ask(worker, { kind: 'deploy', name: 'web', replicas: 1 });
  for (let index = 0; index < bench.samples; index += 1) {
    bench.record('pods.service', (await ask(worker, { kind: 'service', name: 'web' })) / 1000);
    await sleep(200);
  }
  await ask(worker, { kind: 'delete-deployment', name: 'web' });
}

async function measureDeployments(bench: Bench, worker: Worker): Promise<void> {
  for (let index = 0; index < Math.ceil(bench.samples / 2); index += 1) {
    const name = `many-${index}`;
    bench.record('pods.deployment', (await ask(worker, { kind: 'deploy', name, replicas: REPLICAS })) / 1000);
    await sleep(2_000);
    bench.record('pods.deleted', (await ask(worker, { kind: 'delete-deployment', name })) / 1000);
    await sleep(2_000);
  }
}

async function ask(worker: Worker, job: object): Promise<number> {
  worker.send(job);
  return worker.next<number>();
}
