import type { ResourceUpdate } from './engine.ts';

/** One value for one cgroup file; `field` is the spec's name for messages. */
export interface CgroupWrite {
  readonly controller: string;
  readonly file: string;
  readonly value: string;
  readonly field: string;
  /** Not an error when the controller or file is missing. */
  readonly isOptional?: boolean;
}

/** Devices that every container may use beside its own rules (runc and crun allow the same); null is "any". */
const DEFAULT_DEVICES = [
  ['c', null, null, 'm'],
  ['b', null, null, 'm'],
  ['c', 1, 3, 'rwm'],
  ['c', 1, 5, 'rwm'],
  ['c', 1, 7, 'rwm'],
  ['c', 1, 8, 'rwm'],
  ['c', 1, 9, 'rwm'],
  ['c', 5, 0, 'rwm'],
  ['c', 5, 1, 'rwm'],
  ['c', 5, 2, 'rwm'],
  ['c', 136, null, 'rwm'],
] as const;

type DeviceRule = NonNullable<ResourceUpdate['devices']>[number];

/** Files and values for cgroup v1, in the order to write them (runtime-spec config-linux.md "Control groups"). */
export function buildV1Writes(resources: ResourceUpdate): readonly CgroupWrite[] {
  const { memory, cpu, pids } = resources;
  const writes: CgroupWrite[] = [];
  const add = (controller: string, file: string, value: string | number | undefined, field: string) => {
    if (value !== undefined) writes.push({ controller, file, value: String(value), field });
  };
  // Raising both limits needs memsw first, lowering memory first: writing memory twice serves both.
  if (memory?.limit !== undefined && memory.swap !== undefined) {
    writes.push({
      controller: 'memory',
      file: 'memory.limit_in_bytes',
      value: String(memory.limit),
      field: 'memory.limit',
      isOptional: true,
    });
  }
  if (memory?.swap !== undefined && memory.swap !== 0) {
    const isDefault = memory.swap === memory.limit || memory.swap < 0;
    writes.push({
      controller: 'memory',
      file: 'memory.memsw.limit_in_bytes',
      value: String(memory.swap),
      field: 'memory.swap',
      isOptional: isDefault,
    });
  }
  add('memory', 'memory.limit_in_bytes', positive(memory?.limit), 'memory.limit');
  add('memory', 'memory.soft_limit_in_bytes', positive(memory?.reservation), 'memory.reservation');
  add('cpu', 'cpu.shares', positive(cpu?.shares), 'cpu.shares');
  add('cpu', 'cpu.cfs_period_us', positive(cpu?.period), 'cpu.period');
  add('cpu', 'cpu.cfs_quota_us', positive(cpu?.quota), 'cpu.quota');
  add('cpuset', 'cpuset.cpus', cpu?.cpus || undefined, 'cpu.cpus');
  add('cpuset', 'cpuset.mems', cpu?.mems || undefined, 'cpu.mems');
  if (pids !== undefined) add('pids', 'pids.max', pids.limit > 0 ? pids.limit : 'max', 'pids.limit');
  for (const { pageSize, limit } of resources.hugepageLimits ?? []) {
    add('hugetlb', `hugetlb.${pageSize}.limit_in_bytes`, limit, 'hugepageLimits');
  }
  writes.push(...buildDeviceWrites(resources));
  for (const name of Object.keys(resources.unified ?? {})) add('unified', name, '', `unified["${name}"]`);
  return writes;
}

/** Files and values for cgroup v2. */
export function buildV2Writes(resources: ResourceUpdate): readonly CgroupWrite[] {
  const { memory, cpu, pids } = resources;
  const writes: CgroupWrite[] = [];
  const add = (controller: string, file: string, value: string | number | undefined, field: string) => {
    if (value !== undefined) writes.push({ controller, file, value: String(value), field });
  };
  if (memory?.limit) add('memory', 'memory.max', formatLimit(memory.limit), 'memory.limit');
  if (memory?.swap) {
    // v1 counts memory and swap together, v2 swap alone.
    const swap = memory.swap < 0 ? 'max' : Math.max(0, memory.swap - (memory.limit ?? 0));
    writes.push({
      controller: 'memory',
      file: 'memory.swap.max',
      value: String(swap),
      field: 'memory.swap',
      isOptional: memory.swap === memory.limit || memory.swap < 0,
    });
  }
  if (memory?.reservation) add('memory', 'memory.low', formatLimit(memory.reservation), 'memory.reservation');
  if (cpu?.shares) add('cpu', 'cpu.weight', convertShares(cpu.shares), 'cpu.shares');
  if (cpu?.quota !== undefined || cpu?.period !== undefined) {
    const quota = cpu.quota !== undefined && cpu.quota > 0 ? cpu.quota : 'max';
    add('cpu', 'cpu.max', `${quota} ${cpu.period || 100000}`, 'cpu.quota');
  }
  add('cpuset', 'cpuset.cpus', cpu?.cpus || undefined, 'cpu.cpus');
  add('cpuset', 'cpuset.mems', cpu?.mems || undefined, 'cpu.mems');
  if (pids !== undefined) add('pids', 'pids.max', pids.limit > 0 ? pids.limit : 'max', 'pids.limit');
  for (const { pageSize, limit } of resources.hugepageLimits ?? []) {
    add('hugetlb', `hugetlb.${pageSize}.max`, limit, 'hugepageLimits');
  }
  for (const [name, value] of Object.entries(resources.unified ?? {})) {
    add('unified', name, value, `unified["${name}"]`);
  }
  return writes;
}

/** cpu.shares [2, 262144] → cpu.weight [1, 10000]: 2 → 1, 1024 → 39, 262144 → 10000. */
export function convertShares(shares: number): number {
  return 1 + Math.floor(((Math.min(Math.max(shares, 2), 262144) - 2) * 9999) / 262142);
}

/**
 * The container's device rules and the default ones, the last that fits wins; undefined when none are given. A last
 * rule that allows everything stays the last.
 */
export function buildDeviceRules({ devices }: ResourceUpdate): readonly DeviceRule[] | undefined {
  const last = devices?.at(-1);
  if (devices === undefined || (last?.allow && isEveryDevice(last))) return devices;
  const defaults = DEFAULT_DEVICES.map(([type, major, minor, access]) => ({
    allow: true,
    type,
    access,
    ...(major === null ? {} : { major }),
    ...(minor === null ? {} : { minor }),
  }));
  return [...devices, ...defaults];
}

function isEveryDevice({ type, major, minor }: DeviceRule): boolean {
  return (type ?? 'a') === 'a' && major === undefined && minor === undefined;
}

function buildDeviceWrites(resources: ResourceUpdate): readonly CgroupWrite[] {
  const number = (value: number | undefined) => (value === undefined || value < 0 ? '*' : value);
  return (buildDeviceRules(resources) ?? []).map((rule) => ({
    controller: 'devices',
    file: rule.allow ? 'devices.allow' : 'devices.deny',
    value: isEveryDevice(rule)
      ? 'a'
      : `${rule.type ?? 'a'} ${number(rule.major)}:${number(rule.minor)} ${rule.access ?? 'rwm'}`,
    field: 'devices',
  }));
}

/** Zero means "not set" in the specs that Kubernetes builds. */
function positive(value: number | undefined): number | undefined {
  return value === 0 ? undefined : value;
}

function formatLimit(value: number): string {
  return value < 0 ? 'max' : String(value);
}
