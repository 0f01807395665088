/** What became of one test of a suite. */
export interface TestResult {
  readonly name: string;
  readonly passed: number;
  /** Titles of what failed. */
  readonly failures: readonly string[];
}

/** How a program ended that speaks the Test Anything Protocol. */
export interface TapRun {
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number | undefined;
}

const LINE = /^(not )?ok \d+(?: -)? ?(.*)$/gm;

/** The assertions of a program; an end with an error, or an error without an assertion, is a failure too. */
export function readTap(name: string, { stdout, stderr, exitCode }: TapRun): TestResult {
  const lines = [...stdout.matchAll(LINE)].filter(([, , title = '']) => !title.includes('# TODO'));
  const failures = lines.filter(([, no]) => no !== undefined).map(([, , title = '']) => title);
  const passed = lines.length - failures.length;
  const reason = stderr.trim().split('\n').at(-1) ?? '';
  if (exitCode !== 0) failures.push(`ended with ${exitCode ?? 'a signal'}: ${reason}`);
  else if (lines.length === 0 && stdout.includes('"error": "')) failures.push('told of an error');
  return { name, passed, failures };
}

/** A row for each test and a column for each runtime: "passed" or "passed/failed". */
export function formatTable(
  names: readonly string[],
  columns: ReadonlyMap<string, ReadonlyMap<string, TestResult>>,
): string {
  const header = ['test', ...columns.keys()];
  const rows = names.map((name) => [
    name,
    ...[...columns.values()].map((results) => formatCell(results.get(name))),
  ]);
  const widths = header.map((_title, index) =>
    Math.max(...[header, ...rows].map((row) => (row[index] ?? '').length)),
  );
  return [header, ...rows]
    .map((row) =>
      row
        .map((cell, index) => cell.padEnd(widths[index] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function formatCell(result: TestResult | undefined): string {
  if (result === undefined) return '-';
  const { passed, failures } = result;
  return failures.length === 0 ? `${passed}` : `${passed}, ${failures.length} failed`;
}
