import type { KubeObject } from '../../api/kinds.ts';
import type { ChangeType, ResourceState, StateEvent, StateObject } from '../store/resource-state.ts';
import { formatWatchLine, type Presenter } from './presenter.ts';

/** Which objects a watch or list is about. Equal keys select the same. */
export interface Selection {
  readonly key: string;
  readonly namespace: string;
  /** undefined: every object of the namespace. */
  readonly matches: ((object: KubeObject) => boolean) | undefined;
}

/** Takes the bytes of a watch. */
export type Sink = (lines: Buffer) => void;

interface Group {
  readonly selection: Selection;
  readonly presenter: Presenter;
  readonly sinks: Set<Sink>;
}

/**
 * Spreads the changes of one resource. Watchers with the same selection and view form a group: the
 * selection is evaluated and the line written once for all of them.
 */
export class WatchHub {
  readonly #groups = new Map<string, Group>();

  constructor(resource: ResourceState) {
    resource.listen((events) => this.#publish(events));
  }

  /** Sends every change from now on; returns what ends that. */
  join(selection: Selection, presenter: Presenter, sink: Sink): () => void {
    const key = `${presenter.key}|${selection.key}`;
    const group = this.#groups.get(key) ?? { selection, presenter, sinks: new Set<Sink>() };
    this.#groups.set(key, group);
    group.sinks.add(sink);
    return () => {
      group.sinks.delete(sink);
      if (group.sinks.size === 0) this.#groups.delete(key);
    };
  }

  #publish(events: readonly StateEvent[]): void {
    const lines = new Map<string, Buffer>();
    for (const { selection, presenter, sinks } of this.#groups.values()) {
      const found: Buffer[] = [];
      for (const event of events) {
        const shown = selectEvent(event, selection);
        if (!shown) continue;
        const key = `${shown.type}|${event.revision}|${presenter.key}`;
        const line = lines.get(key) ?? formatWatchLine(shown.type, presenter.present(shown.object));
        lines.set(key, line);
        found.push(line);
      }
      if (found.length === 0) continue;
      const chunk = found.length === 1 ? found[0]! : Buffer.concat(found);
      for (const sink of sinks) sink(chunk);
    }
  }
}

/** True when the object is part of the selection. */
export function isSelected(object: StateObject, selection: Selection): boolean {
  if (selection.namespace !== '' && object.namespace !== selection.namespace) return false;
  return selection.matches === undefined || selection.matches(object.object);
}

/**
 * How a watcher of a selection sees a change: an object that leaves the selection is DELETED, in its last
 * matching state at the new revision; one that enters is ADDED.
 */
export function selectEvent(
  event: StateEvent,
  selection: Selection,
): { readonly type: ChangeType; readonly object: StateObject } | undefined {
  const { object, previous } = event;
  if (selection.namespace !== '' && object.namespace !== selection.namespace) return undefined;
  if (selection.matches === undefined) return { type: event.type, object };
  const is = event.type !== 'DELETED' && selection.matches(object.object);
  const was = previous !== undefined && selection.matches(previous.object);
  if (is) return { type: was ? 'MODIFIED' : 'ADDED', object };
  if (!was) return undefined;
  return { type: 'DELETED', object: event.type === 'DELETED' ? object : previous.at(event.revision) };
}
