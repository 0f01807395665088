/** A JSON object as it came over the wire. */
export type JsonObject = { [key: string]: unknown };

/** A value without fields of its own that the schema knows. `bytes` is base64 text, `time` RFC 3339 text. */
export type Scalar =
  | 'string'
  | 'int32'
  | 'int64'
  | 'double'
  | 'bool'
  | 'bytes'
  | 'time'
  | 'microTime'
  | 'quantity'
  | 'intOrString'
  | 'raw'
  | 'json'
  | 'fieldsV1';

/** What a field holds; `ref` names another type of the tables. */
export type FieldType =
  | { readonly kind: 'scalar'; readonly scalar: Scalar }
  | { readonly kind: 'ref'; readonly type: string }
  | { readonly kind: 'array'; readonly items: FieldType }
  | { readonly kind: 'map'; readonly values: FieldType };

export type PatchStrategy = 'merge' | 'replace' | 'retainKeys';

/** One field of a type, by its JSON name. */
export interface FieldSchema {
  readonly name: string;
  readonly type: FieldType;
  readonly required: boolean;
  /** False when an empty value means the same as none, so that protobuf clients always send one. */
  readonly keepsZero: boolean;
  /** How server-side apply merges a list; absent means atomic. */
  readonly listType?: 'atomic' | 'set' | 'map';
  readonly listMapKeys?: readonly string[];
  readonly mapType?: 'atomic' | 'granular';
  readonly patchStrategies: readonly PatchStrategy[];
  /** Key of the elements of a list for the strategic merge patch. */
  readonly mergeKey?: string;
  /** Protobuf field numbers from the message down: two for a Go struct that JSON inlines; [] when unknown. */
  readonly numbers: readonly number[];
  readonly defaultValue?: unknown;
}

/** Types whose JSON is not always an object: a JSON schema, or a bool, a list of schemas, a list of strings. */
export type TypeVariant = 'orBool' | 'orArray' | 'orStringArray';

/** One type of the API: `name` is "core.v1.Pod". */
export interface TypeSchema {
  readonly name: string;
  /** True when apiVersion and kind are fields of it. */
  readonly isKind: boolean;
  readonly isAtomic: boolean;
  readonly variant?: TypeVariant;
  readonly fields: ReadonlyMap<string, FieldSchema>;
}

/** True for a JSON object: neither null nor a list. */
export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
