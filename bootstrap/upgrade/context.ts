import type { UpgradeStep } from '../config/types.ts';
import type { InitContext } from '../phases/init-context.ts';

/** What the phases of an upgrade look at. */
export interface UpgradeContext extends InitContext {
  readonly step: UpgradeStep;
  readonly nodeName: string;
  readonly isControlPlane: boolean;
  /** The stored documents. */
  readonly documents: string;
  /** Id of the bundle that this package makes. */
  readonly wantedBundle: string;
  /** Name servers' file of this node, when systemd-resolved runs. */
  readonly resolvConf?: string | undefined;
  /** The cluster answers: its checks can be made. */
  readonly isReachable: boolean;
}
