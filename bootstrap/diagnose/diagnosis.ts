import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import type { ClusterEvidence, Evidence, MachineEvidence } from './evidence.ts';

/** How sure a cause is. What is only possible is told, and nobody is alarmed by it. */
export type Confidence = 'certain' | 'likely' | 'possible';

/** A cause that the evidence speaks for. */
export interface Match {
  readonly cause: string;
  /** The command or step that mends it. */
  readonly fix: string;
  /** What was seen, quoted. */
  readonly evidence: readonly string[];
}

interface RowBase {
  readonly name: string;
  /** For the table of docs/why.md. */
  readonly summary: string;
  readonly confidence: Confidence;
  /** Rows that tell the same more closely: when one of them is found for this subject, this one is left out. */
  readonly unless?: readonly string[];
}

/** A cause that is looked for in one kind of evidence; the first match of a subject is told. */
export type DiagnosisRow = RowBase &
  (
    | { readonly of: 'machine'; matches(machine: MachineEvidence, all: Evidence): Match | undefined }
    | { readonly of: 'cluster'; matches(cluster: ClusterEvidence, all: Evidence): Match | undefined }
    | { readonly of: 'node'; matches(node: Node, cluster: ClusterEvidence, all: Evidence): Match | undefined }
    | { readonly of: 'pod'; matches(pod: Pod, cluster: ClusterEvidence, all: Evidence): Match | undefined }
  );

/** A match with what it is about. */
export interface Finding extends Match {
  readonly name: string;
  readonly confidence: Confidence;
  /** "cluster", "node/NAME", "pod/NAMESPACE/NAME" */
  readonly subject: string;
}

/** A list of evidence without what was not seen. */
export function seen(...lines: readonly (string | undefined | false)[]): readonly string[] {
  return lines.filter((line): line is string => typeof line === 'string' && line !== '');
}

/** A line of our programs that reports no failure; what ends a program is often no line of theirs. */
const HARMLESS = /^\S+Z (DEBUG|INFO|WARN) /;

/** Of a log of our own programs what may be the cause: failures, and what Node.js says when it ends a program. */
export function quoteFailures(name: string, lines: readonly string[]): readonly string[] {
  return quoteLog(
    name,
    lines.filter((line) => !HARMLESS.test(line)),
  );
}

/** The same of a program that has ended: without a failure its last words. */
export function quoteEnd(name: string, lines: readonly string[]): readonly string[] {
  const failures = quoteFailures(name, lines);
  return failures.length > 0 ? failures : quoteLog(name, lines, 1);
}

/** `tail` of a log as evidence: `log of kube-apiserver: "..."`. */
export function quoteLog(name: string, lines: readonly string[], count = 3): readonly string[] {
  return lines.slice(-count).map((line) => `log of ${name}: "${line}"`);
}
