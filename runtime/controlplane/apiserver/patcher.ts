import type { KubeObject } from '../../api/kinds.ts';
import type { ResourceRow } from '../../api/resources.ts';
import { badRequest, unsupportedMediaType } from './status-errors.ts';

/** Applies the patch formats of the API; the object is a private copy. */
export interface PatchFunctions {
  readonly json: (object: KubeObject, patch: unknown) => KubeObject;
  readonly merge: (object: KubeObject, patch: unknown) => KubeObject;
  readonly strategic: (object: KubeObject, patch: unknown, row: ResourceRow) => KubeObject;
}

/** A patch that was read from a request. */
export interface Patch {
  readonly apply: (object: KubeObject, row: ResourceRow) => KubeObject;
}

const FORMATS = {
  'application/json-patch+json': 'json',
  'application/merge-patch+json': 'merge',
  'application/strategic-merge-patch+json': 'strategic',
} as const satisfies Record<string, keyof PatchFunctions>;

/** The patch formats that every built-in kind takes. */
export const PATCH_TYPES: readonly string[] = Object.keys(FORMATS);

/** The content type of server-side apply. */
export const APPLY_TYPE = 'application/apply-patch+yaml';

/**
 * Reads a patch by its content type.
 * @throws StatusError 400, 415
 */
export function parsePatch(functions: PatchFunctions, mediaType: string, body: Buffer): Patch {
  const format = FORMATS[mediaType as keyof typeof FORMATS];
  if (!format) throw unsupportedMediaType(PATCH_TYPES);
  const patch = parseJson(body.toString('utf8'));
  if (format === 'json' && !Array.isArray(patch)) {
    throw badRequest(
      'error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch',
    );
  }
  return { apply: (object, row) => functions[format](object, patch, row) };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw badRequest(`error decoding patch: ${(error as Error).message}`);
  }
}
