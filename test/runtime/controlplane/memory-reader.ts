import type { Kind, KubeObject } from '../../../runtime/api/kinds.ts';
import { findResourceByKind, formatApiVersion } from '../../../runtime/api/resources.ts';
import type { ObjectReader } from '../../../runtime/controlplane/store/reader.ts';

type Change = 'ADDED' | 'MODIFIED' | 'DELETED';
type Listener = (object: KubeObject, type: Change) => void;

/** An ObjectReader over a map that tests write to. */
export class MemoryReader implements ObjectReader {
  readonly #objects = new Map<string, Map<string, KubeObject>>();
  readonly #listeners = new Map<string, Set<Listener>>();

  put(...objects: readonly KubeObject[]): void {
    for (const object of objects) {
      const { kind, id } = locate(object);
      const table = this.#objects.get(kind) ?? new Map<string, KubeObject>();
      this.#objects.set(kind, table);
      const type = table.has(id) ? 'MODIFIED' : 'ADDED';
      table.set(id, object);
      for (const listener of this.#listeners.get(kind) ?? []) listener(object, type);
    }
  }

  remove(object: KubeObject): void {
    const { kind, id } = locate(object);
    if (!this.#objects.get(kind)?.delete(id)) throw new Error(`no ${kind} ${id}`);
    for (const listener of this.#listeners.get(kind) ?? []) listener(object, 'DELETED');
  }

  get<T extends KubeObject>(kind: Kind<T>, name: string, namespace = ''): T | undefined {
    return this.#objects.get(kindKey(kind))?.get(`${namespace}/${name}`) as T | undefined;
  }

  list<T extends KubeObject>(kind: Kind<T>, namespace?: string): readonly T[] {
    const all = [...(this.#objects.get(kindKey(kind))?.values() ?? [])] as T[];
    return namespace ? all.filter((object) => object.metadata?.namespace === namespace) : all;
  }

  subscribe<T extends KubeObject>(kind: Kind<T>, onChange: (object: T, type: Change) => void): () => void {
    const key = kindKey(kind);
    const listeners = this.#listeners.get(key) ?? new Set<Listener>();
    this.#listeners.set(key, listeners);
    listeners.add(onChange as Listener);
    return () => void listeners.delete(onChange as Listener);
  }
}

function kindKey(row: { readonly group: string; readonly version: string; readonly kind: string }): string {
  return `${formatApiVersion(row)}/${row.kind}`;
}

function locate(object: KubeObject): { readonly kind: string; readonly id: string } {
  const row = findResourceByKind(object.apiVersion ?? '', object.kind ?? '');
  if (!row) throw new Error(`no resource for ${object.apiVersion} ${object.kind}`);
  const { namespace = '', name = '' } = object.metadata ?? {};
  return { kind: kindKey(row), id: `${row.namespaced ? namespace : ''}/${name}` };
}
