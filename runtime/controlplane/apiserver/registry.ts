import type { KubeObject } from '../../api/kinds.ts';
import { KeyedLock } from '../../base/keyed-lock.ts';
import type { AdmissionOperation, AdmissionPlugin, AdmissionRequest } from '../admission/types.ts';
import { type ClusterState, formatId } from '../store/cluster-state.ts';
import { formatStoredObject, insertRevision } from '../store/object-bytes.ts';
import { StateObject } from '../store/resource-state.ts';
import { runAdmitted } from './admission-chain.ts';
import { countGeneration, isSame } from './object-content.ts';
import { prepareCreate, prepareUpdate } from './object-preparation.ts';
import { alreadyExists, conflict, MODIFIED, notFound } from './status-errors.ts';
import { type AnyObject, strategyOf } from './strategies.ts';
import { isFinished } from './system-metadata.ts';
import type { ObjectRules, WriteTarget } from './write-target.ts';

export interface RegistryOptions {
  readonly state: ClusterState;
  readonly admission: readonly AdmissionPlugin[];
  readonly rules: ObjectRules;
  readonly now: () => Date;
}

/** The outcome of `update`; `isCreated` for a PUT that created the object. */
export interface Written {
  readonly object: StateObject;
  readonly isCreated: boolean;
}

export interface UpdateOptions {
  /** The new object from a private copy of the current one; called again after a conflict. */
  readonly change: (current: AnyObject) => AnyObject | Promise<AnyObject>;
  /** A conflict is the client's to resolve: the change was made for one resourceVersion. */
  readonly isConditional: boolean;
  readonly canCreate?: boolean;
}

const CONFLICT_RETRIES = 8;

/** Creates and changes objects: strategy, admission, validation, compare-and-swap. Knows no HTTP. */
export class Registry {
  readonly state: ClusterState;
  readonly now: () => Date;
  readonly #admission: readonly AdmissionPlugin[];
  readonly #rules: ObjectRules;
  /** Writers of one object queue up here instead of overtaking and repeating each other. */
  readonly #locks = new KeyedLock();

  constructor(options: RegistryOptions) {
    this.state = options.state;
    this.now = options.now;
    this.#admission = options.admission;
    this.#rules = options.rules;
  }

  /** @throws StatusError 409, 422, 403 */
  create(target: WriteTarget, object: AnyObject): Promise<StateObject> {
    return this.#alone(target, () => this.#create(target, object));
  }

  async #create(target: WriteTarget, object: AnyObject): Promise<StateObject> {
    for (let attempt = 0; ; attempt += 1) {
      try {
        const created = await this.#createOnce(target, object);
        if (created) return created;
        if (attempt >= CONFLICT_RETRIES) throw conflict(target.row, target.name, MODIFIED);
        await this.state.store.confirm();
      } catch (error) {
        const isGenerated = !object.metadata?.name && object.metadata?.generateName;
        if (!isGenerated || !isAlreadyExists(error) || attempt >= CONFLICT_RETRIES) throw error;
      }
    }
  }

  /** @throws StatusError 404, 409, 422, 403 */
  update(target: WriteTarget, options: UpdateOptions): Promise<Written> {
    return this.exclusively(target, () => this.#update(target, options));
  }

  /** Runs a task while no other writer of this server is at work on the object. */
  exclusively<T>(target: WriteTarget, task: () => Promise<T>): Promise<T> {
    const { group, plural } = target.row;
    const key = `${plural}.${group}/${target.namespace}/${target.name}`;
    return this.#alone(target, () => this.#locks.run(key, task));
  }

  /** Queues up the writers of keys that the store has quiet: of one server's own none shall refuse another. */
  #alone<T>(target: WriteTarget, task: () => Promise<T>): Promise<T> {
    const prefix = target.subresource === '' ? this.state.sharedKeys(target) : undefined;
    return prefix === undefined ? task() : this.#locks.run(prefix, task);
  }

  async #update(target: WriteTarget, options: UpdateOptions): Promise<Written> {
    const { row, name } = target;
    for (let attempt = 0; ; attempt += 1) {
      const current = this.find(target);
      if (!current) {
        if (!options.canCreate) throw notFound(row, name);
        const created = await this.#create(target, await options.change({}));
        return { object: created, isCreated: true };
      }
      const written = await this.#updateOnce(target, current, options);
      if (written) return { object: written, isCreated: false };
      if (options.isConditional || attempt >= CONFLICT_RETRIES) throw conflict(row, name, MODIFIED);
      await this.state.store.confirm();
    }
  }

  /**
   * Writes an object over `current` without strategy and admission; undefined after a conflict, also with what was
   * written behind the revision `since` to a row whose objects share a pool.
   */
  async store(
    target: WriteTarget,
    object: AnyObject,
    current: StateObject,
    since?: number,
  ): Promise<StateObject | undefined> {
    if (isSame(object, current)) return current;
    if (target.isDryRun) return draft(target, object, current.revision);
    const result = await this.state.put(target, object, current.revision, since);
    return result.isCommitted ? this.#stored(target, object, result.revision) : undefined;
  }

  /** Removes an object at the revision of `current`; undefined after a conflict. */
  async remove(target: WriteTarget, current: StateObject): Promise<StateObject | undefined> {
    if (target.isDryRun) return current;
    const result = await this.state.delete(target, current.revision);
    return result.isCommitted ? current : undefined;
  }

  find(target: Pick<WriteTarget, 'row' | 'namespace' | 'name'>): StateObject | undefined {
    return this.state.resource(target.row).get(formatId(target.namespace, target.name));
  }

  /** Runs `perform` behind admission: `runAdmitted`. */
  async admit<T>(
    target: WriteTarget,
    change: {
      readonly operation: AdmissionOperation;
      readonly object: KubeObject | undefined;
      readonly oldObject: KubeObject | undefined;
    },
    perform: () => Promise<T>,
    check: () => void = () => {},
  ): Promise<T> {
    const request: AdmissionRequest = {
      operation: change.operation,
      resource: target.row,
      subresource: target.subresource,
      namespace: target.namespace,
      name: target.name,
      object: change.object,
      oldObject: change.oldObject,
      user: target.user,
      isDryRun: target.isDryRun,
    };
    return runAdmitted(this.#admission, request, { perform, check });
  }

  async #createOnce(given: WriteTarget, source: AnyObject): Promise<StateObject | undefined> {
    const since = this.state.revision;
    const object = structuredClone(source);
    prepareCreate(given, object, { rules: this.#rules, now: this.now });
    const target = { ...given, name: object.metadata?.name ?? '' };
    const check = () => this.#rules.validate(target, object, undefined);
    const change = { operation: 'CREATE', object, oldObject: undefined } as const;
    return this.admit(target, change, () => this.#insert(target, object, since), check);
  }

  /** undefined: another server has written to the row meanwhile, and may have taken what this object took. */
  async #insert(target: WriteTarget, object: AnyObject, since: number): Promise<StateObject | undefined> {
    if (this.find(target)) throw alreadyExists(target.row, target.name);
    if (target.isDryRun) return draft(target, object, 0);
    const result = await this.state.put(target, object, 0, since);
    if (result.isCommitted) return this.#stored(target, object, result.revision);
    if (result.current) throw alreadyExists(target.row, target.name);
    return undefined;
  }

  async #updateOnce(
    target: WriteTarget,
    current: StateObject,
    options: UpdateOptions,
  ): Promise<StateObject | undefined> {
    // A part, such as the status, takes nothing that others share.
    const since = target.subresource === '' ? this.state.revision : undefined;
    const old = current.object as AnyObject;
    const changed = await options.change(current.parse<AnyObject>());
    const object = prepareUpdate(target, { changed, old }, { rules: this.#rules, now: this.now });
    const check = () => this.#rules.validate(target, object, old);
    const change = { operation: 'UPDATE', object, oldObject: old } as const;
    return this.admit(
      target,
      change,
      () => {
        const strategy = strategyOf(target.row);
        if (strategy.hasGeneration) countGeneration(object, old);
        return isFinished(object, old)
          ? this.#finish(target, object, current)
          : this.store(target, object, current, since);
      },
      check,
    );
  }

  // The last finalizer of an object under deletion was taken away: it goes, and the answer is what was sent.
  async #finish(
    target: WriteTarget,
    object: AnyObject,
    current: StateObject,
  ): Promise<StateObject | undefined> {
    const removed = await this.remove(target, current);
    return removed && draft(target, object, current.revision);
  }

  #stored(target: WriteTarget, object: AnyObject, revision: number): StateObject {
    const found = this.find(target);
    return found?.revision === revision ? found : draft(target, object, revision);
  }
}

/** An object as the server would answer it, without its being stored. */
function draft(target: WriteTarget, object: AnyObject, revision: number): StateObject {
  const stored = formatStoredObject(object);
  const bytes = revision === 0 ? stored : insertRevision(stored, revision);
  return new StateObject(formatId(target.namespace, target.name), bytes, revision);
}

function isAlreadyExists(error: unknown): boolean {
  return (
    error instanceof Error &&
    'status' in error &&
    (error.status as { reason?: string }).reason === 'AlreadyExists'
  );
}
