import { readFile, statfs } from 'node:fs/promises';
import type { CriClient } from '../../cri/client.ts';
import type { ContainerStats, CpuUsage, MemoryUsage, PodSandboxStats } from '../../cri/messages/stats.ts';
import { LABELS } from '../runtime-state.ts';

export interface StatsOptions {
  readonly cri: CriClient;
  readonly nodeName: string;
  readonly rootDir: string;
  readonly memoryBytes: number;
}

/** The kubelet's stats Summary (stats/v1alpha1): usage of the node and of each pod. */
export async function buildSummary(options: StatsOptions): Promise<object> {
  const [{ stats }, node] = await Promise.all([options.cri.listPodSandboxStats({}), readNodeStats(options)]);
  return { node, pods: stats.map(toPodStats) };
}

function toPodStats(stats: PodSandboxStats): object {
  const { metadata } = stats.attributes ?? {};
  const { linux } = stats;
  const network = linux?.network?.defaultInterface;
  return {
    podRef: { name: metadata?.name, namespace: metadata?.namespace, uid: metadata?.uid },
    startTime: null,
    containers: (linux?.containers ?? []).map(toContainerStats),
    ...(linux?.cpu ? { cpu: toCpu(linux.cpu) } : {}),
    ...(linux?.memory ? { memory: toMemory(linux.memory) } : {}),
    ...(network
      ? {
          network: {
            time: toTime(linux?.network?.timestamp ?? 0n),
            name: network.name,
            rxBytes: number(network.rxBytes?.value),
            rxErrors: number(network.rxErrors?.value),
            txBytes: number(network.txBytes?.value),
            txErrors: number(network.txErrors?.value),
          },
        }
      : {}),
    ...(linux?.process
      ? { process_stats: { process_count: number(linux.process.processCount?.value) } }
      : {}),
  };
}

function toContainerStats(stats: ContainerStats): object {
  const name = stats.attributes?.labels[LABELS.containerName] || stats.attributes?.metadata?.name;
  return {
    name,
    startTime: null,
    ...(stats.cpu ? { cpu: toCpu(stats.cpu) } : {}),
    ...(stats.memory ? { memory: toMemory(stats.memory) } : {}),
    ...(stats.writableLayer
      ? {
          rootfs: {
            time: toTime(stats.writableLayer.timestamp),
            usedBytes: number(stats.writableLayer.usedBytes?.value),
            inodesUsed: number(stats.writableLayer.inodesUsed?.value),
          },
        }
      : {}),
  };
}

function toCpu(cpu: CpuUsage): object {
  return {
    time: toTime(cpu.timestamp),
    ...(cpu.usageNanoCores ? { usageNanoCores: number(cpu.usageNanoCores.value) } : {}),
    usageCoreNanoSeconds: number(cpu.usageCoreNanoSeconds?.value),
  };
}

function toMemory(memory: MemoryUsage): object {
  return {
    time: toTime(memory.timestamp),
    usageBytes: number(memory.usageBytes?.value),
    workingSetBytes: number(memory.workingSetBytes?.value),
    rssBytes: number(memory.rssBytes?.value),
    pageFaults: number(memory.pageFaults?.value),
    majorPageFaults: number(memory.majorPageFaults?.value),
  };
}

function number(value: number | bigint | undefined): number {
  return Number(value ?? 0);
}

function toTime(nanos: bigint): string {
  return new Date(Number(nanos / 1_000_000n)).toISOString();
}

export interface NodeUsage {
  /** Seconds of all cores since boot. */
  readonly cpuSeconds: number;
  readonly memoryWorkingSetBytes: number;
  readonly memoryAvailableBytes: number;
}

const TICKS_PER_SECOND = 100;

/** The machine's own usage from /proc/stat and /proc/meminfo. */
export async function readNodeUsage(memoryBytes: number): Promise<NodeUsage> {
  const [stat, meminfo] = await Promise.all([
    readFile('/proc/stat', 'utf8'),
    readFile('/proc/meminfo', 'utf8'),
  ]);
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = (stat.split('\n')[0] ?? '')
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number);
  const available = Number(/^MemAvailable:\s+(\d+)/m.exec(meminfo)?.[1] ?? 0) * 1024;
  return {
    cpuSeconds: (user + nice + system + irq + softirq + steal) / TICKS_PER_SECOND,
    memoryWorkingSetBytes: memoryBytes - available,
    memoryAvailableBytes: available,
  };
}

async function readNodeStats({ nodeName, rootDir, memoryBytes }: StatsOptions): Promise<object> {
  const [usage, storage] = await Promise.all([readNodeUsage(memoryBytes), statfs(rootDir)]);
  const time = new Date().toISOString();
  return {
    nodeName,
    startTime: null,
    cpu: { time, usageCoreNanoSeconds: Math.round(usage.cpuSeconds * 1e9) },
    memory: {
      time,
      availableBytes: usage.memoryAvailableBytes,
      usageBytes: usage.memoryWorkingSetBytes,
      workingSetBytes: usage.memoryWorkingSetBytes,
    },
    fs: {
      time,
      availableBytes: storage.bavail * storage.bsize,
      capacityBytes: storage.blocks * storage.bsize,
      usedBytes: (storage.blocks - storage.bfree) * storage.bsize,
      inodesFree: storage.ffree,
      inodes: storage.files,
      inodesUsed: storage.files - storage.ffree,
    },
  };
}
