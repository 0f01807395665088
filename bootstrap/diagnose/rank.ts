import type { Confidence, DiagnosisRow, Finding, Match } from './diagnosis.ts';
import type { Evidence } from './evidence.ts';

const ORDER: Readonly<Record<Confidence, number>> = { certain: 0, likely: 1, possible: 2 };

/**
 * Every cause that the evidence speaks for, the likeliest first: by confidence, then by the order of the rows, in which
 * what others stand on comes first.
 */
export function rankCauses(rows: readonly DiagnosisRow[], evidence: Evidence): readonly Finding[] {
  const all = rows.flatMap((row) => findAll(row, evidence));
  return all
    .filter((finding) => !isToldCloser(finding, rows, all))
    .sort((a, b) => ORDER[a.confidence] - ORDER[b.confidence]);
}

/** What is wrong with a machine tells closer what the cluster shows of it. */
function isToldCloser(
  { name, subject }: Finding,
  rows: readonly DiagnosisRow[],
  all: readonly Finding[],
): boolean {
  const { unless = [] } = rows.find((row) => row.name === name) ?? {};
  return all.some(
    (other) => unless.includes(other.name) && (subject === 'cluster' || other.subject === subject),
  );
}

/** True when something is wrong: a cause that is only possible is none. */
export function isFaulty(findings: readonly Finding[]): boolean {
  return findings.some(({ confidence }) => confidence !== 'possible');
}

function findAll(row: DiagnosisRow, evidence: Evidence): readonly Finding[] {
  const { machines, cluster } = evidence;
  const found = (subject: string, match: Match | undefined): readonly Finding[] =>
    match ? [{ name: row.name, confidence: row.confidence, subject, ...match }] : [];
  switch (row.of) {
    case 'machine':
      return machines.flatMap((machine) => found(`node/${machine.name}`, row.matches(machine, evidence)));
    case 'cluster':
      return cluster ? found('cluster', row.matches(cluster, evidence)) : [];
    case 'node':
      return (cluster?.nodes ?? []).flatMap((node) =>
        found(`node/${node.metadata?.name}`, row.matches(node, cluster!, evidence)),
      );
    case 'pod':
      return (cluster?.pods ?? []).flatMap((pod) =>
        found(`pod/${pod.metadata?.namespace}/${pod.metadata?.name}`, row.matches(pod, cluster!, evidence)),
      );
  }
}
