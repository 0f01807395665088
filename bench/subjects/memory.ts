import { setTimeout as sleep } from 'node:timers/promises';
import { IMAGE, startWorker, withCluster } from '../cluster.ts';
import type { Subject } from '../measure.ts';
import { type HostProcess, PROGRAMS, programOf, readProcesses } from '../processes.ts';

const SETTLE_MS = 15_000;
const IDLE_MS = 10_000;
const PODS = 20;
const TICKS_PER_SECOND = 100;

/** Memory (PSS) and CPU of an idle one-node cluster, and what a pod adds. */
export const memorySubject: Subject = {
  name: 'memory',
  rows: [
    {
      key: 'memory.all',
      what: 'idle: control plane and node services',
      unit: 'MiB',
      bar: 400,
      peers: 'kubeadm stack 784, k3s server 535',
    },
    { key: 'memory.node', what: 'idle: agent and runtime with its pool', unit: 'MiB', bar: 120 },
    ...PROGRAMS.map(({ name }) => ({ key: `memory.${name}`, what: `idle: ${name}`, unit: 'MiB' as const })),
    {
      key: 'memory.pod',
      what: 'each pod of one container',
      unit: 'MiB',
      bar: 4,
      peers: 'containerd 7 (shim 5.3)',
    },
    { key: 'cpu.idle', what: 'idle: all, of one core', unit: '%', bar: 3, peers: 'kubeadm stack 10' },
    ...PROGRAMS.map(({ name }) => ({ key: `cpu.${name}`, what: `idle CPU: ${name}`, unit: '%' as const })),
  ],
  async run(bench) {
    await withCluster(bench, async ({ host, kubeconfigPath }) => {
      await sleep(SETTLE_MS);
      const before = await readProcesses(host);
      await sleep(IDLE_MS);
      const after = await readProcesses(host);
      const own = after.filter((process) => programOf(process) !== undefined);
      bench.record('memory.all', sum(own));
      bench.record('memory.node', sum(own.filter((process) => programOf(process)?.group === 'node')));
      let ticks = 0;
      for (const program of PROGRAMS) {
        const processes = own.filter((process) => programOf(process) === program);
        bench.record(`memory.${program.name}`, sum(processes));
        const used = processes.reduce(
          (total, process) => total + process.cpuTicks - ticksOf(before, process),
          0,
        );
        bench.record(`cpu.${program.name}`, percent(used));
        ticks += used;
      }
      bench.record('cpu.idle', percent(ticks));
      const worker = startWorker(bench, host, 'pods', { kubeconfigPath, image: IMAGE });
      try {
        worker.send({ kind: 'deploy', name: 'memory', replicas: PODS });
        await worker.next();
        await sleep(5_000);
        const all = (processes: readonly HostProcess[]) => sum(processes);
        bench.record('memory.pod', (all(await readProcesses(host)) - all(after)) / PODS);
      } finally {
        await worker.close();
      }
    });
  },
};

function sum(processes: readonly HostProcess[]): number {
  return processes.reduce((total, { pssMib }) => total + pssMib, 0);
}

function ticksOf(processes: readonly HostProcess[], { pid, command }: HostProcess): number {
  const found = processes.find((process) => process.pid === pid && process.command === command);
  return found?.cpuTicks ?? 0;
}

function percent(ticks: number): number {
  return (ticks * 100 * 1000) / TICKS_PER_SECOND / IDLE_MS;
}
