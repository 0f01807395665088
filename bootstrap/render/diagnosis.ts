import { type Diagnosis, formatSubject } from '../diagnose/diagnose.ts';
import type { Finding } from '../diagnose/diagnosis.ts';
import { isFaulty } from '../diagnose/rank.ts';

/** The document of `tkadm why`, docs/output.md. */
export function describeDiagnosis({ subject, findings, unseen }: Diagnosis) {
  return { ok: !isFaulty(findings), subject: formatSubject(subject), findings, unseen };
}

/** A diagnosis for people: each cause with what was seen and what to do, the likeliest first. */
export function formatDiagnosis({ subject, findings, unseen }: Diagnosis): string {
  const name = formatSubject(subject);
  const faults = findings.filter(({ confidence }) => confidence !== 'possible');
  const notes = findings.filter(({ confidence }) => confidence === 'possible');
  const head =
    faults.length === 0
      ? `${name}: nothing is wrong\n`
      : `${name}: ${faults.length === 1 ? 'one cause' : `${faults.length} causes, the likeliest first`}\n`;
  return [
    head,
    ...faults.map((finding, i) => formatFinding(finding, `${i + 1}.`)),
    notes.length > 0 ? '\nThis may matter as well:\n' : '',
    ...notes.map((finding) => formatFinding(finding, '-')),
    unseen.length > 0 ? `\nNot seen:\n${unseen.map((line) => `  ${line}\n`).join('')}` : '',
  ].join('');
}

function formatFinding({ cause, evidence, fix, confidence, name }: Finding, mark: string): string {
  const lines = [
    `${mark} ${cause}`,
    ...evidence.map((line) => `   seen  ${line}`),
    `   fix   ${fix}`,
    `   (${confidence}: ${name})`,
  ];
  return `\n${lines.join('\n')}\n`;
}
