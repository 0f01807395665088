import {
  decodeJson,
  decodeValue,
  decodeYaml,
  formatFieldWarnings,
  type Decoded as SchemaDecoded,
} from '../../api/decode.ts';
import { applyDefaults } from '../../api/defaults.ts';
import { matchFields, parseFieldSelector } from '../../api/field-selectors.ts';
import type { KubeObject } from '../../api/kinds.ts';
import { matchesRequirements, parseLabelSelector } from '../../api/label-selectors.ts';
import { RequestError } from '../../api/request-error.ts';
import { formatApiVersion, type ResourceRow } from '../../api/resources.ts';
import { typeOfKind } from '../../api/schema/registry.ts';
import { validateEphemeralUpdate } from '../../api/validation/ephemeral.ts';
import { formatInvalid, validateObject } from '../../api/validation/validate.ts';
import type { ApplyFunction } from './apply-handler.ts';
import type { Codec, Decoded } from './body.ts';
import type { Call } from './call.ts';
import type { PatchFunctions } from './patcher.ts';
import type { TableBuilder } from './presenter.ts';
import type { SelectorParser } from './resource-handler.ts';
import { StatusError } from './status-error.ts';
import { unsupportedMediaType } from './status-errors.ts';
import type { ObjectRules } from './write-target.ts';

type Json = { [key: string]: unknown };

/** Reads bodies by the schema of their kind. */
export const SCHEMA_CODEC: Codec = {
  decodeJson: (text, { apiVersion, kind, reportDuplicates }) =>
    withStatus(() => toDecoded(decodeJson(text, apiVersion, kind, { reportDuplicates }))),
  decodeYaml: (text, { apiVersion, kind, reportDuplicates }) =>
    withStatus(() => toDecoded(decodeYaml(text, apiVersion, kind, { reportDuplicates }))),
  decodeValue: (object, apiVersion, kind) =>
    withStatus(() => toDecoded(decodeValue(object, apiVersion, kind))),
  decodeProtobuf: async (bytes) => {
    const { decodeProtobuf } = await import('../../api/protobuf.ts');
    return withStatus(() => {
      const { apiVersion, kind, object } = decodeProtobuf(bytes);
      return { apiVersion, kind, ...object };
    });
  },
};

/** These write parts of a pod that an update of the pod itself must leave alone. */
const SPEC_SUBRESOURCES: ReadonlySet<string> = new Set(['binding', 'ephemeralcontainers', 'resize']);

/** Defaults and validation of built-in kinds. */
export const SCHEMA_RULES: ObjectRules = {
  applyDefaults: (object) => applyDefaults(object.apiVersion ?? '', object.kind ?? '', object as Json),
  validate: ({ row, subresource }, object, old) => {
    const before = SPEC_SUBRESOURCES.has(subresource) ? undefined : (old as Json | undefined);
    const errors = validateObject(formatApiVersion(row), row.kind, object as Json, before);
    if (subresource === 'ephemeralcontainers' && old)
      errors.push(...validateEphemeralUpdate(object as Json, old as Json));
    if (errors.length === 0) return;
    const { message, details } = formatInvalid(row, object.metadata?.name ?? '', errors);
    throw new StatusError(422, { reason: 'Invalid', message, details });
  },
};

/** Parses `labelSelector` and `fieldSelector`; undefined when there are none. */
export const parseSelectors: SelectorParser = (call: Call) => {
  const labels = call.info.query.get('labelSelector') ?? '';
  const fields = call.info.query.get('fieldSelector') ?? '';
  if (labels === '' && fields === '') return undefined;
  return withStatus(() => {
    const requirements = labels === '' ? [] : parseLabelSelector(labels);
    const fieldRequirements = fields === '' ? [] : parseFieldSelector(fields, call.row);
    return (object: KubeObject) =>
      matchesRequirements(requirements, object.metadata?.labels) &&
      matchFields(fieldRequirements, object as Json);
  });
};

/** Loads the patch formats. */
export async function loadPatches(): Promise<PatchFunctions> {
  const { applyJsonPatch, applyMergePatch } = await import('../../api/patch.ts');
  const { applyStrategicMergePatch } = await import('../../api/strategic-merge.ts');
  return {
    json: (object, patch) => withStatus(() => applyJsonPatch(object as Json, patch)) as KubeObject,
    merge: (object, patch) => withStatus(() => applyMergePatch(object as Json, patch)) as KubeObject,
    strategic: (object, patch, row) => {
      const typeName = strategicType(row);
      return withStatus(() =>
        applyStrategicMergePatch(object as Json, patch as Json, typeName),
      ) as KubeObject;
    },
  };
}

/** Loads server-side apply. */
export async function loadApply(): Promise<ApplyFunction> {
  const { applyServerSide } = await import('../../api/server-side-apply.ts');
  return (live, applied, { apiVersion, kind, fieldManager, isForced, subresource, now }) =>
    withStatus(() =>
      applyServerSide(live as Json | undefined, applied as Json, {
        fieldManager,
        force: isForced,
        typeName: typeOfKind(apiVersion, kind),
        now,
        ...(subresource ? { subresource } : {}),
      }),
    ) as KubeObject;
}

/** Loads what prints Tables. */
export async function loadTableBuilder(): Promise<TableBuilder> {
  const { buildTable } = await import('../../api/table.ts');
  return (row, objects, options) =>
    buildTable(row, objects as readonly Json[], options) as unknown as ReturnType<TableBuilder>;
}

/** Turns what the schema refuses into a Status. */
function withStatus<T>(perform: () => T): T {
  try {
    return perform();
  } catch (error) {
    throw toStatusError(error);
  }
}

function toStatusError(error: unknown): unknown {
  if (!(error instanceof RequestError)) return error;
  const details = error.causes.length > 0 ? { details: { causes: error.causes } } : {};
  return new StatusError(error.code, { reason: error.reason, message: error.message, ...details });
}

function strategicType(row: ResourceRow): string {
  const typeName = typeOfKind(formatApiVersion(row), row.kind);
  if (typeName !== undefined) return typeName;
  throw unsupportedMediaType(['application/json-patch+json', 'application/merge-patch+json']);
}

function toDecoded(decoded: SchemaDecoded): Decoded<KubeObject> {
  return { object: decoded.object as KubeObject, issues: formatFieldWarnings(decoded) };
}
