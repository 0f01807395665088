import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** What `events` prints of a container, in runc's words (its types.Stats); bytes and nanoseconds. */
export interface CgroupUsage {
  readonly cpu: {
    readonly usage: {
      readonly total: number;
      readonly percpu?: readonly number[];
      readonly kernel: number;
      readonly user: number;
    };
    readonly throttling: {
      readonly periods: number;
      readonly throttledPeriods: number;
      readonly throttledTime: number;
    };
  };
  readonly memory: {
    readonly cache: number;
    readonly usage: MemoryUsage;
    readonly swap: MemoryUsage;
    readonly raw: Readonly<Record<string, number>>;
  };
  readonly pids: { readonly current: number; readonly limit?: number };
  readonly blkio: { readonly ioServiceBytesRecursive: readonly BlockIoUsage[] };
  readonly hugetlb: Readonly<
    Record<string, { readonly usage: number; readonly max: number; readonly failcnt: number }>
  >;
}

interface MemoryUsage {
  readonly limit: number;
  readonly usage: number;
  readonly max: number;
  readonly failcnt: number;
}

interface BlockIoUsage {
  readonly major: number;
  readonly minor: number;
  readonly op: string;
  readonly value: number;
}

/** One tick of user and system time in cpuacct.stat (USER_HZ), in nanoseconds. */
const TICK_NANOS = 10_000_000;
const MICRO_NANOS = 1000;
type DirectoryOf = (controller: string) => string | undefined;

/** From the files of cgroup v1. */
export function readUsageV1(directoryOf: DirectoryOf): CgroupUsage {
  const [cpu, cpuacct, memory] = [directoryOf('cpu'), directoryOf('cpuacct'), directoryOf('memory')];
  const stat = (directory: string | undefined, file: string, name: string) =>
    readField(directory, file, name) ?? 0;
  const memoryUsage = (name: string): MemoryUsage => ({
    limit: readNumber(memory, `${name}.limit_in_bytes`) ?? 0,
    usage: readNumber(memory, `${name}.usage_in_bytes`) ?? 0,
    max: readNumber(memory, `${name}.max_usage_in_bytes`) ?? 0,
    failcnt: readNumber(memory, `${name}.failcnt`) ?? 0,
  });
  return {
    cpu: {
      usage: {
        total: readNumber(cpuacct, 'cpuacct.usage') ?? 0,
        percpu: (readText(cpuacct, 'cpuacct.usage_percpu') ?? '')
          .trim()
          .split(/\s+/)
          .filter(Boolean)
          .map(Number),
        kernel: stat(cpuacct, 'cpuacct.stat', 'system') * TICK_NANOS,
        user: stat(cpuacct, 'cpuacct.stat', 'user') * TICK_NANOS,
      },
      throttling: {
        periods: stat(cpu, 'cpu.stat', 'nr_periods'),
        throttledPeriods: stat(cpu, 'cpu.stat', 'nr_throttled'),
        throttledTime: stat(cpu, 'cpu.stat', 'throttled_time'),
      },
    },
    memory: {
      cache: stat(memory, 'memory.stat', 'cache'),
      usage: memoryUsage('memory'),
      swap: memoryUsage('memory.memsw'),
      raw: readFields(memory, 'memory.stat'),
    },
    pids: readPidsUsage(directoryOf('pids')),
    blkio: {
      ioServiceBytesRecursive: parseBlockIo(
        readText(directoryOf('blkio'), 'blkio.throttle.io_service_bytes_recursive') ?? '',
      ),
    },
    hugetlb: readHugetlb(directoryOf('hugetlb'), {
      usage: 'usage_in_bytes',
      max: 'max_usage_in_bytes',
      failcnt: 'failcnt',
    }),
  };
}

/** From the files of cgroup v2. */
export function readUsageV2(directory: string): CgroupUsage {
  const cpu = (name: string) => readField(directory, 'cpu.stat', name) ?? 0;
  const usage = (name: string): MemoryUsage => ({
    limit: readNumber(directory, `${name}.max`) || 0,
    usage: readNumber(directory, `${name}.current`) ?? 0,
    max: readNumber(directory, `${name}.peak`) ?? 0,
    failcnt: readField(directory, `${name}.events`, 'max') ?? 0,
  });
  return {
    cpu: {
      usage: {
        total: cpu('usage_usec') * MICRO_NANOS,
        kernel: cpu('system_usec') * MICRO_NANOS,
        user: cpu('user_usec') * MICRO_NANOS,
      },
      throttling: {
        periods: cpu('nr_periods'),
        throttledPeriods: cpu('nr_throttled'),
        throttledTime: cpu('throttled_usec') * MICRO_NANOS,
      },
    },
    memory: {
      cache: readField(directory, 'memory.stat', 'file') ?? 0,
      usage: usage('memory'),
      swap: usage('memory.swap'),
      raw: readFields(directory, 'memory.stat'),
    },
    pids: readPidsUsage(directory),
    blkio: { ioServiceBytesRecursive: parseIoStat(readText(directory, 'io.stat') ?? '') },
    hugetlb: readHugetlb(directory, { usage: 'current', max: 'max', failcnt: 'events' }),
  };
}

function readPidsUsage(directory: string | undefined): CgroupUsage['pids'] {
  const limit = readText(directory, 'pids.max')?.trim();
  const current = readNumber(directory, 'pids.current') ?? 0;
  return limit === undefined || limit === 'max' ? { current } : { current, limit: Number(limit) };
}

/** "8:0 Read 4096" */
function parseBlockIo(text: string): readonly BlockIoUsage[] {
  return [...text.matchAll(/^(\d+):(\d+) (\w+) (\d+)$/gm)].map(([, major, minor, op = '', value]) => ({
    major: Number(major),
    minor: Number(minor),
    op,
    value: Number(value),
  }));
}

/** "8:0 rbytes=4096 wbytes=0 rios=1 wios=0" */
function parseIoStat(text: string): readonly BlockIoUsage[] {
  const names = [
    ['rbytes', 'Read'],
    ['wbytes', 'Write'],
  ] as const;
  return [...text.matchAll(/^(\d+):(\d+) (.*)$/gm)].flatMap(([, major, minor, fields = '']) =>
    names.map(([name, op]) => ({
      major: Number(major),
      minor: Number(minor),
      op,
      value: Number(new RegExp(`\\b${name}=(\\d+)`).exec(fields)?.[1] ?? 0),
    })),
  );
}

interface HugetlbFiles {
  readonly usage: string;
  readonly max: string;
  readonly failcnt: string;
}

function readHugetlb(directory: string | undefined, files: HugetlbFiles): CgroupUsage['hugetlb'] {
  const sizes = listSizes(directory, files.usage);
  return Object.fromEntries(
    sizes.map((size) => [
      size,
      {
        usage: readNumber(directory, `hugetlb.${size}.${files.usage}`) ?? 0,
        max: readNumber(directory, `hugetlb.${size}.${files.max}`) || 0,
        failcnt: readNumber(directory, `hugetlb.${size}.${files.failcnt}`) || 0,
      },
    ]),
  );
}

function listSizes(directory: string | undefined, suffix: string): readonly string[] {
  if (directory === undefined) return [];
  return readdirSync(directory).flatMap((name) => {
    const match = /^hugetlb\.(\d+[KMG]B)\.(.*)$/.exec(name);
    return match?.[1] !== undefined && match[2] === suffix ? [match[1]] : [];
  });
}

/** The content of a cgroup's file; undefined where it is missing. */
export function readText(directory: string | undefined, file: string): string | undefined {
  if (directory === undefined) return undefined;
  try {
    return readFileSync(join(directory, file), 'utf8');
  } catch {
    return undefined;
  }
}

/** A file's number; NaN for "max". */
export function readNumber(directory: string | undefined, file: string): number | undefined {
  const text = readText(directory, file);
  return text === undefined ? undefined : Number(text);
}

/** The number behind `name` in a "name value" file. */
export function readField(directory: string | undefined, file: string, name: string): number | undefined {
  const match = new RegExp(`^${name} (\\d+)`, 'm').exec(readText(directory, file) ?? '');
  return match ? Number(match[1]) : undefined;
}

function readFields(directory: string | undefined, file: string): Readonly<Record<string, number>> {
  const rows = [...(readText(directory, file) ?? '').matchAll(/^(\w+) (\d+)$/gm)];
  return Object.fromEntries(rows.map(([, name = '', value]) => [name, Number(value)]));
}
