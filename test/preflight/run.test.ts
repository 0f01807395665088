import t from 'tap';
import { type Check, errorFinding, type PreflightInput, warningFinding } from '../../preflight/finding.ts';
import { formatFinding, formatReport, formatWarning, preflightError } from '../../preflight/format.ts';
import { runPreflight, selectFatal, selectRepairable } from '../../preflight/run.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createLocalHost } from '../../runtime/host/local.ts';

const INPUT: PreflightInput = {
  scope: 'init',
  nodeName: 'node-1',
  ports: [],
  absentFiles: [],
  podCidrs: [],
  serviceCidrs: [],
  ignored: [],
};

function row(name: string, observe: Check['observe'], more: Partial<Check> = {}): Check {
  return { name, scopes: ['init'], severity: 'error', looksAt: name, observe, ...more };
}

const bad = row('Bad', async () => [
  { ...errorFinding('Bad', 'it is bad', 'seen it', 'mend it'), repair: [['true']] },
]);
const odd = row('Odd', async () => [warningFinding('Odd', 'it is odd', 'seen it')]);
const good = row('Good', async () => []);
const host = createLocalHost();

t.test('runPreflight() shows warnings before errors and each finding once', async (t) => {
  const { findings, checks } = await runPreflight(host, INPUT, {
    checks: [bad, { ...bad, name: 'B' }, odd, good],
  });
  t.same(
    findings.map((finding) => `${finding.check} ${finding.severity}`),
    ['Odd warning', 'Bad error'],
  );
  t.same(
    checks.map((check) => `${check.name} ${check.result}`),
    ['Bad error', 'B error', 'Odd warning', 'Good passed'],
  );
});

t.test('runPreflight() runs the first row alone: the others do not look when it fails', async (t) => {
  let looked = 0;
  const first = { ...bad, name: 'First', stage: 'first' as const };
  const other = row('Other', async () => {
    looked += 1;
    return [];
  });
  const failed = await runPreflight(host, INPUT, { checks: [first, other] });
  t.equal(looked, 0);
  t.match(failed.checks, [{ result: 'error' }, { result: 'skipped' }]);
  await runPreflight(host, { ...INPUT, ignored: ['bad'] }, { checks: [first, other] });
  t.equal(looked, 1, 'they do when it is ignored');
});

t.test('runPreflight() leaves what changes something out when an error stands', async (t) => {
  const last = row('Last', async () => [warningFinding('Last', 'it ran', '')], { stage: 'last' });
  t.same(
    (await runPreflight(host, INPUT, { checks: [last, bad] })).checks.map((check) => check.result),
    ['skipped', 'error'],
  );
  t.match((await runPreflight(host, INPUT, { checks: [last, odd] })).checks[0], { result: 'warning' });
});

t.test('runPreflight() gives a check up that hangs, and says so', async (t) => {
  const hangs = row('Hangs', () => new Promise(() => {}), { severity: 'warning' });
  const startedAt = performance.now();
  const { findings } = await runPreflight(host, INPUT, { checks: [hangs, good], timeoutMs: 100 });
  t.ok(performance.now() - startedAt < 2_000);
  t.match(findings, [
    {
      check: 'Hangs',
      severity: 'warning',
      reason: 'the check could not look',
      evidence: /did not end within 100 ms/,
    },
  ]);
});

t.test('runPreflight() ends a command that hangs', async (t) => {
  const sleeps = row('Sleeps', async (seen) => {
    const { exitCode } = await seen.run(['sleep', '60'], { timeoutMs: 200 });
    return [warningFinding('Sleeps', `exit code ${exitCode}`, '')];
  });
  const { findings } = await runPreflight(host, INPUT, { checks: [sleeps] });
  t.match(findings, [{ reason: 'exit code 124' }]);
});

t.test('runPreflight() names the checks that still look, and ends with the signal at once', async (t) => {
  const stop = new AbortController();
  const pending: string[] = [];
  const hangs = row('Hangs', () => new Promise(() => {}));
  const looking = runPreflight(host, INPUT, {
    checks: [good, hangs],
    signal: stop.signal,
    onPending(names) {
      pending.push(...names);
      stop.abort(new Error('interrupted'));
    },
  });
  await t.rejects(looking, { message: 'interrupted' });
  t.same(pending, ['Hangs']);
});

t.test('runPreflight() tells what passed from what had nothing to look at', async (t) => {
  const report = await runPreflight(host, INPUT, { checks: [good, row('Idle', async () => undefined)] });
  t.match(report.checks, [{ result: 'passed' }, { result: 'idle' }]);
  t.match(formatReport(report), /^2 checks: 1 passed, 1 not needed \(/);
});

t.test('runPreflight() tells of a check that fails, with its own severity', async (t) => {
  const throws = row('Throws', async () => {
    throw new Error('no such thing');
  });
  const { findings } = await runPreflight(host, INPUT, { checks: [throws] });
  t.match(findings, [{ check: 'Throws', severity: 'error', evidence: 'no such thing' }]);
});

t.test('runPreflight() looks once at what several checks want, and changes nothing', async (t) => {
  const counts = new Map<string, number>();
  const counting: Host = {
    ...host,
    readFile: (path) => {
      counts.set(path, (counts.get(path) ?? 0) + 1);
      return host.readFile(path);
    },
  };
  const reads = (name: string) =>
    row(name, async (seen) => {
      await seen.readFile('/proc/meminfo');
      return [];
    });
  await runPreflight(counting, INPUT, { checks: [reads('A'), reads('B')] });
  t.equal(counts.get('/proc/meminfo'), 1);
  const writes = row('Writes', async (seen) => {
    await seen.remove('/tmp/nothing');
    return [];
  });
  const { findings } = await runPreflight(host, INPUT, { checks: [writes] });
  t.match(findings, [{ evidence: 'preflight only looks' }]);
});

t.test('names to be ignored: any letter case, "all", and nothing repairs them', async (t) => {
  const severities = async (ignored: readonly string[]) => {
    const { findings } = await runPreflight(host, { ...INPUT, ignored }, { checks: [bad, good] });
    return findings.filter((row) => row.check === 'Bad').map((row) => [row.severity, row.isIgnored ?? false]);
  };
  t.same(await severities([]), [['error', false]]);
  t.same(await severities(['BAD']), [['warning', true]]);
  t.same(await severities(['all']), [['warning', true]]);
  const { findings } = await runPreflight(host, { ...INPUT, ignored: ['bad'] }, { checks: [bad] });
  t.same(selectRepairable(findings), []);
  t.same(selectFatal(findings), []);
});

t.test('selectFatal() leaves what --fix mends, preflightError() names every fix', async (t) => {
  const { findings } = await runPreflight(host, INPUT, { checks: [bad] });
  t.equal(selectFatal(findings).length, 1);
  t.equal(selectFatal(findings, true).length, 0);
  t.equal(selectRepairable(findings).length, 1);
  const error = preflightError(findings);
  t.match(error, { code: 'PREFLIGHT_FAILED', hint: /--fix/, details: { findings } });
  t.match(error.message, '[ERROR Bad] it is bad (seen it); fix: mend it');
  t.match(preflightError([errorFinding('X', 'r', 'e')]).hint, '--ignore-preflight-errors=X');
});

t.test('formatReport() has a block for each finding and sums up', async (t) => {
  const report = await runPreflight(host, { ...INPUT, ignored: ['odd'] }, { checks: [bad, odd, good] });
  t.match(
    formatReport(report),
    'IGNORED  Odd\n         it is odd\n         seen  seen it\n\n' +
      'ERROR    Bad\n         it is bad\n         seen  seen it\n         fix   mend it   (--fix does it)\n\n' +
      '3 checks: 1 passed, 1 with warnings, 1 with errors (',
  );
  const shown = report.findings.find((finding) => finding.check === 'Odd')!;
  t.equal(formatFinding(shown), '[WARNING Odd, ignored] it is odd (seen it)');
  t.equal(formatWarning(shown), 'Odd, ignored: it is odd (seen it)');
});

t.test('runPreflight() looks at this machine within its time', async (t) => {
  const times: number[] = [];
  for (let i = 0; i < 3; i += 1) times.push((await runPreflight(host, INPUT)).durationMs);
  t.comment(`all checks of init: ${times.join(', ')} ms`);
  t.ok(Math.min(...times) < 2_000, `${Math.min(...times)} ms`);
});
