import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** How long tasks waited for a resource (Documentation/accounting/psi.rst); averages in percent. */
export interface Pressure {
  readonly totalNanos: number;
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
}

export interface ResourcePressure {
  readonly some: Pressure;
  readonly full: Pressure;
}

/** What is counted beside the plain usage; undefined where the kernel does not. */
export interface CgroupDetails {
  readonly pageFaults?: number | undefined;
  readonly majorPageFaults?: number | undefined;
  readonly swapUsageBytes?: number | undefined;
  /** Absent without a limit. */
  readonly swapLimitBytes?: number | undefined;
  readonly oomKills?: number | undefined;
  readonly pressure?: {
    readonly cpu: ResourcePressure | undefined;
    readonly memory: ResourcePressure | undefined;
    readonly io: ResourcePressure | undefined;
  };
}

/** Larger numbers stand for "no limit", memory.txt of cgroup v1. */
const NO_LIMIT = 2 ** 62;

/** The details of cgroup v1's memory directory, where memory and swap are counted together. */
export function readDetailsV1(directory: string | undefined): CgroupDetails {
  if (directory === undefined) return {};
  const stat = readFields(join(directory, 'memory.stat'));
  const number = (file: string) => readNumber(join(directory, file));
  const [both, memory] = [number('memory.memsw.usage_in_bytes'), number('memory.usage_in_bytes')];
  const [bothLimit, limit] = [number('memory.memsw.limit_in_bytes'), number('memory.limit_in_bytes')];
  const hasLimit = bothLimit !== undefined && limit !== undefined && bothLimit < NO_LIMIT;
  return {
    pageFaults: stat.get('total_pgfault'),
    majorPageFaults: stat.get('total_pgmajfault'),
    swapUsageBytes: both === undefined || memory === undefined ? undefined : Math.max(0, both - memory),
    swapLimitBytes: hasLimit ? Math.max(0, bothLimit - limit) : undefined,
    oomKills: readFields(join(directory, 'memory.oom_control')).get('oom_kill'),
  };
}

/** The details of a cgroup v2 directory. */
export function readDetailsV2(directory: string): CgroupDetails {
  const stat = readFields(join(directory, 'memory.stat'));
  const pressure = (resource: string) => readPressure(join(directory, `${resource}.pressure`));
  return {
    pageFaults: stat.get('pgfault'),
    majorPageFaults: stat.get('pgmajfault'),
    swapUsageBytes: readNumber(join(directory, 'memory.swap.current')),
    swapLimitBytes: readNumber(join(directory, 'memory.swap.max')),
    oomKills: readFields(join(directory, 'memory.events')).get('oom_kill'),
    pressure: { cpu: pressure('cpu'), memory: pressure('memory'), io: pressure('io') },
  };
}

/** Lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", total in microseconds. */
export function parsePressure(text: string): ResourcePressure | undefined {
  const parse = (name: string): Pressure | undefined => {
    const match = new RegExp(`^${name} avg10=(\\S+) avg60=(\\S+) avg300=(\\S+) total=(\\d+)`, 'm').exec(text);
    if (match === null) return undefined;
    const [, avg10, avg60, avg300, total] = match.map(Number);
    return { avg10: avg10!, avg60: avg60!, avg300: avg300!, totalNanos: total! * 1000 };
  };
  const some = parse('some');
  if (some === undefined) return undefined;
  // Older kernels have no "full" for the CPU.
  return { some, full: parse('full') ?? { totalNanos: 0, avg10: 0, avg60: 0, avg300: 0 } };
}

function readPressure(path: string): ResourcePressure | undefined {
  return parsePressure(readText(path) ?? '');
}

/** "max" is no number. */
function readNumber(path: string): number | undefined {
  const text = readText(path)?.trim();
  return text === undefined || !/^\d+$/.test(text) ? undefined : Number(text);
}

function readFields(path: string): ReadonlyMap<string, number> {
  const lines = (readText(path) ?? '').split('\n').map((line) => line.split(' '));
  return new Map(lines.map(([name = '', value = '']) => [name, Number(value)]));
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
