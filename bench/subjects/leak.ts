import type { CriClient } from '../../runtime/cri/client.ts';
import type { LabHost } from '../../test/hosts/lab.ts';
import { withLab } from '../cluster.ts';
import type { Subject } from '../measure.ts';
import { podConfig, startPod, withRuntime } from './cri.ts';

/** How many pods are made and removed. */
const CYCLES = Number(process.env['TKADM_LEAK_CYCLES'] ?? 2000);
/** What is opened once, and caches, is there after so many. */
const WARM_UP = 100;
const LANES = 5;
const CALL = { timeoutMs: 60_000 };

/** What a host has, by name: a shell command that prints a number; $p is the runtime's pid. */
const COUNTS = [
  { key: 'fds', what: 'descriptors of the service', script: 'ls /proc/$p/fd | wc -l' },
  { key: 'mounts', what: 'mounts', script: 'wc -l < /proc/$p/mountinfo' },
  {
    key: 'netns',
    what: 'network namespaces',
    script: 'for f in /proc/[0-9]*/ns/net; do readlink $f; done | sort -u | wc -l',
  },
  { key: 'cgroups', what: 'cgroups', script: 'find /sys/fs/cgroup -type d | wc -l' },
  { key: 'veths', what: 'interfaces', script: 'ls /sys/class/net | wc -l' },
  { key: 'processes', what: 'processes', script: 'ls -d /proc/[0-9]* | wc -l' },
  {
    key: 'files',
    what: 'files of the service',
    script:
      'find /run/tkadm /var/lib/tkadm/containers /var/lib/tkadm/sandboxes /var/lib/tkadm/network | wc -l',
  },
] as const;

/** What grows while pods come and go: nothing should. */
export const leakSubject: Subject = {
  name: 'leak',
  rows: [
    ...COUNTS.map(({ key, what }) => ({
      key: `leak.${key}`,
      what: `${what} more after ${CYCLES} pods`,
      unit: 'n' as const,
      bar: 0,
    })),
    { key: 'leak.rss', what: `memory of the service more after ${CYCLES} pods, RSS`, unit: 'MiB', bar: 30 },
  ],
  async run(bench) {
    await withLab({ hostNames: ['bench-leak'] }, async (lab) => {
      const host = lab.hosts[0]!;
      await withRuntime(bench, host, async (client) => {
        await cycle(client, WARM_UP, 'warm');
        const before = await count(host);
        await cycle(client, CYCLES, 'leak');
        const after = await count(host);
        for (const [key, value] of Object.entries(after)) bench.record(`leak.${key}`, value - before[key]!);
      });
    });
  },
};

async function cycle(client: CriClient, cycles: number, name: string): Promise<void> {
  let started = 0;
  const lane = async () => {
    while (started < cycles) {
      started += 1;
      await cyclePod(client, `${name}-${started}`);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
}

async function cyclePod(client: CriClient, name: string): Promise<void> {
  // A pod's own cgroup is the kubelet's to remove.
  const config = { ...podConfig(name), linux: { cgroupParent: '/bench-pods' } };
  const { podSandboxId, containerId } = await startPod(client, config, CALL);
  await client.execSync({ containerId, cmd: ['true'] }, CALL);
  await client.listContainerStats({}, CALL);
  await client.stopPodSandbox({ podSandboxId }, CALL);
  await client.removePodSandbox({ podSandboxId }, CALL);
}

async function count(host: LabHost): Promise<Readonly<Record<string, number>>> {
  // The brackets keep the pattern from finding the shell that it stands in.
  const pid = `for f in $(grep -al '[t]kadm-runtime' /proc/[0-9]*/cmdline); do
  d=\${f%/cmdline}; case $(readlink $d/exe) in */node) p=\${d#/proc/};; esac
done
: "\${p:?the service was not found}"`;
  const lines = COUNTS.map(({ key, script }) => `echo "${key} $(${script})"`);
  const rss = 'echo "rss $(sed -n \'s/VmRSS:[[:space:]]*\\([0-9]*\\) kB/\\1/p\' /proc/$p/status)"';
  const { stdout } = await host.exec(['sh', '-c', [pid, ...lines, rss].join('\n')]);
  const numbers = stdout
    .trim()
    .split('\n')
    .map((line) => line.split(' '))
    .map(([key = '', value]) => [key, key === 'rss' ? Number(value) / 1024 : Number(value)] as const);
  return Object.fromEntries(numbers);
}
