import { lstat, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pressure, ResourcePressure } from '../container/cgroup/cgroup-details.ts';
import type { ContainerStats as EngineStats } from '../container/engine.ts';
import { POD_INTERFACE } from './cni.ts';
import { containerState } from './container-status.ts';
import type { CriHandlers } from './handlers.ts';
import type {
  ContainerStats,
  ContainerStatsFilter,
  NetworkUsage,
  PodSandboxStats,
  PodSandboxStatsFilter,
} from './messages/stats.ts';
import { readInterfaces } from './network-usage.ts';
import type { ContainerRecord, SandboxRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { getContainer, getSandbox, matchesLabels, toNanos } from './runtime-context.ts';
import { isSandboxReady } from './sandbox-status.ts';

type StatsHandlers = Pick<
  CriHandlers,
  | 'containerStats'
  | 'listContainerStats'
  | 'streamContainerStats'
  | 'podSandboxStats'
  | 'listPodSandboxStats'
  | 'streamPodSandboxStats'
>;

/** The writable layer is counted again after this time at the earliest. */
const LAYER_AGE_NANOS = 30_000_000_000n;
/** The rate of CPU use is taken over at least this time. */
const RATE_WINDOW_NANOS = 1_000_000_000n;

interface CpuSample {
  readonly timestamp: bigint;
  readonly usage: bigint;
}

interface LayerUsage {
  readonly timestamp: bigint;
  readonly usedBytes: number;
  readonly inodes: number;
}

interface Sampler {
  /** CPU nanoseconds a second since the sample before; undefined at first. */
  rate(id: string, sample: CpuSample): number | undefined;
  layer(id: string, directory: string, timestamp: bigint): Promise<LayerUsage>;
  /** Forgets what is no longer there. */
  prune(isThere: (id: string) => boolean): void;
}

export function createStatsHandlers(context: RuntimeContext): StatsHandlers {
  const sampler = createSampler();
  const ofContainer = (record: ContainerRecord) => containerStats(context, sampler, record);
  const ofSandbox = (record: SandboxRecord) => sandboxStats(context, sampler, record);
  const isThere = (id: string) =>
    context.containers.get(id) !== undefined || context.sandboxes.get(id) !== undefined;
  const containers = (filter: ContainerStatsFilter | undefined) => {
    sampler.prune(isThere);
    return Promise.all(
      context.containers
        .list()
        .filter((record) => isWanted(context, record, filter))
        .map(ofContainer),
    );
  };
  const sandboxes = (filter: PodSandboxStatsFilter | undefined) => {
    sampler.prune(isThere);
    return Promise.all(
      context.sandboxes
        .list()
        .filter((record) => isSandboxReady(context, record) && matchesSandbox(record, filter))
        .map(ofSandbox),
    );
  };
  return {
    containerStats: async ({ containerId }) => ({
      stats: await ofContainer(getContainer(context, containerId)),
    }),
    listContainerStats: async ({ filter }) => ({ stats: await containers(filter) }),
    async *streamContainerStats({ filter }) {
      for (const stats of await containers(filter)) yield { containerStats: [stats] };
    },
    podSandboxStats: async ({ podSandboxId }) => ({
      stats: await ofSandbox(getSandbox(context, podSandboxId)),
    }),
    listPodSandboxStats: async ({ filter }) => ({ stats: await sandboxes(filter) }),
    async *streamPodSandboxStats({ filter }) {
      for (const stats of await sandboxes(filter)) yield { podSandboxStats: [stats] };
    },
  };
}

async function containerStats(
  context: RuntimeContext,
  sampler: Sampler,
  record: ContainerRecord,
): Promise<ContainerStats> {
  const timestamp = toNanos(context.now());
  const { id, config } = record;
  const usage = await context.engine.stats(id);
  const layer = await sampler.layer(id, join(context.containers.directory(id), 'upper'), timestamp);
  const limit = config.linux?.resources?.memoryLimitInBytes ?? 0;
  return {
    attributes: { id, metadata: config.metadata, labels: config.labels, annotations: config.annotations },
    ...(usage && resourceUsage(usage, timestamp, sampler.rate(id, cpuSample(usage, timestamp)), limit)),
    ...(usage && { swap: swapUsage(usage, timestamp) }),
    writableLayer: {
      timestamp: layer.timestamp,
      fsId: { mountpoint: context.containers.directory('') },
      usedBytes: { value: layer.usedBytes },
      inodesUsed: { value: layer.inodes },
    },
  };
}

async function sandboxStats(
  context: RuntimeContext,
  sampler: Sampler,
  record: SandboxRecord,
): Promise<PodSandboxStats> {
  const { id, config } = record;
  const timestamp = toNanos(context.now());
  const members = context.containers
    .list()
    .filter((c) => c.sandboxId === id && containerState(context, c) === 'CONTAINER_RUNNING');
  const usages = await Promise.all(
    [id, ...members.map((c) => c.id)].map((each) => context.engine.stats(each)),
  );
  const total = usages.reduce(addUsage, undefined);
  const containers = await Promise.all(members.map((member) => containerStats(context, sampler, member)));
  const network = await networkUsage(context, record, timestamp);
  return {
    attributes: { id, metadata: config.metadata, labels: config.labels, annotations: config.annotations },
    linux: {
      ...(total && resourceUsage(total, timestamp, sampler.rate(id, cpuSample(total, timestamp)), 0)),
      ...(total && { process: { timestamp, processCount: { value: total.pids } } }),
      network,
      containers,
    },
  };
}

function cpuSample(usage: EngineStats, timestamp: bigint): CpuSample {
  return { timestamp, usage: usage.cpuUsageNanos };
}

function resourceUsage(usage: EngineStats, timestamp: bigint, rate: number | undefined, limitBytes: number) {
  const { memoryWorkingSetBytes, memoryUsageBytes, memoryRssBytes } = usage;
  const available = Math.max(0, limitBytes - memoryWorkingSetBytes);
  return {
    cpu: {
      timestamp,
      usageCoreNanoSeconds: { value: Number(usage.cpuUsageNanos) },
      usageNanoCores: rate === undefined ? undefined : { value: rate },
      psi: usage.pressure?.cpu && buildPsi(usage.pressure.cpu),
    },
    memory: {
      timestamp,
      workingSetBytes: { value: memoryWorkingSetBytes },
      availableBytes: limitBytes > 0 ? { value: available } : undefined,
      usageBytes: { value: memoryUsageBytes },
      rssBytes: { value: memoryRssBytes },
      pageFaults: optional(usage.pageFaults),
      majorPageFaults: optional(usage.majorPageFaults),
      psi: usage.pressure?.memory && buildPsi(usage.pressure.memory),
    },
    ...(usage.pressure?.io && { io: { timestamp, psi: buildPsi(usage.pressure.io) } }),
  };
}

function swapUsage({ swapUsageBytes, swapLimitBytes }: EngineStats, timestamp: bigint) {
  if (swapUsageBytes === undefined) return undefined;
  const rest = swapLimitBytes === undefined ? undefined : Math.max(0, swapLimitBytes - swapUsageBytes);
  return { timestamp, swapUsageBytes: { value: swapUsageBytes }, swapAvailableBytes: optional(rest) };
}

function optional(value: number | undefined): { readonly value: number } | undefined {
  return value === undefined ? undefined : { value };
}

function buildPsi({ some, full }: ResourcePressure) {
  const data = ({ totalNanos, ...averages }: Pressure) => ({ total: totalNanos, ...averages });
  return { some: data(some), full: data(full) };
}

function addUsage(sum: EngineStats | undefined, usage: EngineStats | undefined): EngineStats | undefined {
  if (sum === undefined || usage === undefined) return sum ?? usage;
  return {
    cpuUsageNanos: sum.cpuUsageNanos + usage.cpuUsageNanos,
    memoryUsageBytes: sum.memoryUsageBytes + usage.memoryUsageBytes,
    memoryWorkingSetBytes: sum.memoryWorkingSetBytes + usage.memoryWorkingSetBytes,
    memoryRssBytes: sum.memoryRssBytes + usage.memoryRssBytes,
    pids: sum.pids + usage.pids,
    pageFaults: addIfKnown(sum.pageFaults, usage.pageFaults),
    majorPageFaults: addIfKnown(sum.majorPageFaults, usage.majorPageFaults),
  };
}

function addIfKnown(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined ? b : a + (b ?? 0);
}

async function networkUsage(
  context: RuntimeContext,
  record: SandboxRecord,
  timestamp: bigint,
): Promise<NetworkUsage | undefined> {
  const counters = await readInterfaces(context, record);
  if (counters === undefined) return undefined;
  const interfaces = counters.map(({ name, rxBytes, rxErrors, txBytes, txErrors }) => ({
    name,
    rxBytes: { value: rxBytes },
    rxErrors: { value: rxErrors },
    txBytes: { value: txBytes },
    txErrors: { value: txErrors },
  }));
  return {
    timestamp,
    defaultInterface: interfaces.find(({ name }) => name === POD_INTERFACE),
    interfaces: interfaces.filter(({ name }) => name !== POD_INTERFACE),
  };
}

function createSampler(): Sampler {
  const samples = new Map<string, { readonly last: CpuSample; readonly rate: number | undefined }>();
  const layers = new Map<string, LayerUsage>();
  return {
    rate(id, sample) {
      const known = samples.get(id);
      if (known === undefined) {
        samples.set(id, { last: sample, rate: undefined });
        return undefined;
      }
      const elapsed = sample.timestamp - known.last.timestamp;
      if (elapsed < RATE_WINDOW_NANOS) return known.rate;
      const rate = Number(((sample.usage - known.last.usage) * 1_000_000_000n) / elapsed);
      samples.set(id, { last: sample, rate });
      return rate;
    },
    async layer(id, directory, timestamp) {
      const known = layers.get(id);
      if (known !== undefined && timestamp - known.timestamp < LAYER_AGE_NANOS) return known;
      const usage = { timestamp, ...(await countTree(directory)) };
      layers.set(id, usage);
      return usage;
    },
    prune(isThere) {
      for (const map of [samples, layers]) for (const id of map.keys()) if (!isThere(id)) map.delete(id);
    },
  };
}

/** Space and inodes of a tree, links not followed. */
async function countTree(path: string): Promise<{ readonly usedBytes: number; readonly inodes: number }> {
  let usedBytes = 0;
  let inodes = 0;
  const entries = await readdir(path, { withFileTypes: true, recursive: true }).catch(() => []);
  for (const entry of entries) {
    const stats = await lstat(join(entry.parentPath, entry.name)).catch(() => undefined);
    if (stats === undefined) continue;
    usedBytes += stats.blocks * 512;
    inodes += 1;
  }
  return { usedBytes, inodes };
}

function isWanted(
  context: RuntimeContext,
  record: ContainerRecord,
  filter: ContainerStatsFilter | undefined,
): boolean {
  return (
    containerState(context, record) === 'CONTAINER_RUNNING' &&
    (filter === undefined ||
      (record.id.startsWith(filter.id) &&
        record.sandboxId.startsWith(filter.podSandboxId) &&
        matchesLabels(record.config.labels, filter.labelSelector)))
  );
}

function matchesSandbox(record: SandboxRecord, filter: PodSandboxStatsFilter | undefined): boolean {
  return (
    filter === undefined ||
    (record.id.startsWith(filter.id) && matchesLabels(record.config.labels, filter.labelSelector))
  );
}
