import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import type { RuleAuthorizer, UserInfo } from '../auth/types.ts';
import type { ObjectReader } from '../store/reader.ts';

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

/** What the plugins and strategies need of their server. */
export interface AdmissionOptions {
  readonly reader: ObjectReader;
  readonly authorizer: RuleAuthorizer;
  /** `--enable-admission-plugins` beyond the defaults, and `--disable-admission-plugins`. */
  readonly enabled?: readonly string[];
  readonly disabled?: readonly string[];
  /** `--service-cluster-ip-range`: one CIDR, or one of each family (the first is the default family). */
  readonly serviceCidrs: readonly string[];
  /** `--service-node-port-range`, both ends included. */
  readonly nodePortRange?: { readonly from: number; readonly to: number };
  readonly now: () => Date;
  readonly randomBytes: (size: number) => Buffer;
}
