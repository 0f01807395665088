import { randomBytes, randomUUID } from 'node:crypto';
import type { KubeObject } from '../../api/kinds.ts';
import { formatApiVersion, type ResourceRow } from '../../api/resources.ts';
import { formatTime } from '../../api/time.ts';
import type { AdmissionOperation, AdmissionPlugin, AdmissionRequest } from '../admission/types.ts';
import type { UserInfo } from '../auth/types.ts';
import { type ClusterState, formatId } from '../store/cluster-state.ts';
import { formatStoredObject, insertRevision } from '../store/object-bytes.ts';
import { StateObject } from '../store/resource-state.ts';
import { KeyLock } from './key-lock.ts';
import { alreadyExists, conflict, invalid, MODIFIED, notFound } from './status-errors.ts';
import { type AnyObject, type StrategyContext, strategyOf } from './strategies.ts';
import { scopeUpdate } from './update-scopes.ts';

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
const GENERATED_NAME_MAX = 58;
const NAME_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** Creates and changes objects: strategy, admission, validation, compare-and-swap. Knows no HTTP. */
export class Registry {
  readonly state: ClusterState;
  readonly now: () => Date;
  readonly #admission: readonly AdmissionPlugin[];
  readonly #rules: ObjectRules;
  /** Writers of one object queue up here instead of overtaking and repeating each other. */
  readonly #locks = new KeyLock();

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

  /**
   * Runs `perform` behind admission's `admit` and `validate`, and undoes what was reserved if it fails or is
   * undefined, which is a conflict.
   */
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
    const admitted: AdmissionPlugin[] = [];
    try {
      for (const plugin of this.#admission) {
        admitted.push(plugin);
        await plugin.admit?.(request);
      }
      check();
      for (const plugin of this.#admission) await plugin.validate?.(request);
      const result = await perform();
      if (result === undefined) await undoAll(admitted, request);
      return result;
    } catch (error) {
      await undoAll(admitted, request);
      throw error;
    }
  }

  async #createOnce(given: WriteTarget, source: AnyObject): Promise<StateObject | undefined> {
    const since = this.state.revision;
    const object = structuredClone(source);
    const context = { user: given.user, now: this.now };
    this.#prepareCreate(given, object, context);
    const target = { ...given, name: object.metadata?.name ?? '' };
    const check = () => this.#rules.validate(target, object, undefined);
    const change = { operation: 'CREATE', object, oldObject: undefined } as const;
    return this.admit(target, change, () => this.#insert(target, object, since), check);
  }

  #prepareCreate(target: WriteTarget, object: AnyObject, context: StrategyContext): void {
    const { row } = target;
    const strategy = strategyOf(row);
    object.kind = row.kind;
    object.apiVersion = formatApiVersion(row);
    object.metadata = this.#newMetadata(target, object, strategy.hasGeneration ?? false);
    const hasStatus = (row.subresources ?? []).some((sub) => sub.name === 'status');
    if (hasStatus && !strategy.keepsStatusOnCreate) {
      delete object.status;
      object.status = {};
    }
    this.#rules.applyDefaults(object);
    if (strategy.initialStatus) object.status = strategy.initialStatus(object, context);
    strategy.prepareCreate?.(object, context);
  }

  #newMetadata(target: WriteTarget, object: AnyObject, hasGeneration: boolean): AnyObject['metadata'] {
    const { resourceVersion, deletionTimestamp, deletionGracePeriodSeconds, generation, selfLink, ...given } =
      object.metadata ?? {};
    const name = given.name || target.name || this.#generateName(target.row, given.generateName);
    return {
      ...given,
      name,
      ...(target.row.namespaced ? { namespace: target.namespace } : {}),
      uid: randomUUID(),
      creationTimestamp: formatTime(this.now()),
      ...(hasGeneration ? { generation: 1 } : {}),
    };
  }

  #generateName(row: ResourceRow, prefix: string | undefined): string {
    if (!prefix) {
      throw invalid(row, '', [
        {
          reason: 'FieldValueRequired',
          message: 'Required value: name or generateName is required',
          field: 'metadata.name',
        },
      ]);
    }
    const suffix = [...randomBytes(5)].map((byte) => NAME_ALPHABET[byte % NAME_ALPHABET.length]).join('');
    return `${prefix.slice(0, GENERATED_NAME_MAX)}${suffix}`;
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
    const object = this.#prepareUpdate(target, await options.change(current.parse<AnyObject>()), old);
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

  #prepareUpdate(target: WriteTarget, changed: AnyObject, old: AnyObject): AnyObject {
    const { row, subresource } = target;
    const object = scopeUpdate(subresource, changed, old) ?? changed;
    object.kind = row.kind;
    object.apiVersion = formatApiVersion(row);
    object.metadata = keepSystemMetadata(object, old);
    if (subresource === '') {
      if ((row.subresources ?? []).some((sub) => sub.name === 'status')) keepStatus(object, old);
      strategyOf(row).prepareUpdate?.(object, old, { user: target.user, now: this.now });
    }
    this.#rules.applyDefaults(object);
    return object;
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

async function undoAll(plugins: AdmissionPlugin[], request: AdmissionRequest): Promise<void> {
  for (const plugin of plugins.reverse()) await plugin.undo?.(request);
}

function isAlreadyExists(error: unknown): boolean {
  return (
    error instanceof Error &&
    'status' in error &&
    (error.status as { reason?: string }).reason === 'AlreadyExists'
  );
}

// Clients write keys in another order than the store: only then is a closer look needed.
function isSame(object: AnyObject, current: StateObject): boolean {
  const bytes = insertRevision(formatStoredObject(object), current.revision);
  if (bytes.length !== current.bytes.length) return false;
  if (bytes.equals(current.bytes)) return true;
  return canonical(JSON.parse(bytes.toString())) === canonical(current.object);
}

function isFinished(object: AnyObject, old: AnyObject): boolean {
  const isDeleting = old.metadata?.deletionTimestamp !== undefined;
  const graceSeconds = old.metadata?.deletionGracePeriodSeconds ?? 0;
  const hasFinalizers = (object.metadata?.finalizers ?? []).length > 0;
  const hadFinalizers = (old.metadata?.finalizers ?? []).length > 0;
  const specFinalizers = (object.spec?.['finalizers'] as readonly string[] | undefined) ?? [];
  const isNamespace = object.kind === 'Namespace';
  if (!isDeleting || graceSeconds > 0 || hasFinalizers) return false;
  return isNamespace ? specFinalizers.length === 0 : hadFinalizers;
}

/** The metadata of an update: what the server owns stays as it was. */
function keepSystemMetadata(object: AnyObject, old: AnyObject): AnyObject['metadata'] {
  const { resourceVersion, selfLink, generateName, ...given } = object.metadata ?? {};
  const before = old.metadata ?? {};
  return {
    ...given,
    name: before.name,
    ...(before.generateName ? { generateName: before.generateName } : {}),
    namespace: before.namespace,
    uid: before.uid,
    creationTimestamp: before.creationTimestamp,
    deletionTimestamp: before.deletionTimestamp,
    deletionGracePeriodSeconds: before.deletionGracePeriodSeconds,
    generation: before.generation,
  };
}

function keepStatus(object: AnyObject, old: AnyObject): void {
  if (old.status === undefined) delete object.status;
  else object.status = structuredClone(old.status);
}

function countGeneration(object: AnyObject, old: AnyObject): void {
  if (!object.metadata || contentOf(object) === contentOf(old)) return;
  object.metadata = { ...object.metadata, generation: (old.metadata?.generation ?? 0) + 1 };
}

function contentOf(object: AnyObject): string {
  const { kind: _k, apiVersion: _a, metadata: _m, status: _s, ...content } = object;
  return canonical(content);
}

function canonical(value: unknown): string {
  return JSON.stringify(sortKeys(value));
}

function sortKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortKeys);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, item]) => item !== undefined)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, item]) => [key, sortKeys(item)]),
  );
}
