import { TkadmError } from '../../base/errors.ts';
import { parseSize } from '../../base/flags.ts';
import { parseResources } from '../config-schema.ts';
import type { OciResources } from '../oci-spec.ts';
import { readJson } from './bundle.ts';
import { type Call, findContainer, numberOption, option, type Verb } from './call.ts';
import type { OptionRow } from './options.ts';

/** Flag → place in linux.resources; in the order of runc's help. */
const LIMITS = [
  { name: 'blkio-weight', path: ['blockIO', 'weight'], help: 'weight of block IO, 10 to 1000' },
  { name: 'cpu-period', path: ['cpu', 'period'], help: 'period of the CPU quota in microseconds' },
  { name: 'cpu-quota', path: ['cpu', 'quota'], help: 'CPU time in a period in microseconds' },
  { name: 'cpu-burst', path: ['cpu', 'burst'], help: 'CPU time that may be saved up, in microseconds' },
  { name: 'cpu-share', path: ['cpu', 'shares'], help: 'CPU shares' },
  {
    name: 'cpu-rt-period',
    path: ['cpu', 'realtimePeriod'],
    help: 'period of realtime processes in microseconds',
  },
  {
    name: 'cpu-rt-runtime',
    path: ['cpu', 'realtimeRuntime'],
    help: 'CPU time of realtime processes in microseconds',
  },
  { name: 'cpu-idle', path: ['cpu', 'idle'], help: '1 for SCHED_IDLE' },
  { name: 'pids-limit', path: ['pids', 'limit'], help: 'processes' },
] as const;
const SIZES = [
  { name: 'memory', path: ['memory', 'limit'], help: 'memory, "64m"; -1 for no limit' },
  { name: 'memory-reservation', path: ['memory', 'reservation'], help: 'memory to be kept' },
  { name: 'memory-swap', path: ['memory', 'swap'], help: 'memory and swap; -1 for no limit' },
] as const;
const SETS = [
  { name: 'cpuset-cpus', path: ['cpu', 'cpus'], help: 'CPUs, "0-1,3"' },
  { name: 'cpuset-mems', path: ['cpu', 'mems'], help: 'memory nodes' },
] as const;
const REFUSED = 'Intel RDT is not supported';
const OPTIONS: readonly OptionRow[] = [
  {
    name: 'resources',
    short: 'r',
    kind: 'value',
    help: 'file with linux.resources, "-" for the standard input',
  },
  ...[...LIMITS, ...SIZES, ...SETS].map(({ name, help }) => ({ name, kind: 'value' as const, help })),
  { name: 'l3-cache-schema', kind: 'value', help: '', refused: REFUSED },
  { name: 'mem-bw-schema', kind: 'value', help: '', refused: REFUSED },
];

export const UPDATE_VERB: Verb = {
  name: 'update',
  args: 'ID',
  maxArgs: 1,
  summary: 'change limits',
  options: OPTIONS,
  run: update,
};

async function update(call: Call): Promise<number> {
  const { engine, id } = await findContainer(call);
  const file = option(call, 'resources');
  const resources = file === undefined ? fromFlags(call) : parseResources(readJson(file), file);
  if (file === undefined && Object.keys(resources).length === 0) {
    throw new TkadmError('FLAG_INVALID', `Cannot update container "${id}": no limit is given`);
  }
  await engine.update(id, resources);
  return 0;
}

function fromFlags(call: Call): OciResources {
  const resources: Record<string, Record<string, string | number>> = {};
  const set = ([group, field]: readonly [string, string], value: string | number | undefined) => {
    if (value !== undefined) resources[group] = { ...resources[group], [field]: value };
  };
  for (const { name, path } of LIMITS) set(path, numberOption(call, name));
  for (const { name, path } of SIZES) set(path, sizeOption(call, name));
  for (const { name, path } of SETS) set(path, option(call, name));
  return parseResources(resources, 'flags');
}

/** @throws FLAG_INVALID */
function sizeOption(call: Call, name: string): number | undefined {
  const text = option(call, name);
  if (text === undefined) return undefined;
  const bytes = text === '-1' ? -1 : parseSize(text);
  if (bytes !== undefined) return bytes;
  throw new TkadmError('FLAG_INVALID', `Cannot use "--${name}=${text}": it is no size such as "64m"`);
}
