import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import type { UserInfo } from '../auth/types.ts';

/** What a write is about and who asks. `row` is the stored one. */
export interface WriteTarget {
  readonly row: ResourceRow;
  readonly namespace: string;
  readonly name: string;
  readonly subresource: string;
  readonly user: UserInfo;
  readonly isDryRun: boolean;
}

/** Completes and checks objects by the schema of their kind. */
export interface ObjectRules {
  /** Fills in defaults, in place. */
  applyDefaults(object: KubeObject): void;
  /** @throws StatusError 422 */
  validate(
    target: Pick<WriteTarget, 'row' | 'subresource'>,
    object: KubeObject,
    old: KubeObject | undefined,
  ): void;
}
