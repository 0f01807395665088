import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import type { UserInfo } from '../auth/types.ts';

export type AdmissionOperation = 'CREATE' | 'UPDATE' | 'DELETE' | 'CONNECT';

/** One write on its way to the store. */
export interface AdmissionRequest {
  readonly operation: AdmissionOperation;
  readonly resource: ResourceRow;
  /** "" for the object itself. */
  readonly subresource: string;
  readonly namespace: string;
  readonly name: string;
  /** The new object, defaults applied; undefined for DELETE. `admit` may change it in place. */
  readonly object: KubeObject | undefined;
  readonly oldObject: KubeObject | undefined;
  readonly user: UserInfo;
  readonly isDryRun: boolean;
}

/**
 * One admission plugin, named as upstream's. `admit` completes the object, then every plugin's `validate`
 * may refuse it with a StatusError (403 Forbidden, upstream wording). `undo` takes back what `admit`
 * reserved when the write fails.
 */
export interface AdmissionPlugin {
  readonly name: string;
  admit?(request: AdmissionRequest): Promise<void> | void;
  validate?(request: AdmissionRequest): Promise<void> | void;
  undo?(request: AdmissionRequest): Promise<void> | void;
}
