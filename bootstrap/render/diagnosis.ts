import { type Diagnosis, formatSubject } from '../diagnose/diagnose.ts';
import type { Finding } from '../diagnose/diagnosis.ts';
import { isFaulty } from '../diagnose/rank.ts';
import { wrap } from './wrap.ts';

/** The document of `tkadm why`, docs/output.md. */
export function describeDiagnosis({ subject, findings, unseen }: Diagnosis) {
  return { ok: !isFaulty(findings), subject: formatSubject(subject), findings, unseen };
}

/**
 * A diagnosis for people: each cause with what was seen and what to do, the likeliest first. Sentences are wrapped at `columns`; a
 * command stays in one line, so that it can be copied.
 */
export function formatDiagnosis({ subject, findings, unseen }: Diagnosis, columns = Infinity): string {
  const name = formatSubject(subject);
  const faults = findings.filter(({ confidence }) => confidence !== 'possible');
  const notes = findings.filter(({ confidence }) => confidence === 'possible');
  const head =
    faults.length === 0
      ? `${name}: nothing is wrong\n`
      : `${name}: ${faults.length === 1 ? 'one cause' : `${faults.length} causes, the likeliest first`}\n`;
  return [
    head,
    ...faults.map((finding, i) => formatFinding(finding, `${i + 1}.`, columns)),
    notes.length > 0 ? '\nThis may matter as well:\n' : '',
    ...notes.map((finding) => formatFinding(finding, '-', columns)),
    unseen.length > 0
      ? `\nNot seen:\n${unseen.map((line) => `${wrap(`  ${line}`, 4, columns)}\n`).join('')}`
      : '',
  ].join('');
}

function formatFinding(
  { cause, evidence, fix, confidence, name }: Finding,
  mark: string,
  columns: number,
): string {
  const lines = [
    wrap(`${mark} ${cause}`, 3, columns),
    ...evidence.map((line) => wrap(`   seen  ${line}`, INDENT, columns)),
    wrap(`   fix   ${fix}`, INDENT, columns, STEP),
    `   (${confidence}: ${name})`,
  ];
  return `\n${lines.join('\n')}\n`;
}

/** Where what is seen and what is to be done begin. */
const INDENT = 9;
/** A fix is wrapped between its steps alone. */
const STEP = /(?<=[;:]) /;
