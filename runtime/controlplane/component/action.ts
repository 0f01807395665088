import type { EventSource } from 'kubernetes-types/core/v1.d.ts';
import type { Kind, KubeObject } from '../../api/kinds.ts';
import type { DeleteOptions, ObjectRef, PatchType } from '../../api/requests.ts';

/** A change of the API as data: what `reconcile` returns and `performActions` carries out, in order. */
export type Action =
  | {
      readonly verb: 'create';
      readonly kind: Kind<KubeObject>;
      readonly object: KubeObject;
      /** AlreadyExists is then success. */
      readonly ignoreExisting?: boolean;
      /** Tell of it in Events of this owner: SuccessfulCreate, FailedCreate. */
      readonly announce?: { readonly kind: Kind<KubeObject>; readonly owner: KubeObject };
    }
  | {
      readonly verb: 'update';
      readonly kind: Kind<KubeObject>;
      readonly object: KubeObject;
      readonly subresource?: string;
    }
  | {
      readonly verb: 'patch';
      readonly kind: Kind<KubeObject>;
      readonly ref: ObjectRef;
      readonly type: PatchType;
      readonly body: unknown;
    }
  | {
      readonly verb: 'delete';
      readonly kind: Kind<KubeObject>;
      readonly ref: ObjectRef;
      readonly uid?: string | undefined;
      readonly options?: DeleteOptions;
    }
  | {
      readonly verb: 'post';
      readonly kind: Kind<KubeObject>;
      readonly ref: ObjectRef;
      readonly body: KubeObject;
    }
  | { readonly verb: 'event'; readonly event: EventAction }
  /** Carried out side by side; `slowStart` begins with one and doubles, so that a refusal costs little. */
  | { readonly verb: 'parallel'; readonly actions: readonly Action[]; readonly slowStart?: boolean };

/** An Event about an object; repeats are counted on one Event. */
export interface EventAction {
  readonly kind: Kind<KubeObject>;
  readonly object: KubeObject;
  readonly type: 'Normal' | 'Warning';
  readonly reason: string;
  readonly message: string;
  readonly source?: EventSource;
}

/** POST of a new object. */
export function create<T extends KubeObject>(
  kind: Kind<T>,
  object: T,
  options: Pick<Extract<Action, { verb: 'create' }>, 'ignoreExisting' | 'announce'> = {},
): Action {
  return { verb: 'create', kind, object, ...options };
}

/** PUT of the whole object; its resourceVersion guards against changes in between. */
export function update<T extends KubeObject>(kind: Kind<T>, object: T): Action {
  return { verb: 'update', kind, object };
}

/** PUT of the object's status. */
export function updateStatus<T extends KubeObject>(kind: Kind<T>, object: T): Action {
  return { verb: 'update', kind, object, subresource: 'status' };
}

/** A merge patch (RFC 7386) of the object that `target` is. */
export function mergePatch<T extends KubeObject>(
  kind: Kind<T>,
  target: T,
  body: unknown,
  subresource?: string,
): Action {
  const { name = '', namespace } = target.metadata ?? {};
  return { verb: 'patch', kind, ref: { name, namespace, subresource }, type: 'merge', body };
}

/** DELETE of exactly this object: a new one of the same name is left alone. */
export function remove<T extends KubeObject>(kind: Kind<T>, target: T, options: DeleteOptions = {}): Action {
  const { name = '', namespace, uid } = target.metadata ?? {};
  const preconditions = uid === undefined ? {} : { preconditions: { uid } };
  return { verb: 'delete', kind, ref: { name, namespace }, uid, options: { ...preconditions, ...options } };
}

/** An Event about `object`. */
export function event<T extends KubeObject>(
  kind: Kind<T>,
  object: T,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
): Action {
  return { verb: 'event', event: { kind, object, type, reason, message } };
}

/** These actions side by side; [] gives []. */
export function parallel(
  actions: readonly Action[],
  options: { readonly slowStart?: boolean } = {},
): Action[] {
  if (actions.length < 2) return [...actions];
  return [{ verb: 'parallel', actions, ...options }];
}

/** Every plain action inside, without `parallel`. */
export function flattenActions(actions: readonly Action[]): Action[] {
  return actions.flatMap((action) =>
    action.verb === 'parallel' ? flattenActions(action.actions) : [action],
  );
}
