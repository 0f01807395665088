import type { InitOf, MessageOf } from '../base/protobuf.ts';
import type { ContainerStats } from '../container/engine.ts';
import { containerState } from './container-status.ts';
import type { CriHandlers } from './handlers.ts';
import type { Metric, MetricDescriptor, PodSandboxMetrics } from './messages/runtime.ts';
import { type InterfaceCounters, readInterfaces } from './network-usage.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { isSandboxReady } from './sandbox-status.ts';

type MetricsHandlers = Pick<
  CriHandlers,
  'listMetricDescriptors' | 'listPodSandboxMetrics' | 'streamPodSandboxMetrics'
>;

/** Every value in the order of a row's label keys. */
type Sample = { readonly labels: readonly string[]; readonly value: number | undefined };

interface MetricRow<T> {
  /** cAdvisor's name, which dashboards and the kubelet's /metrics/cadvisor know. */
  readonly name: string;
  readonly help: string;
  readonly type: MessageOf<typeof Metric>['metricType'];
  /** Beside those of every metric. */
  readonly labelKeys: readonly string[];
  readonly read: (subject: T) => readonly Sample[];
}

interface ContainerSubject {
  readonly record: ContainerRecord;
  readonly stats: ContainerStats | undefined;
  /** Seconds since 1970, 0 before the start. */
  readonly startedAtSeconds: number;
}

const LABEL_KEYS = ['id', 'name', 'image', 'namespace', 'pod', 'container'] as const;
const NANOS_PER_SECOND = 1_000_000_000n;

const plain = (value: number | undefined): readonly Sample[] => [{ labels: [], value }];
const resourcesOf = ({ record }: ContainerSubject) => record.config.linux?.resources;

/** What is told of each container that runs. */
export const CONTAINER_METRICS: readonly MetricRow<ContainerSubject>[] = [
  {
    name: 'container_cpu_usage_seconds_total',
    help: 'Cumulative cpu time consumed in seconds',
    type: 'COUNTER',
    labelKeys: ['cpu'],
    read: ({ stats }) => [
      { labels: ['total'], value: stats && Number(stats.cpuUsageNanos / NANOS_PER_SECOND) },
    ],
  },
  row('container_memory_usage_bytes', 'Current memory usage in bytes', (s) => s.stats?.memoryUsageBytes),
  row(
    'container_memory_working_set_bytes',
    'Current working set of the container in bytes',
    (s) => s.stats?.memoryWorkingSetBytes,
  ),
  row('container_memory_rss', 'Size of anonymous memory in bytes', (s) => s.stats?.memoryRssBytes),
  row('container_memory_swap', 'Swap usage in bytes', (s) => s.stats?.swapUsageBytes),
  {
    name: 'container_memory_failures_total',
    help: 'Cumulative count of memory allocation failures',
    type: 'COUNTER',
    labelKeys: ['failure_type', 'scope'],
    read: ({ stats }) => [
      { labels: ['pgfault', 'hierarchy'], value: stats?.pageFaults },
      { labels: ['pgmajfault', 'hierarchy'], value: stats?.majorPageFaults },
    ],
  },
  {
    ...row('container_oom_events_total', 'Count of out of memory events', (s) => s.stats?.oomKills),
    type: 'COUNTER',
  },
  row('container_processes', 'Number of processes running inside the container', (s) => s.stats?.pids),
  row(
    'container_start_time_seconds',
    'Start time of the container since unix epoch',
    (s) => s.startedAtSeconds,
  ),
  row('container_spec_cpu_shares', 'CPU share of the container', (s) => given(resourcesOf(s)?.cpuShares)),
  row('container_spec_cpu_quota', 'CPU quota of the container', (s) => given(resourcesOf(s)?.cpuQuota)),
  row('container_spec_cpu_period', 'CPU period of the container', (s) => given(resourcesOf(s)?.cpuPeriod)),
  row(
    'container_spec_memory_limit_bytes',
    'Memory limit for the container, 0 for none',
    (s) => resourcesOf(s)?.memoryLimitInBytes ?? 0,
  ),
];

/** What is told of each pod with a network of its own. */
export const NETWORK_METRICS: readonly MetricRow<readonly InterfaceCounters[]>[] = (
  [
    ['receive_bytes', 'Cumulative count of bytes received', 'rxBytes'],
    ['receive_packets', 'Cumulative count of packets received', 'rxPackets'],
    ['receive_packets_dropped', 'Cumulative count of packets dropped while receiving', 'rxDropped'],
    ['receive_errors', 'Cumulative count of errors encountered while receiving', 'rxErrors'],
    ['transmit_bytes', 'Cumulative count of bytes transmitted', 'txBytes'],
    ['transmit_packets', 'Cumulative count of packets transmitted', 'txPackets'],
    ['transmit_packets_dropped', 'Cumulative count of packets dropped while transmitting', 'txDropped'],
    ['transmit_errors', 'Cumulative count of errors encountered while transmitting', 'txErrors'],
  ] as const
).map(([name, help, counter]) => ({
  name: `container_network_${name}_total`,
  help,
  type: 'COUNTER',
  labelKeys: ['interface'],
  read: (interfaces) => interfaces.map((one) => ({ labels: [one.name], value: one[counter] })),
}));

export function createMetricsHandlers(context: RuntimeContext): MetricsHandlers {
  const read = () =>
    Promise.all(
      context.sandboxes
        .list()
        .filter((record) => isSandboxReady(context, record))
        .map((record) => readPod(context, record)),
    );
  return {
    listMetricDescriptors: async () => ({ descriptors: buildDescriptors() }),
    listPodSandboxMetrics: async () => ({ podMetrics: await read() }),
    async *streamPodSandboxMetrics() {
      for (const metrics of await read()) yield { podSandboxMetrics: [metrics] };
    },
  };
}

function buildDescriptors(): readonly InitOf<typeof MetricDescriptor>[] {
  return [...CONTAINER_METRICS, ...NETWORK_METRICS].map(({ name, help, labelKeys }) => ({
    name,
    help,
    labelKeys: [...LABEL_KEYS, ...labelKeys],
  }));
}

async function readPod(
  context: RuntimeContext,
  sandbox: SandboxRecord,
): Promise<InitOf<typeof PodSandboxMetrics>> {
  const members = context.containers
    .list()
    .filter((c) => c.sandboxId === sandbox.id && containerState(context, c) === 'CONTAINER_RUNNING');
  const interfaces = await readInterfaces(context, sandbox);
  const containerMetrics = await Promise.all(
    members.map(async (record) => ({
      containerId: record.id,
      metrics: collect(CONTAINER_METRICS, labelsOf(sandbox, record), await readContainer(context, record)),
    })),
  );
  return {
    podSandboxId: sandbox.id,
    metrics: interfaces === undefined ? [] : collect(NETWORK_METRICS, labelsOf(sandbox), interfaces),
    containerMetrics,
  };
}

async function readContainer(context: RuntimeContext, record: ContainerRecord): Promise<ContainerSubject> {
  const startedAt = context.engine.status(record.id)?.startedAt;
  const stats = await context.engine.stats(record.id);
  return { record, stats, startedAtSeconds: Math.floor((startedAt?.getTime() ?? 0) / 1000) };
}

/** The values of LABEL_KEYS. */
function labelsOf(sandbox: SandboxRecord, container?: ContainerRecord): readonly string[] {
  const { name = '', namespace = '' } = sandbox.config.metadata ?? {};
  const { id, imageName = '' } = container ?? { id: sandbox.id };
  return [id, id, imageName, namespace, name, container?.config.metadata?.name ?? ''];
}

function collect<T>(
  rows: readonly MetricRow<T>[],
  labels: readonly string[],
  subject: T,
): readonly InitOf<typeof Metric>[] {
  return rows.flatMap(({ name, type, read }) =>
    read(subject).flatMap((sample) =>
      sample.value === undefined
        ? []
        : [
            {
              name,
              metricType: type,
              labelValues: [...labels, ...sample.labels],
              value: { value: sample.value },
            },
          ],
    ),
  );
}

function row(
  name: string,
  help: string,
  read: (subject: ContainerSubject) => number | undefined,
): MetricRow<ContainerSubject> {
  return { name, help, type: 'GAUGE', labelKeys: [], read: (subject) => plain(read(subject)) };
}

/** 0 means not given (CRI); a quota below 0 is none. */
function given(value: number | undefined): number | undefined {
  return value === undefined || value <= 0 ? undefined : value;
}
