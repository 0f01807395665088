import type { ApiClient } from '../../api/client.ts';
import type { Change } from '../../api/informer.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import type { Logger } from '../../base/log.ts';
import type { Action } from '../component/action.ts';
import type { View } from '../component/view.ts';

/** A kind that a controller follows, and which of its keys a change concerns. */
export interface WatchRow {
  readonly kind: Kind<KubeObject>;
  readonly keys: (change: Change<KubeObject>, view: View) => Iterable<string>;
  /** Metadata is enough, unless another controller reads more of this kind. */
  readonly metadataOnly?: boolean;
}

/** What a reconcile is given besides its key. */
export interface ReconcileContext {
  readonly view: View;
  readonly now: Date;
  /** For what no local copy holds: access reviews, lists of arbitrary kinds. */
  readonly api: ApiClient;
  readonly log: Logger;
  /** Random text of [a-z0-9], for name suffixes. */
  readonly randomSuffix: (length: number) => string;
}

/** What to change now, and when to look again though nothing changes. */
export interface ReconcileResult {
  readonly actions: readonly Action[];
  readonly requeueAfterMs?: number | undefined;
}

/** One control loop: keys come from watches, each key is brought to its desired state. */
export interface Controller {
  readonly name: string;
  readonly watches: readonly WatchRow[];
  /** Keys looked at side by side; default 5 as upstream's concurrent-*-syncs. */
  readonly workers?: number;
  /** Keys to look at though nothing changed, once at the start and then at this period. */
  readonly periodic?: { readonly keys: readonly string[]; readonly everyMs: number };
  reconcile(key: string, context: ReconcileContext): ReconcileResult | Promise<ReconcileResult>;
  /** What to write after an action of the key was refused; the key is tried again with back-off anyway. */
  failed?(key: string, error: unknown, context: ReconcileContext): readonly Action[];
}

/** Nothing to do. */
export const SETTLED: ReconcileResult = { actions: [] };

/** A watch row with its kind's object type; `keys` gets typed changes. */
export function watch<T extends KubeObject>(
  kind: Kind<T>,
  keys: (change: Change<T>, view: View) => Iterable<string>,
): WatchRow {
  return { kind, keys: keys as WatchRow['keys'] };
}

/** A watch whose keys are those of the objects themselves. */
export function watchSelf<T extends KubeObject>(kind: Kind<T>): WatchRow {
  return { kind, keys: (change) => [change.key] };
}

/** A watch that gives the keys of the controllers of kind `ownerKind`, as the ownerReferences name them. */
export function watchOwned<T extends KubeObject>(kind: Kind<T>, ownerKind: string): WatchRow {
  const ownerKey = (object: T | undefined): string[] => {
    const reference = object?.metadata?.ownerReferences?.find((entry) => entry.controller);
    if (reference?.kind !== ownerKind) return [];
    return [`${object?.metadata?.namespace}/${reference.name}`];
  };
  return watch(kind, (change) => new Set([...ownerKey(change.object), ...ownerKey(change.previous)]));
}

/** The first of some waits in ms, at least 1; undefined when nothing is waited for. */
export function earliest(waits: readonly (number | undefined)[]): number | undefined {
  const known = waits.filter((wait) => wait !== undefined);
  return known.length > 0 ? Math.max(1, Math.min(...known)) : undefined;
}
