import type { Kind, KubeObject } from '../../../../runtime/api/kinds.ts';
import {
  kindKey,
  ObjectStore,
  StoreView,
  type View,
} from '../../../../runtime/controlplane/component/view.ts';

/** A View of these objects alone. */
export function viewOf(entries: readonly (readonly [Kind<KubeObject>, readonly KubeObject[]])[]): View {
  const stores = new Map<string, ObjectStore<KubeObject>>();
  for (const [kind, objects] of entries) {
    const store = stores.get(kindKey(kind)) ?? new ObjectStore(kind);
    for (const object of objects) store.set(object);
    stores.set(kindKey(kind), store);
  }
  return new StoreView(stores);
}
