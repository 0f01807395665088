import { TkadmError } from '../runtime/base/errors.ts';
import type { Finding } from './finding.ts';
import type { PreflightReport } from './run.ts';

/** "[ERROR Port-6443] port 6443 is in use (a socket listens on it); fix: ss ..." */
export function formatFinding({ check, severity, reason, evidence, fix, isIgnored }: Finding): string {
  const level = `${severity.toUpperCase()} ${check}${isIgnored ? ', ignored' : ''}`;
  return `[${level}] ${reason} (${evidence})${fix ? `; fix: ${fix}` : ''}`;
}

/** The same without its gravity, where that is shown beside: "Swap: swap is on ..." */
export function formatWarning(finding: Finding): string {
  return formatFinding(finding).replace(/^\[\w+ (.+?)\]/, '$1:');
}

/** The error that lists every fatal finding with its fix. `isRepaired`: as they are after the repairs of --fix. */
export function preflightError(findings: readonly Finding[], isRepaired = false): TkadmError {
  const lines = findings.map((finding) => `  ${formatFinding(finding)}`);
  const canFix = !isRepaired && findings.some((finding) => finding.repair);
  const what = isRepaired ? 'after its repairs preflight still finds' : 'preflight found';
  return new TkadmError('PREFLIGHT_FAILED', `Cannot go on, ${what}:\n${lines.join('\n')}`, {
    hint: canFix
      ? 'the same command with --fix repairs what can be repaired'
      : `--ignore-preflight-errors=${findings.map((row) => row.check).join(',')} goes on all the same`,
    details: { findings },
  });
}

/** A report for people: one block a finding, worst last, and a line that sums up. */
export function formatReport({ findings, checks, durationMs }: PreflightReport): string {
  const count = (result: string) => checks.filter((check) => check.result === result).length;
  const parts = [
    `${count('passed') + count('note')} passed`,
    ...(count('idle') > 0 ? [`${count('idle')} not needed`] : []),
    ...(['warning', 'error', 'skipped'] as const)
      .filter((result) => count(result) > 0)
      .map((result) => `${count(result)} ${result === 'skipped' ? 'skipped' : `with ${result}s`}`),
  ];
  const sum = `${checks.length} checks: ${parts.join(', ')} (${Math.round(durationMs)} ms)\n`;
  return findings.map(formatBlock).join('') + sum;
}

function formatBlock({ check, severity, reason, evidence, fix, repair, isIgnored }: Finding): string {
  const lines = [
    `${(isIgnored ? 'ignored' : severity).toUpperCase().padEnd(7)}  ${check}`,
    `         ${reason}`,
    `         seen  ${evidence}`,
  ];
  if (fix) lines.push(`         fix   ${fix}${repair && !isIgnored ? '   (--fix does it)' : ''}`);
  return `${lines.join('\n')}\n\n`;
}
