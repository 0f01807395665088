import type { CriClient } from '../../runtime/cri/client.ts';
import type { LabHost } from '../../test/hosts/lab.ts';
import { withLab } from '../cluster.ts';
import { type Bench, type Subject, timed } from '../measure.ts';
import { type HostProcess, readProcesses } from '../processes.ts';
import { podConfig, startPod, withRuntime } from './cri.ts';

const SIZES = [1, 10, 50, 100] as const;
/** With so many pods the memory is read. */
const MEASURED_SIZE = 20;
const CALL = { timeoutMs: 120_000 };

/** Pods that are started all at once by one runtime, and the memory of some. */
export const crowdSubject: Subject = {
  name: 'crowd',
  rows: [
    ...SIZES.map((size) => ({
      key: `crowd.${size}`,
      what: `${size} pods started at once: all run`,
      unit: 's' as const,
    })),
    { key: 'crowd.failures', what: 'pods that did not start', unit: 'n', bar: 0 },
    { key: 'crowd.rss', what: `service at ${MEASURED_SIZE} pods, RSS`, unit: 'MiB', bar: 90 },
    { key: 'crowd.container', what: 'each container with its monitor, PSS', unit: 'MiB', bar: 2 },
  ],
  async run(bench) {
    await withLab({ hostNames: ['bench-crowd'] }, async (lab) => {
      const host = lab.hosts[0]!;
      await withRuntime(bench, host, async (client) => {
        // The first one warms the runtime up.
        await removeAll(client, await startPods(bench, client, 1, 'warm'));
        await measureMemory(bench, host, client);
        for (const size of SIZES) {
          const { ms, value } = await timed(() => startPods(bench, client, size, `crowd-${size}`));
          bench.record(`crowd.${size}`, ms / 1000);
          await removeAll(client, value);
        }
      });
    });
  },
};

/** Starts pods of one container each at the same time: the sandboxes of those that run. */
async function startPods(
  bench: Bench,
  client: CriClient,
  count: number,
  name: string,
): Promise<readonly string[]> {
  const results = await Promise.allSettled(
    Array.from({ length: count }, (_, index) => startOne(client, `${name}-${index}`)),
  );
  const failures = results.filter(({ status }) => status === 'rejected');
  for (const failure of failures) bench.note(String((failure as PromiseRejectedResult).reason));
  bench.record('crowd.failures', failures.length);
  return results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}

async function startOne(client: CriClient, name: string): Promise<string> {
  return (await startPod(client, podConfig(name), CALL)).podSandboxId;
}

async function removeAll(client: CriClient, ids: readonly string[]): Promise<void> {
  await Promise.all(
    ids.map(async (podSandboxId) => {
      await client.stopPodSandbox({ podSandboxId }, CALL);
      await client.removePodSandbox({ podSandboxId }, CALL);
    }),
  );
}

async function measureMemory(bench: Bench, host: LabHost, client: CriClient): Promise<void> {
  const before = await readProcesses(host);
  const ids = await startPods(bench, client, MEASURED_SIZE, 'memory');
  const after = await readProcesses(host);
  const isService = ({ command }: HostProcess) => command.includes('tkadm-runtime');
  const known = new Set(before.map(({ pid }) => pid));
  const added = after.filter((process) => !known.has(process.pid) && !isService(process));
  // A pod has two: its pause and its own.
  bench.record('crowd.container', sum(added) / (2 * ids.length));
  const service = after.find(isService)?.pid;
  const { stdout } = await host.exec(['sh', '-c', `grep VmRSS /proc/${service}/status`]);
  bench.record('crowd.rss', Number(/(\d+) kB/.exec(stdout)?.[1]) / 1024);
  await removeAll(client, ids);
}

function sum(processes: readonly HostProcess[]): number {
  return processes.reduce((total, { pssMib }) => total + pssMib, 0);
}
