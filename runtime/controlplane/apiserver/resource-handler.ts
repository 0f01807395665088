import type { Authorizer } from '../auth/types.ts';
import { formatId } from '../store/cluster-state.ts';
import type { StateObject } from '../store/resource-state.ts';
import { sendJson, sendText } from './answers.ts';
import { type ApplyFunction, applyObject } from './apply-handler.ts';
import { mediaTypeOf } from './body.ts';
import type { Call } from './call.ts';
import { convertOut, storedRowOf } from './conversions.ts';
import {
  deleteCollection,
  deleteObject,
  formatDeletionStatus,
  readDeleteOptions,
} from './delete-handlers.ts';
import { answerList, formatSelectionKey, getObject } from './list-handler.ts';
import { APPLY_TYPE, PATCH_TYPES } from './patcher.ts';
import { createPresenter, type Presenter, type TableBuilder } from './presenter.ts';
import type { UpgradeSocket } from './server.ts';
import { methodNotAllowed, unsupportedMediaType } from './status-errors.ts';
import { strategyOf } from './strategies.ts';
import type { SubresourceHandlers } from './subresources.ts';
import type { WatchServer } from './watch-handler.ts';
import type { Selection } from './watch-hub.ts';
import { createObject, patchObject, updateObject, type WriteDependencies } from './write-handlers.ts';

/** Parses the selectors of a query. @throws StatusError 400 */
export type SelectorParser = (call: Call) => Selection['matches'];

export interface ResourceHandlerOptions extends WriteDependencies {
  readonly watches: WatchServer;
  readonly authorizer: Authorizer;
  readonly parseSelectors: SelectorParser;
  readonly loadTableBuilder: () => Promise<TableBuilder>;
  readonly subresources: SubresourceHandlers;
  readonly formatYaml: (value: unknown) => Promise<string>;
  /** undefined: server-side apply is answered with 415. */
  readonly loadApply: (() => Promise<ApplyFunction>) | undefined;
  readonly now: () => Date;
}

/** Performs the verb of an authorized request for objects. */
export class ResourceHandler {
  readonly #options: ResourceHandlerOptions;

  constructor(options: ResourceHandlerOptions) {
    this.#options = options;
  }

  async serve(call: Call, upgrade: UpgradeSocket | undefined): Promise<void> {
    const special = this.#options.subresources.find(call);
    if (special) return special(call, upgrade);
    const verb = call.info.verb;
    if (verb === 'watch') return this.#watch(call);
    if (verb === 'list') return this.#list(call);
    if (verb === 'deletecollection') return this.#deleteCollection(call);
    const presenter = await this.#presenter(call);
    if (verb === 'get') return this.#answer(call, presenter, 200, this.#get(call));
    if (verb === 'create') return this.#answer(call, presenter, 201, await createObject(this.#options, call));
    if (verb === 'patch') return this.#patch(call, presenter);
    if (verb === 'delete') return this.#delete(call, presenter);
    if (verb !== 'update') throw methodNotAllowed();
    const { object, isCreated } = await updateObject(this.#options, call);
    return this.#answer(call, presenter, isCreated ? 201 : 200, object);
  }

  #get(call: Call): StateObject {
    return getObject(this.#options.registry.state, call);
  }

  async #list(call: Call): Promise<void> {
    const presenter = await this.#presenter(call);
    const { state } = this.#options.registry;
    if (presenter.accepted.format === 'json') {
      return answerList(state, call, this.#selection(call), presenter);
    }
    const objects = state.resource(storedRowOf(call.row)).list(call.info.namespace);
    const matches = this.#selection(call).matches ?? (() => true);
    const shown = objects.filter(({ object }) => matches(object));
    const parts = presenter.presentList(shown, { resourceVersion: String(state.revision) });
    sendText(
      call.response,
      200,
      await this.#options.formatYaml(JSON.parse(Buffer.concat(parts).toString())),
      'application/yaml',
    );
  }

  async #watch(call: Call): Promise<void> {
    const presenter = await this.#presenter(call);
    await this.#options.watches.serve(call, this.#selection(call), presenter);
  }

  async #patch(call: Call, presenter: Presenter): Promise<void> {
    if (mediaTypeOf(call.request) !== APPLY_TYPE) {
      return this.#answer(call, presenter, 200, await patchObject(this.#options, call));
    }
    const { loadApply } = this.#options;
    if (!loadApply) throw unsupportedMediaType(PATCH_TYPES);
    const { object, isCreated } = await applyObject({ ...this.#options, loadApply }, call);
    return this.#answer(call, presenter, isCreated ? 201 : 200, object);
  }

  async #delete(call: Call, presenter: Presenter): Promise<void> {
    const { registry, codec } = this.#options;
    const { object, isGone } = await deleteObject(registry, call, await readDeleteOptions(codec, call));
    if (isGone && !strategyOf(storedRowOf(call.row)).returnsDeleted) {
      return sendJson(call.response, 200, formatDeletionStatus(call, object));
    }
    return this.#answer(call, presenter, 200, object);
  }

  async #deleteCollection(call: Call): Promise<void> {
    const { registry, codec } = this.#options;
    const options = await readDeleteOptions(codec, call);
    const found = await deleteCollection(registry, call, this.#selection(call), options);
    const presenter = await this.#presenter(call);
    const metadata = { resourceVersion: String(registry.state.revision) };
    sendJson(call.response, 200, Buffer.concat([...presenter.presentList(found, metadata)]));
  }

  async #answer(call: Call, presenter: Presenter, code: number, object: StateObject): Promise<void> {
    const bytes = presenter.present(object);
    if (presenter.accepted.format === 'json') return sendJson(call.response, code, bytes);
    const text = await this.#options.formatYaml(JSON.parse(bytes.toString()));
    sendText(call.response, code, text, 'application/yaml');
  }

  #presenter(call: Call): Promise<Presenter> {
    return createPresenter({
      row: call.row,
      accept: call.request.headers.accept,
      query: call.info.query,
      now: this.#options.now,
      loadTableBuilder: this.#options.loadTableBuilder,
    });
  }

  #selection(call: Call): Selection {
    const parsed = this.#options.parseSelectors(call);
    const convert = convertOut(call.row);
    const matches = parsed && convert ? (object: object) => parsed(convert(object)) : parsed;
    const namespace = call.row.namespaced ? call.info.namespace : '';
    const { name } = call.info;
    const isNamed = name !== '' && !(call.info.query.get('fieldSelector') ?? '').includes('metadata.name');
    if (!isNamed) return { key: formatSelectionKey(call), namespace, matches };
    // GET .../NAME?watch=true
    const id = formatId(namespace, name);
    return {
      key: `${formatSelectionKey(call)}|${id}`,
      namespace,
      matches: (object) => object.metadata?.name === name && (matches?.(object) ?? true),
    };
  }
}
