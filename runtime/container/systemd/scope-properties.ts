import { buildDeviceRules, convertShares } from '../cgroup/cgroup-limits.ts';
import { parseCpuList } from '../cpu-list.ts';
import type { ResourceUpdate } from '../engine.ts';
import type { DBusValue } from './dbus-values.ts';
import type { UnitProperty } from './systemd-manager.ts';

/** What decides which properties there are. */
export interface SystemdTraits {
  readonly cgroupVersion: 1 | 2;
  /** Of systemd. */
  readonly version: number;
  /** Content of /proc/devices. */
  readonly devices: string;
}

interface PropertyRow {
  readonly name: string;
  readonly signature: string;
  /** The version of cgroups that it is for; both without it. */
  readonly cgroup?: 1 | 2;
  /** The version of systemd that has it first. */
  readonly since?: number;
  /** undefined for what the resources do not set. */
  readonly read: (resources: ResourceUpdate) => DBusValue | undefined;
}

/** "infinity" of systemd's limits. */
const INFINITY = 2n ** 64n - 1n;
const SECOND_US = 1_000_000;
const DEFAULT_PERIOD_US = 100_000;
/** systemd keeps a quota in hundredths of a CPU. */
const QUOTA_STEP_US = 10_000;

/** systemd.resource-control(5); the same limits are written to the files as well, in the units of the specification. */
const LIMITS: readonly PropertyRow[] = [
  { name: 'MemoryLimit', signature: 't', cgroup: 1, read: ({ memory }) => limitOf(memory?.limit) },
  { name: 'MemoryMax', signature: 't', cgroup: 2, read: ({ memory }) => limitOf(memory?.limit) },
  { name: 'MemoryLow', signature: 't', cgroup: 2, read: ({ memory }) => limitOf(memory?.reservation) },
  { name: 'MemorySwapMax', signature: 't', cgroup: 2, read: readSwap },
  { name: 'CPUShares', signature: 't', cgroup: 1, read: ({ cpu }) => limitOf(cpu?.shares) },
  {
    name: 'CPUWeight',
    signature: 't',
    cgroup: 2,
    read: ({ cpu }) => (cpu?.shares ? BigInt(convertShares(cpu.shares)) : undefined),
  },
  { name: 'CPUQuotaPeriodUSec', signature: 't', since: 242, read: ({ cpu }) => limitOf(cpu?.period) },
  { name: 'CPUQuotaPerSecUSec', signature: 't', read: readQuota },
  { name: 'TasksMax', signature: 't', read: ({ pids }) => pids && (limitOf(pids.limit) ?? INFINITY) },
  { name: 'AllowedCPUs', signature: 'ay', cgroup: 2, since: 244, read: ({ cpu }) => buildMask(cpu?.cpus) },
  {
    name: 'AllowedMemoryNodes',
    signature: 'ay',
    cgroup: 2,
    since: 244,
    read: ({ cpu }) => buildMask(cpu?.mems),
  },
];

/** Without these systemd takes a controller away again that no limit needs. */
const ACCOUNTING = ['MemoryAccounting', 'CPUAccounting', 'TasksAccounting'] as const;

/** A scope for the process `pid` in a slice: the container's own part of the tree, which systemd leaves alone. */
export function buildScopeProperties(slice: string, pid: number, id: string): readonly UnitProperty[] {
  return [
    text('Description', `container ${id}`),
    text('Slice', slice),
    ['PIDs', { signature: 'au', value: [pid] }],
    flag('Delegate', true),
    // It would be stopped before what it needs, and conflict with shutdown.target.
    flag('DefaultDependencies', false),
    ...ACCOUNTING.map((name) => flag(name, true)),
  ];
}

/** The limits that systemd knows, so that it does not undo them when its configuration is loaded anew. */
export function buildLimitProperties(
  resources: ResourceUpdate,
  traits: SystemdTraits,
): readonly UnitProperty[] {
  const { cgroupVersion, version } = traits;
  const limits = LIMITS.flatMap(({ name, signature, cgroup, since = 0, read }): UnitProperty[] => {
    const isThere = (cgroup ?? cgroupVersion) === cgroupVersion && version >= since;
    const value = isThere ? read(resources) : undefined;
    return value === undefined ? [] : [[name, { signature, value }]];
  });
  return [...limits, ...buildDeviceProperties(resources, traits.devices)];
}

/** Zero is "not set", less is "without limit". */
function limitOf(value: number | undefined): bigint | undefined {
  if (!value) return undefined;
  return value < 0 ? INFINITY : BigInt(value);
}

/** cgroup v1 counts memory and swap together, v2 swap alone. */
function readSwap({ memory }: ResourceUpdate): bigint | undefined {
  const { swap, limit = 0 } = memory ?? {};
  if (!swap) return undefined;
  return swap < 0 ? INFINITY : BigInt(Math.max(0, swap - limit));
}

function readQuota({ cpu }: ResourceUpdate): bigint | undefined {
  const { quota, period } = cpu ?? {};
  if (!quota) return undefined;
  if (quota < 0) return INFINITY;
  const perSecond = (quota * SECOND_US) / (period || DEFAULT_PERIOD_US);
  return BigInt(Math.ceil(perSecond / QUOTA_STEP_US) * QUOTA_STEP_US);
}

/** A bit for each number of a list, the lowest first. */
function buildMask(list: string | undefined): readonly number[] | undefined {
  const numbers = list === undefined ? undefined : parseCpuList(list);
  if (numbers === undefined) return undefined;
  const mask: number[] = Array.from({ length: (Math.max(...numbers) >> 3) + 1 }, () => 0);
  for (const number of numbers) mask[number >> 3]! |= 1 << (number & 7);
  return mask;
}

/**
 * The devices that may be used, for systemd to allow them too. It knows no order of rules and no exceptions: where it
 * cannot say the same it allows more, and the container's own rules decide.
 */
function buildDeviceProperties(resources: ResourceUpdate, devices: string): readonly UnitProperty[] {
  const rules = buildDeviceRules(resources);
  if (rules === undefined) return [];
  const base = rules.findLastIndex(
    ({ type = 'a', major, minor }) => type === 'a' && isAny(major) && isAny(minor),
  );
  const none: UnitProperty = ['DeviceAllow', { signature: 'a(ss)', value: [] }];
  if (rules[base]?.allow) return [text('DevicePolicy', 'auto'), none];
  const allowed = rules
    .slice(base + 1)
    .filter(({ allow }) => allow)
    .flatMap((rule) => {
      const kinds =
        rule.type === 'b' ? ['block'] : rule.type === 'a' || !rule.type ? ['block', 'char'] : ['char'];
      return kinds
        .map((kind) => nameDevice(kind, rule, devices))
        .filter((name) => name !== undefined)
        .map((name) => [name, rule.access ?? 'rwm']);
    });
  // An empty list makes the property empty; another one adds to it.
  return [text('DevicePolicy', 'strict'), none, ['DeviceAllow', { signature: 'a(ss)', value: allowed }]];
}

/** "/dev/char/1:3", "char-pts" or "char-*"; undefined for a driver that this kernel has not. */
function nameDevice(
  kind: string,
  { major, minor }: { readonly major?: number; readonly minor?: number },
  devices: string,
): string | undefined {
  if (isAny(major)) return `${kind}-*`;
  if (!isAny(minor)) return `/dev/${kind}/${major}:${minor}`;
  const [characters = '', blocks = ''] = devices.split(/^Block devices:$/m);
  const list = kind === 'block' ? blocks : characters;
  const name = new RegExp(`^ *${major} (.+)$`, 'm').exec(list)?.[1];
  return name === undefined ? undefined : `${kind}-${name}`;
}

function isAny(number: number | undefined): boolean {
  return number === undefined || number < 0;
}

function text(name: string, value: string): UnitProperty {
  return [name, { signature: 's', value }];
}

function flag(name: string, value: boolean): UnitProperty {
  return [name, { signature: 'b', value }];
}
