import type { ResourceUpdate } from '../engine.ts';
import type { OciBlockIo } from '../oci-spec.ts';

/** One value for one cgroup file; `field` is the spec's name for messages. */
export interface CgroupWrite {
  readonly controller: string;
  readonly file: string;
  /** The file's name where another IO scheduler, or another kernel, has it. */
  readonly otherFile?: string;
  readonly value: string;
  readonly field: string;
  /** Not an error when the controller or file is missing. */
  readonly isOptional?: boolean;
}

/** A field of `linux.resources` and the file that takes it as it is; zero means "not set" unless `keepsZero`. */
interface LimitRow {
  readonly field: `${'memory' | 'cpu' | 'blockIO' | 'network'}.${string}`;
  readonly controller: string;
  readonly file: string;
  readonly otherFile?: string;
  readonly keepsZero?: boolean;
}

/** cgroup v1, in the order to write them (runtime-spec config-linux.md "Control groups"). */
const V1_LIMITS: readonly LimitRow[] = [
  { field: 'memory.reservation', controller: 'memory', file: 'memory.soft_limit_in_bytes' },
  { field: 'memory.kernel', controller: 'memory', file: 'memory.kmem.limit_in_bytes' },
  { field: 'memory.kernelTCP', controller: 'memory', file: 'memory.kmem.tcp.limit_in_bytes' },
  { field: 'memory.swappiness', controller: 'memory', file: 'memory.swappiness', keepsZero: true },
  { field: 'memory.useHierarchy', controller: 'memory', file: 'memory.use_hierarchy' },
  { field: 'memory.disableOOMKiller', controller: 'memory', file: 'memory.oom_control' },
  { field: 'cpu.shares', controller: 'cpu', file: 'cpu.shares' },
  { field: 'cpu.idle', controller: 'cpu', file: 'cpu.idle' },
  { field: 'cpu.period', controller: 'cpu', file: 'cpu.cfs_period_us' },
  { field: 'cpu.quota', controller: 'cpu', file: 'cpu.cfs_quota_us' },
  { field: 'cpu.burst', controller: 'cpu', file: 'cpu.cfs_burst_us' },
  { field: 'cpu.realtimePeriod', controller: 'cpu', file: 'cpu.rt_period_us' },
  { field: 'cpu.realtimeRuntime', controller: 'cpu', file: 'cpu.rt_runtime_us' },
  { field: 'cpu.cpus', controller: 'cpuset', file: 'cpuset.cpus' },
  { field: 'cpu.mems', controller: 'cpuset', file: 'cpuset.mems' },
  { field: 'blockIO.weight', controller: 'blkio', file: 'blkio.bfq.weight', otherFile: 'blkio.weight' },
  { field: 'blockIO.leafWeight', controller: 'blkio', file: 'blkio.leaf_weight' },
  { field: 'network.classID', controller: 'net_cls', file: 'net_cls.classid' },
];

/** cgroup v2; a file of `null` is what it has not. */
const V2_LIMITS: readonly (Omit<LimitRow, 'file'> & { readonly file: string | null })[] = [
  { field: 'memory.kernel', controller: 'memory', file: null },
  { field: 'memory.kernelTCP', controller: 'memory', file: null },
  { field: 'memory.swappiness', controller: 'memory', file: null, keepsZero: true },
  { field: 'memory.disableOOMKiller', controller: 'memory', file: null },
  { field: 'cpu.idle', controller: 'cpu', file: 'cpu.idle' },
  { field: 'cpu.burst', controller: 'cpu', file: 'cpu.max.burst' },
  { field: 'cpu.realtimePeriod', controller: 'cpu', file: null },
  { field: 'cpu.realtimeRuntime', controller: 'cpu', file: null },
  { field: 'cpu.cpus', controller: 'cpuset', file: 'cpuset.cpus' },
  { field: 'cpu.mems', controller: 'cpuset', file: 'cpuset.mems' },
  { field: 'blockIO.leafWeight', controller: 'io', file: null },
  { field: 'network.classID', controller: 'net_cls', file: null },
];

/** Lists of rates for a device: the file of v1, and the key in v2's io.max. */
const THROTTLES = [
  { field: 'throttleReadBpsDevice', file: 'blkio.throttle.read_bps_device', key: 'rbps' },
  { field: 'throttleWriteBpsDevice', file: 'blkio.throttle.write_bps_device', key: 'wbps' },
  { field: 'throttleReadIOPSDevice', file: 'blkio.throttle.read_iops_device', key: 'riops' },
  { field: 'throttleWriteIOPSDevice', file: 'blkio.throttle.write_iops_device', key: 'wiops' },
] as const;

/** Devices that every container may use beside its own rules (runc allows the same); null is "any". */
const DEFAULT_DEVICES = [
  ['c', null, null, 'm'],
  ['b', null, null, 'm'],
  ['c', 1, 3, 'rwm'],
  ['c', 1, 5, 'rwm'],
  ['c', 1, 7, 'rwm'],
  ['c', 1, 8, 'rwm'],
  ['c', 1, 9, 'rwm'],
  ['c', 5, 0, 'rwm'],
  ['c', 5, 2, 'rwm'],
  ['c', 136, null, 'rwm'],
] as const;

type DeviceRule = NonNullable<ResourceUpdate['devices']>[number];

/** Files and values for cgroup v1, in the order to write them. */
export function buildV1Writes(resources: ResourceUpdate): readonly CgroupWrite[] {
  const { memory, network } = resources;
  const writes: CgroupWrite[] = [...buildV1Memory(memory)];
  for (const row of V1_LIMITS) {
    const value = readLimit(resources, row);
    if (value !== undefined) writes.push({ ...row, value });
  }
  writes.push(...buildPids(resources));
  for (const { pageSize, limit } of resources.hugepageLimits ?? []) {
    const file = `hugetlb.${pageSize}.limit_in_bytes`;
    writes.push({ controller: 'hugetlb', file, value: String(limit), field: 'hugepageLimits' });
  }
  writes.push(...buildV1BlockIo(resources.blockIO), ...buildRdma(resources), ...buildDeviceWrites(resources));
  for (const { name, priority } of network?.priorities ?? []) {
    const value = `${name} ${priority}`;
    writes.push({ controller: 'net_prio', file: 'net_prio.ifpriomap', value, field: 'network.priorities' });
  }
  for (const name of Object.keys(resources.unified ?? {})) {
    writes.push({ controller: 'unified', file: name, value: '', field: `unified["${name}"]` });
  }
  return writes;
}

/** No limit of the memory is none of memory and swap together either, unless that is said: as with runc. */
function swapOf(memory: ResourceUpdate['memory']): number | undefined {
  return memory?.swap ?? (memory?.limit === -1 ? -1 : undefined);
}

/** Raising both limits needs memsw first, lowering memory first: writing memory twice serves both. */
function buildV1Memory(memory: ResourceUpdate['memory']): readonly CgroupWrite[] {
  const { limit } = memory ?? {};
  const swap = swapOf(memory);
  const writes: CgroupWrite[] = [];
  const add = (file: string, value: number, field: string, isOptional = false) =>
    writes.push({ controller: 'memory', file, value: String(value), field, isOptional });
  if (limit !== undefined && swap !== undefined) add('memory.limit_in_bytes', limit, 'memory.limit', true);
  if (swap) add('memory.memsw.limit_in_bytes', swap, 'memory.swap', swap === limit || swap < 0);
  if (limit) add('memory.limit_in_bytes', limit, 'memory.limit');
  return writes;
}

function buildPids({ pids }: ResourceUpdate): readonly CgroupWrite[] {
  if (pids === undefined) return [];
  const value = pids.limit > 0 ? String(pids.limit) : 'max';
  return [{ controller: 'pids', file: 'pids.max', value, field: 'pids.limit' }];
}

function buildV1BlockIo(blockIo: OciBlockIo | undefined): readonly CgroupWrite[] {
  const weights = (blockIo?.weightDevice ?? []).flatMap(({ major, minor, weight, leafWeight }) => {
    const write = (value: number | undefined, file: string, otherFile: string) =>
      value === undefined
        ? []
        : [
            {
              controller: 'blkio',
              file,
              otherFile,
              value: `${major}:${minor} ${value}`,
              field: 'blockIO.weightDevice',
            },
          ];
    return [
      ...write(weight, 'blkio.bfq.weight_device', 'blkio.weight_device'),
      ...write(leafWeight, 'blkio.leaf_weight_device', 'blkio.leaf_weight_device'),
    ];
  });
  const rates = THROTTLES.flatMap(({ field, file }) =>
    (blockIo?.[field] ?? []).map(({ major, minor, rate }) => ({
      controller: 'blkio',
      file,
      value: `${major}:${minor} ${rate}`,
      field: `blockIO.${field}`,
    })),
  );
  return [...weights, ...rates];
}

function buildRdma({ rdma }: ResourceUpdate): readonly CgroupWrite[] {
  return Object.entries(rdma ?? {}).map(([name, { hcaHandles, hcaObjects }]) => ({
    controller: 'rdma',
    file: 'rdma.max',
    value: `${name} hca_handle=${hcaHandles ?? 'max'} hca_object=${hcaObjects ?? 'max'}`,
    field: `rdma["${name}"]`,
  }));
}

/** Files and values for cgroup v2. */
export function buildV2Writes(resources: ResourceUpdate): readonly CgroupWrite[] {
  const { memory, cpu } = resources;
  const writes: CgroupWrite[] = [];
  const add = (controller: string, file: string, value: string | number, field: string, isOptional = false) =>
    writes.push({ controller, file, value: String(value), field, isOptional });
  if (memory?.limit) add('memory', 'memory.max', formatLimit(memory.limit), 'memory.limit');
  const both = swapOf(memory);
  if (both) {
    // v1 counts memory and swap together, v2 swap alone.
    const swap = both < 0 ? 'max' : Math.max(0, both - (memory?.limit ?? 0));
    add('memory', 'memory.swap.max', swap, 'memory.swap', both === memory?.limit || both < 0);
  }
  if (memory?.reservation) add('memory', 'memory.low', formatLimit(memory.reservation), 'memory.reservation');
  if (cpu?.shares) add('cpu', 'cpu.weight', convertShares(cpu.shares), 'cpu.shares');
  if (cpu?.quota !== undefined || cpu?.period !== undefined) {
    const quota = cpu.quota !== undefined && cpu.quota > 0 ? cpu.quota : 'max';
    add('cpu', 'cpu.max', `${quota} ${cpu.period || 100000}`, 'cpu.quota');
  }
  for (const row of V2_LIMITS) {
    const value = readLimit(resources, row);
    if (value === undefined) continue;
    const { controller, field, file } = row;
    // The name of a controller that cgroup v2 does not have makes the message.
    if (file === null) add(`${controller} (cgroup v1)`, field, value, field);
    else add(controller, file, value, field);
  }
  writes.push(...buildPids(resources));
  for (const { pageSize, limit } of resources.hugepageLimits ?? []) {
    add('hugetlb', `hugetlb.${pageSize}.max`, formatLimit(limit), 'hugepageLimits');
  }
  writes.push(...buildV2BlockIo(resources.blockIO), ...buildRdma(resources));
  if (resources.network?.priorities?.length) add('net_prio (cgroup v1)', '', '', 'network.priorities');
  for (const [name, value] of Object.entries(resources.unified ?? {})) {
    add('unified', name, value, `unified["${name}"]`);
  }
  return writes;
}

function buildV2BlockIo(blockIo: OciBlockIo | undefined): readonly CgroupWrite[] {
  const controller = 'io';
  const writes: CgroupWrite[] = [];
  if (blockIo?.weight) {
    const value = String(blockIo.weight);
    writes.push({
      controller,
      file: 'io.bfq.weight',
      otherFile: 'io.weight',
      value,
      field: 'blockIO.weight',
    });
  }
  for (const { major, minor, weight } of blockIo?.weightDevice ?? []) {
    const value = `${major}:${minor} ${weight}`;
    writes.push({
      controller,
      file: 'io.bfq.weight',
      otherFile: 'io.weight',
      value,
      field: 'blockIO.weightDevice',
    });
  }
  for (const { field, key } of THROTTLES) {
    for (const { major, minor, rate } of blockIo?.[field] ?? []) {
      const value = `${major}:${minor} ${key}=${rate === 0 ? 'max' : rate}`;
      writes.push({ controller, file: 'io.max', value, field: `blockIO.${field}` });
    }
  }
  return writes;
}

/** The text of a field that is set. */
function readLimit(
  resources: ResourceUpdate,
  { field, keepsZero }: Pick<LimitRow, 'field' | 'keepsZero'>,
): string | undefined {
  const [group = '', name = ''] = field.split('.');
  const values = (resources as Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>)[
    group
  ];
  const value = values?.[name];
  if (value === undefined || value === '' || value === false) return undefined;
  if (value === 0 && !keepsZero) return undefined;
  return value === true ? '1' : String(value);
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

function formatLimit(value: number): string {
  return value < 0 ? 'max' : String(value);
}
