import type { KubeObject } from '../../runtime/api/kinds.ts';
import { findResourceByKind } from '../../runtime/api/resources.ts';

/** The resource that serves an object's kind. */
export function resourceOf(object: KubeObject) {
  const row = findResourceByKind(object.apiVersion ?? '', object.kind ?? '');
  if (!row) throw new Error(`no resource serves ${object.apiVersion} ${object.kind}`);
  return row;
}

/** True when the live value says all that the wanted one says; what the server and others add does not count. */
export function isCovered(live: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) {
    return (
      Array.isArray(live) &&
      live.length === wanted.length &&
      wanted.every((item, i) => isCovered(live[i], item))
    );
  }
  if (typeof wanted === 'object' && wanted !== null) {
    return Object.entries(wanted).every(
      ([key, value]) =>
        value === undefined ||
        isCovered((live as Readonly<Record<string, unknown>> | undefined)?.[key], value),
    );
  }
  return live === wanted;
}

/** The part of a live value that the wanted one speaks of, so that a diff shows our fields alone. */
export function selectCovered(live: unknown, wanted: unknown): unknown {
  if (Array.isArray(wanted) && Array.isArray(live)) {
    return live.map((item, i) => (i < wanted.length ? selectCovered(item, wanted[i]) : item));
  }
  if (typeof wanted !== 'object' || wanted === null || typeof live !== 'object' || live === null) return live;
  const fields = live as Readonly<Record<string, unknown>>;
  return Object.fromEntries(
    Object.entries(wanted)
      .filter(([key]) => fields[key] !== undefined)
      .map(([key, value]) => [key, selectCovered(fields[key], value)]),
  );
}

interface Loose {
  readonly metadata?: KubeObject['metadata'];
  readonly data?: Readonly<Record<string, unknown>>;
}

/**
 * The object to put in the place of a live one: the wanted fields; labels, annotations and keys of data that
 * others have added stay.
 */
export function mergeOntoLive(live: KubeObject, wanted: KubeObject): KubeObject {
  const before = live as Loose;
  const after = wanted as Loose;
  const { managedFields: _, ...metadata } = before.metadata ?? {};
  const merged = (key: 'labels' | 'annotations') => {
    const values = { ...before.metadata?.[key], ...after.metadata?.[key] };
    return Object.keys(values).length > 0 ? { [key]: values } : {};
  };
  return {
    ...live,
    ...wanted,
    metadata: { ...metadata, ...after.metadata, ...merged('labels'), ...merged('annotations') },
    ...(after.data && wanted.kind === 'ConfigMap' ? { data: { ...before.data, ...after.data } } : {}),
  } as KubeObject;
}
