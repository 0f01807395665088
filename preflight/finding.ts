import type { Host } from '../runtime/base/host.ts';

/** Which machine is looked at: one that becomes a cluster, or one that joins as a worker. */
export type PreflightScope = 'init' | 'join';

export type Severity = 'error' | 'warning';

/** One thing that stands in the way, or may. */
export interface Finding {
  /** The check's name, as kubeadm has it where it has one; also the name for --ignore-preflight-errors. */
  readonly check: string;
  readonly severity: Severity;
  readonly reason: string;
  /** What was looked at and seen. */
  readonly evidence: string;
  /** The exact command that mends it. */
  readonly fix?: string;
  /** Commands, without a shell, that mend it; absent when only a person can. */
  readonly repair?: readonly (readonly string[])[];
}

/** What the checks need to know of the plan. */
export interface PreflightInput {
  readonly scope: PreflightScope;
  readonly nodeName: string;
  /** TCP ports that will be listened on. */
  readonly ports: readonly number[];
  /** Files that must not be there. */
  readonly absentFiles: readonly string[];
  /** Pod and service ranges, which must not hold this machine's networks. */
  readonly clusterCidrs: readonly string[];
  /** Checks whose errors become warnings; "all" stands for every one. */
  readonly ignored: readonly string[];
  /** Address of this node's API server, which one of its interfaces must have. */
  readonly advertiseAddress?: string | undefined;
  /** Directories that must be absent or empty: the data of an etcd to be started. */
  readonly emptyDirectories?: readonly string[] | undefined;
  /** The installer's environment, for its proxy variables. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Default: embedded. */
  readonly engine?: 'embedded' | 'upstream' | undefined;
}

/** A row of the table: looks at one side of the machine. */
export interface Check {
  /** Its findings have this name, or this name, "-" and what they are about. */
  readonly name: string;
  readonly scopes: readonly PreflightScope[];
  observe(host: Host, input: PreflightInput): Promise<readonly Finding[]>;
}

/** Both scopes. */
export const BOTH: readonly PreflightScope[] = ['init', 'join'];

/** A finding that stops the run. */
export function errorFinding(check: string, reason: string, evidence: string, fix?: string): Finding {
  return { check, severity: 'error', reason, evidence, ...(fix ? { fix } : {}) };
}

/** A finding that is told. */
export function warningFinding(check: string, reason: string, evidence: string, fix?: string): Finding {
  return { ...errorFinding(check, reason, evidence, fix), severity: 'warning' };
}
