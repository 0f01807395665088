import { TkadmError } from '../runtime/base/errors.ts';
import type { Host } from '../runtime/base/host.ts';
import { CHECKS } from './checks.ts';
import type { Finding, PreflightInput } from './finding.ts';

/** Runs every check of the scope at the same time; errors that are to be ignored come as warnings. */
export async function runPreflight(host: Host, input: PreflightInput): Promise<readonly Finding[]> {
  const checks = CHECKS.filter((check) => check.scopes.includes(input.scope));
  const findings = (await Promise.all(checks.map((check) => check.observe(host, input)))).flat();
  return findings.map((finding) =>
    isIgnored(finding, input.ignored) ? { ...finding, severity: 'warning' as const } : finding,
  );
}

/** Findings as kubeadm prints them, one a paragraph: what is wrong, what was seen, how to mend it. */
export function formatFindings(findings: readonly Finding[]): string {
  return findings
    .map(({ check, severity, reason, evidence, fix, repair }) => {
      const lines = [`\t[${severity.toUpperCase()} ${check}]: ${reason}`, `\t\tseen: ${evidence}`];
      if (fix) lines.push(`\t\tfix: ${fix}${repair ? ' (or --fix)' : ''}`);
      return `${lines.join('\n')}\n`;
    })
    .join('');
}

/** Errors that nothing here can mend. */
export function selectFatal(findings: readonly Finding[], shouldFix: boolean): readonly Finding[] {
  return findings.filter((finding) => finding.severity === 'error' && !(shouldFix && finding.repair));
}

/** The error that lists every fatal finding with its fix. */
export function preflightError(findings: readonly Finding[]): TkadmError {
  const lines = findings.map((finding) => `  ${formatFinding(finding)}`);
  const canFix = findings.some((finding) => finding.repair);
  return new TkadmError('PREFLIGHT_FAILED', `Cannot go on, preflight found:\n${lines.join('\n')}`, {
    hint: canFix
      ? 'the same command with --fix repairs what can be repaired'
      : `--ignore-preflight-errors=${findings.map((row) => row.check).join(',')} goes on all the same`,
    details: { findings },
  });
}

/** "[ERROR Port-6443] port 6443 is in use (a socket listens on it); fix: ss ..." */
export function formatFinding({ check, severity, reason, evidence, fix }: Finding): string {
  return `[${severity.toUpperCase()} ${check}] ${reason} (${evidence})${fix ? `; fix: ${fix}` : ''}`;
}

function isIgnored(finding: Finding, ignored: readonly string[]): boolean {
  const names = ignored.map((name) => name.toLowerCase());
  return names.includes('all') || names.includes(finding.check.toLowerCase());
}
