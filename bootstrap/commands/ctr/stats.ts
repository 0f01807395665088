import { totalmem } from 'node:os';
import type { StatsSample } from '../../../runtime/ctr/ctr-messages.ts';
import type { CliContext } from '../context.ts';
import { ctr } from './call.ts';
import { type Column, printRows, type Row } from './print-rows.ts';
import { formatBytes, shortId } from './units.ts';

export interface StatsFlags {
  readonly all?: boolean;
  readonly format?: string;
  /** --no-stream is false. */
  readonly stream: boolean;
  readonly trunc: boolean;
}

const COLUMNS: readonly Column[] = [
  ['CONTAINER ID', 'ID'],
  ['NAME', 'Name'],
  ['CPU %', 'CPUPerc'],
  ['MEM USAGE / LIMIT', 'MemUsage'],
  ['MEM %', 'MemPerc'],
  ['NET I/O', 'NetIO'],
  ['BLOCK I/O', 'BlockIO'],
  ['PIDS', 'PIDs'],
];

/** Moves the cursor home and clears what is behind it. */
const CLEAR = '\u001b[H\u001b[J';

/** `tkadm ctr stats`: once with --no-stream, else each second until interrupted. */
export async function runStats(
  context: CliContext,
  flags: StatsFlags,
  names: readonly string[],
): Promise<void> {
  let before: readonly StatsSample[] | undefined;
  await ctr(
    context,
    'stats',
    { names, isStreamed: flags.stream, isAll: flags.all ?? false },
    {
      onNote: (samples) => {
        // A rate needs two samples.
        if (before !== undefined) show(context, flags, samples, before);
        before = samples;
      },
    },
  );
}

function show(
  context: CliContext,
  flags: StatsFlags,
  samples: readonly StatsSample[],
  before: readonly StatsSample[],
): void {
  const rows = samples.map((sample) =>
    describe(
      sample,
      before.find(({ id }) => id === sample.id),
      flags.trunc,
    ),
  );
  if (flags.stream && context.isTerminal && flags.format === undefined) context.write(CLEAR);
  printRows(context, {
    rows,
    columns: COLUMNS,
    idField: 'ID',
    otherFields: ['Container'],
    ...(flags.format && { format: flags.format }),
  });
}

function describe(sample: StatsSample, before: StatsSample | undefined, trunc: boolean): Row {
  const elapsedMs = before === undefined ? 0 : Date.parse(sample.readAt) - Date.parse(before.readAt);
  const usedMs = (sample.cpuNanos - (before?.cpuNanos ?? sample.cpuNanos)) / 1e6;
  const limit = sample.memoryLimitBytes || totalmem();
  const percent = (value: number) => `${value.toFixed(2)}%`;
  return {
    ID: trunc ? shortId(sample.id) : sample.id,
    Container: sample.id,
    Name: sample.name,
    CPUPerc: percent(elapsedMs === 0 ? 0 : (usedMs / elapsedMs) * 100),
    MemUsage: `${formatBytes(sample.memoryBytes, 1024)} / ${formatBytes(limit, 1024)}`,
    MemPerc: percent((sample.memoryBytes / limit) * 100),
    NetIO: `${formatBytes(sample.rxBytes, 1000)} / ${formatBytes(sample.txBytes, 1000)}`,
    BlockIO: `${formatBytes(sample.readBytes, 1000)} / ${formatBytes(sample.writtenBytes, 1000)}`,
    PIDs: String(sample.pids),
  };
}
