import { formatError, TkadmError } from '../runtime/base/errors.ts';
import type { Host } from '../runtime/base/host.ts';
import { untilAborted } from '../runtime/base/time.ts';
import { CHECKS } from './checks.ts';
import { type Check, errorFinding, type Finding, type PreflightInput, type Severity } from './finding.ts';
import { formatLooksAt } from './looks-at.ts';
import { isIgnoredName, reportUnknownNames } from './names.ts';
import { createObserver } from './observer.ts';

const CHECK_TIMEOUT_MS = 60_000;
/** Errors last: they are what the reader must see. */
const ORDER: readonly Severity[] = ['note', 'warning', 'error'];

/** What became of one row. */
export interface CheckResult {
  readonly name: string;
  /** `idle`: nothing to look at with this plan. `skipped`: an earlier error has made it pointless. */
  readonly result: 'passed' | 'idle' | 'skipped' | Severity;
  /** What was looked at, with the engine of this run. */
  readonly looksAt: string;
  readonly durationMs: number;
}

export interface PreflightReport {
  /** Notes, then warnings, then errors; no two are the same. */
  readonly findings: readonly Finding[];
  readonly checks: readonly CheckResult[];
  readonly durationMs: number;
}

export interface PreflightOptions {
  /** Default: the table. */
  readonly checks?: readonly Check[];
  readonly signal?: AbortSignal | undefined;
  /** Upper bound of a row's own time limit. */
  readonly timeoutMs?: number;
  /** Told the names of the checks that look, whenever one has ended. */
  readonly onPending?: (names: readonly string[]) => void;
}

/**
 * Runs the checks of the scope: the user's rights first and alone, then all others at the same time, each within
 * its time; what pulls or creates comes last and only when nothing stands in the way. Errors to be ignored come
 * as warnings.
 */
export async function runPreflight(
  host: Host,
  input: PreflightInput,
  { checks = CHECKS, signal, timeoutMs = Number.POSITIVE_INFINITY, onPending }: PreflightOptions = {},
): Promise<PreflightReport> {
  const startedAt = performance.now();
  const observer = createObserver(host, signal);
  const rows = checks.filter((row) => row.scopes.includes(input.scope));
  const outcomes: Outcome[] = [];
  for (const stage of ['first', undefined, 'last'] as const) {
    const isStopped = selectFatal(outcomes.flatMap((outcome) => outcome.findings)).length > 0;
    const looking = rows.filter((row) => row.stage === stage);
    const pending = new Set(looking);
    const look = async (row: Check) => {
      if (isStopped) return skip(row, input);
      const outcome = await observe(row, { host: observer, input, timeoutMs });
      pending.delete(row);
      onPending?.([...pending].map(({ name }) => name));
      return outcome;
    };
    outcomes.push(...(await untilAborted(Promise.all(looking.map(look)), signal)));
  }
  const findings = [...reportUnknownNames(input.ignored), ...outcomes.flatMap((outcome) => outcome.findings)];
  return {
    findings: sortFindings(findings),
    checks: rows.map((row) => outcomes.find((outcome) => outcome.check.name === row.name)!.check),
    durationMs: Math.round(performance.now() - startedAt),
  };
}

/** Errors that stop the run; with --fix, those that nothing can mend. */
export function selectFatal(findings: readonly Finding[], shouldFix = false): readonly Finding[] {
  return findings.filter((finding) => finding.severity === 'error' && !(shouldFix && finding.repair));
}

/** Findings that --fix mends. What is ignored stays as it is. */
export function selectRepairable(findings: readonly Finding[]): readonly Finding[] {
  return findings.filter((finding) => finding.repair && !finding.isIgnored && finding.severity !== 'note');
}

interface Outcome {
  readonly check: CheckResult;
  readonly findings: readonly Finding[];
}

function skip(row: Check, { engine = 'embedded' }: PreflightInput): Outcome {
  const looksAt = formatLooksAt(row.looksAt, engine);
  return { check: { name: row.name, result: 'skipped', looksAt, durationMs: 0 }, findings: [] };
}

async function observe(
  row: Check,
  { host, input, timeoutMs }: { host: Host; input: PreflightInput; timeoutMs: number },
): Promise<Outcome> {
  const startedAt = performance.now();
  const limitMs = Math.min(row.timeoutMs ?? CHECK_TIMEOUT_MS, timeoutMs);
  const found = await within(row.observe(host, input), limitMs).catch((error) => [
    {
      ...errorFinding(row.name, 'the check could not look', formatError(error)),
      severity: row.severity,
      isBlind: true,
    },
  ]);
  const findings = (found ?? []).map((finding) => applyIgnored(finding, input.ignored));
  const worst = ORDER.findLast((severity) => findings.some((finding) => finding.severity === severity));
  return {
    check: {
      name: row.name,
      result: worst ?? (found === undefined ? 'idle' : 'passed'),
      looksAt: formatLooksAt(row.looksAt, input.engine ?? 'embedded'),
      durationMs: Math.round(performance.now() - startedAt),
    },
    findings,
  };
}

function applyIgnored(finding: Finding, ignored: readonly string[]): Finding {
  if (finding.severity === 'note' || !isIgnoredName(finding.check, ignored)) return finding;
  return { ...finding, severity: 'warning', isIgnored: true };
}

async function within<T>(work: Promise<T>, timeoutMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new TkadmError('WAIT_TIMEOUT', `it did not end within ${timeoutMs} ms`)),
      timeoutMs,
    );
  });
  // A check that is given up on may still fail, which nobody waits for.
  work.catch(() => {});
  return Promise.race([work, late]).finally(() => clearTimeout(timer));
}

function sortFindings(findings: readonly Finding[]): readonly Finding[] {
  const unique = new Map(findings.map((finding) => [JSON.stringify(finding), finding]));
  return ORDER.flatMap((severity) => [...unique.values()].filter((finding) => finding.severity === severity));
}
