import { KUBERNETES_VERSION } from '../../base/version.ts';
import type { CriClient } from '../../cri/client.ts';
import type { PodManager } from '../pod-manager.ts';
import { LABELS } from '../runtime-state.ts';
import { readNodeUsage } from './stats.ts';

interface Sample {
  readonly labels?: Readonly<Record<string, string>>;
  readonly value: number;
  readonly timeMs?: number;
}

interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly samples: readonly Sample[];
}

/** The text of /metrics: the agent's own figures in the Prometheus exposition format. */
export function formatAgentMetrics(manager: PodManager, memory: { readonly rss: number }): string {
  const workers = manager.workers();
  const containers = workers.flatMap((worker) => worker.state?.containers ?? []);
  const count = (state: string) => containers.filter((container) => container.state === state).length;
  return formatFamilies([
    {
      name: 'kubelet_running_pods',
      help: 'Number of pods that have a running pod sandbox',
      type: 'gauge',
      samples: [
        { value: workers.filter((worker) => worker.state?.sandboxes.some(({ isReady }) => isReady)).length },
      ],
    },
    {
      name: 'kubelet_running_containers',
      help: 'Number of containers currently running',
      type: 'gauge',
      samples: ['created', 'exited', 'running'].map((state) => ({
        labels: { container_state: state },
        value: count(state),
      })),
    },
    {
      name: 'kubernetes_build_info',
      help: 'A metric with a constant 1 value labelled by the version served',
      type: 'gauge',
      samples: [{ labels: { git_version: KUBERNETES_VERSION }, value: 1 }],
    },
    {
      name: 'process_resident_memory_bytes',
      help: 'Resident memory size in bytes',
      type: 'gauge',
      samples: [{ value: memory.rss }],
    },
  ]);
}

/** The text of /metrics/resource: CPU and memory of the node, of each pod and of each container. */
export async function formatResourceMetrics(cri: CriClient, memoryBytes: number): Promise<string> {
  const [{ stats }, node] = await Promise.all([cri.listPodSandboxStats({}), readNodeUsage(memoryBytes)]);
  const pods = stats.map((pod) => ({
    labels: {
      namespace: pod.attributes?.metadata?.namespace ?? '',
      pod: pod.attributes?.metadata?.name ?? '',
    },
    usage: pod.linux,
  }));
  const containers = pods.flatMap(({ labels, usage }) =>
    (usage?.containers ?? []).map((container) => ({
      labels: { container: container.attributes?.labels[LABELS.containerName] ?? '', ...labels },
      usage: container,
    })),
  );
  type Usage = (typeof containers)[number]['usage'] | (typeof pods)[number]['usage'];
  const cpu = ({ labels, usage }: { labels: Record<string, string>; usage: Usage }): Sample => ({
    labels,
    value: Number(usage?.cpu?.usageCoreNanoSeconds?.value ?? 0) / 1e9,
    timeMs: Number((usage?.cpu?.timestamp ?? 0n) / 1_000_000n),
  });
  const memory = ({ labels, usage }: { labels: Record<string, string>; usage: Usage }): Sample => ({
    labels,
    value: Number(usage?.memory?.workingSetBytes?.value ?? 0),
    timeMs: Number((usage?.memory?.timestamp ?? 0n) / 1_000_000n),
  });
  const family = (name: string, type: 'counter' | 'gauge', samples: readonly Sample[]): Family => ({
    name,
    type,
    samples,
    help:
      type === 'counter' ? 'Cumulative cpu time consumed in core-seconds' : 'Current working set in bytes',
  });
  return formatFamilies([
    family('node_cpu_usage_seconds_total', 'counter', [{ value: node.cpuSeconds }]),
    family('node_memory_working_set_bytes', 'gauge', [{ value: node.memoryWorkingSetBytes }]),
    family('pod_cpu_usage_seconds_total', 'counter', pods.map(cpu)),
    family('pod_memory_working_set_bytes', 'gauge', pods.map(memory)),
    family('container_cpu_usage_seconds_total', 'counter', containers.map(cpu)),
    family('container_memory_working_set_bytes', 'gauge', containers.map(memory)),
    {
      name: 'resource_scrape_error',
      help: '1 if there was an error while getting container metrics, 0 otherwise',
      type: 'gauge',
      samples: [{ value: 0 }],
    },
  ]);
}

/** Prometheus text exposition format 0.0.4. */
function formatFamilies(families: readonly Family[]): string {
  return families
    .map(({ name, help, type, samples }) => {
      const lines = samples.map(({ labels, value, timeMs }) => {
        const pairs = Object.entries(labels ?? {}).map(([key, text]) => `${key}=${JSON.stringify(text)}`);
        const suffix = pairs.length > 0 ? `{${pairs.join(',')}}` : '';
        return `${name}${suffix} ${value}${timeMs ? ` ${timeMs}` : ''}\n`;
      });
      return `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n${lines.join('')}`;
    })
    .join('');
}
