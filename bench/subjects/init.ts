import { addBusyboxImage, IMAGE, pathOn, startWorker, tkadm, withLab } from '../cluster.ts';
import { type Bench, type Subject, timed } from '../measure.ts';

const PEERS = 'kubeadm 1.36';

/** `tkadm init` on a fresh host, to the command's end, the Ready node, a first pod, the cluster's DNS. */
export const initSubject: Subject = {
  name: 'init',
  rows: [
    { key: 'init.command', what: 'init: the command', unit: 's', bar: 4, peers: `${PEERS} 7.1` },
    { key: 'init.ready', what: 'init: Node Ready', unit: 's', bar: 4, peers: `${PEERS} 5.6` },
    {
      key: 'init.pod',
      what: 'init: first user pod Running',
      unit: 's',
      bar: 6,
      peers: `${PEERS} 14.5; k3d 19.9, kind 33, minikube 50.8`,
    },
    { key: 'init.dns', what: 'init: DNS answers', unit: 's', bar: 6, peers: `${PEERS} 14.5` },
    { key: 'reset', what: 'reset: the command', unit: 's' },
  ],
  async run(bench) {
    const count = Math.max(1, Math.ceil(bench.samples / 2));
    for (let index = 0; index < count; index += 1) await measureInit(bench);
  },
};

async function measureInit(bench: Bench): Promise<void> {
  await withLab({ hostNames: ['bench-init'] }, async (lab) => {
    const host = lab.hosts[0]!;
    await addBusyboxImage(bench, host);
    const clock = startWorker(bench, host, 'cluster-clock', {
      kubeconfigPath: pathOn(host, '/etc/kubernetes/admin.conf'),
      image: IMAGE,
    });
    try {
      const startedAt = Date.now();
      const { ms } = await timed(() => tkadm(bench, host, ['init', '--fix']));
      const seconds = (at: number) => (at - startedAt) / 1000;
      bench.record('init.command', ms / 1000);
      clock.send('go');
      const { readyAt } = await clock.next<{ readyAt: number }>();
      const { podAt, dnsAt } = await clock.next<{ podAt: number; dnsAt: number }>();
      bench.record('init.ready', seconds(readyAt));
      bench.record('init.pod', seconds(podAt));
      bench.record('init.dns', seconds(dnsAt));
    } finally {
      await clock.close();
    }
    const reset = await timed(() => tkadm(bench, host, ['reset', '--force']));
    bench.record('reset', reset.ms / 1000);
  });
}
