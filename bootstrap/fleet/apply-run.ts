import type { Node } from 'kubernetes-types/core/v1.d.ts';
import type { CliContext } from '../commands/context.ts';
import type { FleetReporter } from '../render/fleet.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { Fleet, FleetHost } from './cluster-file.ts';
import type { Gate } from './gate.ts';
import type { FleetTools } from './join-member.ts';
import type { Member } from './member.ts';

/** A host of the file with the way to it. */
export interface ApplyMember extends Member {
  readonly host: FleetHost;
  /** The control plane that makes the cluster, or is looked at first. */
  readonly isFirst: boolean;
}

/** The cluster, once the first control plane stands. */
export interface ReadyCluster {
  readonly access: ClusterAccess;
  /** For further control planes, for whom the certificates were uploaded. */
  readonly certificateKey: string | undefined;
}

/** What all pipelines of one `apply` share. */
export interface ApplyRun {
  readonly context: CliContext;
  readonly fleet: Fleet;
  readonly tools: FleetTools;
  readonly reporter: FleetReporter;
  readonly isPlan: boolean;
  readonly shouldFix: boolean;
  readonly ignorePreflightErrors: readonly string[];
  readonly kubeconfigPath: string;
  /** The cluster as it was found; undefined when there is none yet. */
  readonly known: ClusterAccess | undefined;
  /** Its nodes then. */
  readonly nodes: readonly Node[];
  readonly cluster: Gate<ReadyCluster>;
}
