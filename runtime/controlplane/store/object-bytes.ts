import type { KubeObject } from '../../api/kinds.ts';

const METADATA_START = Buffer.from('"metadata":{');
const REVISION_START = '"resourceVersion":"';

/**
 * An object's JSON as it is stored: `kind`, `apiVersion`, `metadata` first and no resourceVersion, which
 * the store only knows once the write is under way.
 */
export function formatStoredObject(object: KubeObject): Buffer {
  const { kind, apiVersion, metadata, ...rest } = object;
  const { resourceVersion: _, ...meta } = metadata ?? {};
  return Buffer.from(JSON.stringify({ kind, apiVersion, metadata: meta, ...rest }));
}

/** Stored JSON with `metadata.resourceVersion` put in, as clients see it. */
export function insertRevision(stored: Buffer, revision: number): Buffer {
  const at = metadataOffset(stored);
  const isEmpty = stored[at] === 0x7d;
  return splice(stored, at, at, `${REVISION_START}${revision}"${isEmpty ? '' : ','}`);
}

/** JSON made by `insertRevision` with another revision in its place. */
export function replaceRevision(bytes: Buffer, oldRevision: number, newRevision: number): Buffer {
  const at = metadataOffset(bytes) + REVISION_START.length;
  return splice(bytes, at, at + String(oldRevision).length, String(newRevision));
}

function metadataOffset(bytes: Buffer): number {
  const at = bytes.indexOf(METADATA_START);
  if (at < 0) throw new Error('stored object has no metadata');
  return at + METADATA_START.length;
}

// These bytes live as long as the object: a pooled buffer would keep its whole slab alive.
function splice(bytes: Buffer, start: number, end: number, text: string): Buffer {
  const result = Buffer.allocUnsafeSlow(bytes.length - (end - start) + text.length);
  bytes.copy(result, 0, 0, start);
  result.write(text, start, 'latin1');
  bytes.copy(result, start + text.length, end);
  return result;
}
