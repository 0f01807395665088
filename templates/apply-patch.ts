import { applyJsonPatch, applyMergePatch } from '../runtime/api/patch.ts';
import type { JsonObject } from '../runtime/api/schema/types.ts';
import { applyStrategicMergePatch } from '../runtime/api/strategic-merge.ts';
import type { PatchType } from './patches.ts';

/**
 * The value with one patch applied; `schema` is the type whose lists a strategic patch merges by key, "core.v1.Pod".
 * @throws Error when it does not apply.
 */
export function applyPatch(
  value: JsonObject,
  { type, body }: { readonly type: PatchType; readonly body: unknown },
  schema: string | undefined,
): JsonObject {
  if (type === 'json') return applyJsonPatch(value, body);
  if (type === 'merge' || schema === undefined) return applyMergePatch(value, body);
  return applyStrategicMergePatch(value, body as JsonObject, schema);
}
