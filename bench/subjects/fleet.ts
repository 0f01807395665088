import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { findPids } from '../../test/hosts/cluster.ts';
import type { LabHost } from '../../test/hosts/lab.ts';
import { pathOn, withLab } from '../cluster.ts';
import { CLUSTER_FILE, formatClusterFile } from '../cluster-file.ts';
import { type Bench, type Subject, timed } from '../measure.ts';

const MANY = 20;
const SAMPLE_MS = 500;

/** `tkadm apply` from a machine that is no member: one host, many at once, and a plan over all of them. */
export const fleetSubject: Subject = {
  name: 'fleet',
  rows: [
    { key: 'fleet.one', what: 'apply: one more host, nothing on it', unit: 's', bar: 10 },
    { key: 'fleet.many', what: `apply: ${MANY} more hosts at once`, unit: 's' },
    { key: 'fleet.ratio', what: `apply: ${MANY} hosts at once, times that of one`, unit: 'x', bar: 4 },
    // All that hosts with processors of their own share: so many times this is the least that they take.
    {
      key: 'fleet.processor',
      what: `apply: the command's processor time for each of ${MANY} more hosts`,
      unit: 's',
    },
    { key: 'fleet.memory', what: `apply: memory of the command with ${MANY} hosts`, unit: 'MB', bar: 200 },
    {
      key: 'fleet.plan',
      what: `apply --plan over ${MANY} hosts that are as they should be`,
      unit: 's',
      bar: 3,
    },
  ],
  async run(bench) {
    const workers = Array.from({ length: MANY + 1 }, (_, index) => `bench-w${index + 1}`);
    await withLab(
      { hostNames: ['bench-admin', 'bench-cp', ...workers], withoutNode: workers },
      async (lab) => {
        const [admin, controlPlane, ...machines] = lab.hosts as [LabHost, LabHost, ...LabHost[]];
        const apply = (count: number, ...flags: string[]) => {
          writeFileSync(
            pathOn(admin, CLUSTER_FILE),
            formatClusterFile(controlPlane, machines.slice(0, count).map(formatWorker)),
          );
          return runApply(bench, admin, flags);
        };
        await apply(0);
        const one = await apply(1);
        const many = await apply(MANY + 1);
        bench.record('fleet.one', one.seconds);
        bench.record('fleet.many', many.seconds);
        bench.record('fleet.ratio', many.seconds / one.seconds);
        bench.record('fleet.processor', many.processorSeconds / MANY);
        bench.record('fleet.memory', many.memoryMb);
        for (let index = 0; index < bench.samples; index += 1)
          bench.record('fleet.plan', (await apply(MANY + 1, '--plan')).seconds);
      },
    );
  },
};

/** Prints, as times(1) of POSIX, the processor time of a command and of all that it has waited for. */
const WITH_TIMES = '"$@"; code=$?; times >&2; exit $code';

/** Runs it on the administrator's machine; the greatest memory is that which the kernel has noted last. */
async function runApply(bench: Bench, admin: LabHost, flags: readonly string[]) {
  const argv = ['node', join(bench.root, 'dist/tkadm.js'), 'apply', '-f', CLUSTER_FILE, ...flags];
  const running = admin.exec(['sh', '-c', WITH_TIMES, 'sh', ...argv], {
    env: { KUBECONFIG: '/root/bench.kubeconfig' },
    timeoutMs: 280_000,
  });
  let memoryMb = 0;
  let pid: number | undefined;
  const timer = setInterval(async () => {
    pid ??= (await findPids(admin, `^node .*tkadm.js apply -f ${CLUSTER_FILE}`))[0];
    memoryMb = Math.max(memoryMb, readPeakMb(pathOn(admin, `/proc/${pid}/status`)));
  }, SAMPLE_MS);
  const { ms, value } = await timed(() => running).finally(() => clearInterval(timer));
  if (value.exitCode !== 0)
    throw new Error(`apply: exit code ${value.exitCode}\n${value.stdout}\n${value.stderr}`);
  return { seconds: ms / 1000, memoryMb, processorSeconds: sumTimes(value.stderr) };
}

/** "0m1.25s 0m0.10s" of the last line: user and system time of what has ended. */
function sumTimes(text: string): number {
  const times =
    text
      .trim()
      .split('\n')
      .at(-1)
      ?.matchAll(/(\d+)m([\d.]+)s/g) ?? [];
  return [...times].reduce((sum, [, minutes, seconds]) => sum + Number(minutes) * 60 + Number(seconds), 0);
}

function readPeakMb(path: string): number {
  try {
    return Number(/^VmHWM:\s+(\d+) kB/m.exec(readFileSync(path, 'utf8'))?.[1] ?? 0) / 1024;
  } catch {
    return 0;
  }
}

function formatWorker({ address }: LabHost): string {
  return `{address: ${address}, role: worker}`;
}
