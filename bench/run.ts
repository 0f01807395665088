import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, loadavg, release, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Bench, median, type Row, reachesBar } from './measure.ts';
import { SUBJECTS } from './subjects.ts';

const ROOT = join(import.meta.dirname ?? '.', '..');

interface Result {
  readonly key: string;
  readonly what: string;
  readonly unit: Row['unit'];
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly n: number;
  readonly bar?: number;
  readonly reachesBar?: boolean;
  readonly peers?: string;
}

// Node.js reads every certificate that this names whenever it starts: 40 ms that are not the product's.
delete process.env['NODE_EXTRA_CA_CERTS'];
await main();

/** `npm run bench -- [NAME...] [--samples=N] [--hosts=N]`: the named subjects, or all. */
async function main(): Promise<void> {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      samples: { type: 'string', default: '5' },
      hosts: { type: 'string', default: '20' },
      'no-build': { type: 'boolean', default: false },
    },
  });
  const unknown = positionals.find((name) => !SUBJECTS.some((subject) => subject.name === name));
  if (unknown !== undefined) {
    throw new Error(`Cannot measure "${unknown}": there are ${SUBJECTS.map(({ name }) => name).join(', ')}`);
  }
  if (!values['no-build']) execFileSync('node', ['build.mjs'], { cwd: ROOT, stdio: 'inherit' });
  const selected = SUBJECTS.filter(({ name }) => positionals.length === 0 || positionals.includes(name));
  const scratch = mkdtempSync(join(tmpdir(), 'tkadm-bench-'));
  const results: Result[] = [];
  try {
    for (const subject of selected) {
      const samples = new Map<string, number[]>();
      const bench: Bench = {
        samples: Number(values.samples),
        hosts: Number(values.hosts),
        root: ROOT,
        scratch,
        record: (key, value) => samples.set(key, [...(samples.get(key) ?? []), value]),
        note: (text) => process.stderr.write(`${subject.name}: ${text}\n`),
      };
      bench.note(`load average ${loadavg()[0]?.toFixed(1)}`);
      try {
        await subject.run(bench);
      } catch (error) {
        process.exitCode = 1;
        bench.note(`failed: ${error instanceof Error ? error.message : String(error)}`);
      }
      results.push(...subject.rows.flatMap((row) => summarize(row, samples.get(row.key) ?? [])));
    }
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
  process.stdout.write(formatTable(results));
  writeFileSync(join(ROOT, 'bench/results.json'), `${JSON.stringify(describe(results), null, 2)}\n`);
}

function summarize(row: Row, values: readonly number[]): readonly Result[] {
  if (values.length === 0) return [];
  const value = median(values);
  const reaches = reachesBar(row, value);
  return [
    {
      key: row.key,
      what: row.what,
      unit: row.unit,
      median: round(value),
      min: round(Math.min(...values)),
      max: round(Math.max(...values)),
      n: values.length,
      ...(row.bar === undefined ? {} : { bar: row.bar }),
      ...(reaches === undefined ? {} : { reachesBar: reaches }),
      ...(row.peers === undefined ? {} : { peers: row.peers }),
    },
  ];
}

function describe(results: readonly Result[]) {
  return {
    date: new Date().toISOString(),
    kernel: release(),
    cpus: cpus().length,
    cpu: cpus()[0]?.model,
    node: process.version,
    loadAverage: loadavg()
      .map((value) => value.toFixed(1))
      .join(' '),
    results,
  };
}

function formatTable(results: readonly Result[]): string {
  const cells = results.map((row) => [
    row.what,
    `${row.median} ${row.unit}`,
    `${row.min}-${row.max}`,
    String(row.n),
    row.bar === undefined ? '' : `${row.reachesBar ? 'ok  ' : 'MISS'} ${row.bar}`,
    row.peers ?? '',
  ]);
  const table = [['what', 'median', 'range', 'n', 'bar', 'peers'], ...cells];
  const widths = table[0]!.map((_, column) => Math.max(...table.map((row) => row[column]!.length)));
  return table
    .map(
      (row) =>
        `${row
          .map((cell, column) => cell.padEnd(widths[column]!))
          .join('  ')
          .trimEnd()}\n`,
    )
    .join('');
}

/** Three significant digits, integers whole. */
function round(value: number): number {
  return Math.abs(value) >= 1000 ? Math.round(value) : Number(value.toPrecision(3));
}
