import { getObject, getObjects, getString, getStringMap, getStrings } from '../schema/access.ts';
import type { JsonObject } from '../schema/types.ts';
import { type FieldError, type Findings, forbidden, invalid, required, tooLong } from './field-error.ts';
import {
  checkDns1035Label,
  checkDnsLabel,
  checkDnsSubdomain,
  checkIpName,
  checkLabelValue,
  checkPathSegment,
  checkQualifiedName,
  type NameRule,
} from './names.ts';

/** Kinds whose names follow another rule than the DNS subdomain, by "group/Kind". */
const NAME_RULES: Readonly<Record<string, NameRule>> = {
  '/Namespace': checkDnsLabel,
  '/Service': checkDns1035Label,
  'rbac.authorization.k8s.io/Role': checkPathSegment,
  'rbac.authorization.k8s.io/RoleBinding': checkPathSegment,
  'rbac.authorization.k8s.io/ClusterRole': checkPathSegment,
  'rbac.authorization.k8s.io/ClusterRoleBinding': checkPathSegment,
  'networking.k8s.io/IPAddress': checkIpName,
};

const MAX_ANNOTATIONS_BYTES = 256 * 1024;
const IMMUTABLE = 'field is immutable';

/** Wrong keys and values of a label map. */
export function* validateLabels(labels: Readonly<Record<string, string>>, field: string): Findings {
  for (const [key, value] of Object.entries(labels)) {
    const keyProblem = checkQualifiedName(key);
    if (keyProblem) yield invalid(field, key, keyProblem);
    const valueProblem = checkLabelValue(value);
    if (valueProblem) yield invalid(field, value, valueProblem);
  }
}

function* validateAnnotations(annotations: Readonly<Record<string, string>>): Findings {
  let bytes = 0;
  for (const [key, value] of Object.entries(annotations)) {
    bytes += Buffer.byteLength(key) + Buffer.byteLength(value);
    const problem = checkQualifiedName(key.toLowerCase());
    if (problem) yield invalid('metadata.annotations', key, problem);
  }
  if (bytes > MAX_ANNOTATIONS_BYTES) yield tooLong('metadata.annotations', MAX_ANNOTATIONS_BYTES);
}

function* validateOwners(metadata: JsonObject): Findings {
  const controllers: string[] = [];
  for (const [index, owner] of getObjects(metadata, 'ownerReferences').entries()) {
    const field = `metadata.ownerReferences[${index}]`;
    if (!getString(owner, 'apiVersion'))
      yield invalid(`${field}.apiVersion`, '', 'version must not be empty');
    for (const key of ['kind', 'name', 'uid'])
      if (!getString(owner, key)) yield invalid(`${field}.${key}`, '', 'must not be empty');
    if (owner['controller'] === true) controllers.push(getString(owner, 'name'));
  }
  if (controllers.length > 1)
    yield invalid(
      'metadata.ownerReferences',
      getObjects(metadata, 'ownerReferences'),
      `Only one reference can have Controller set to true. Found "true" in references for ${controllers.slice(0, 2).join(' and ')}`,
    );
}

function* validateFinalizers(metadata: JsonObject): Findings {
  const finalizers = getStrings(metadata, 'finalizers');
  for (const finalizer of finalizers) {
    const problem = checkQualifiedName(finalizer);
    if (problem) yield invalid('metadata.finalizers', finalizer, problem);
  }
  if (finalizers.includes('orphan') && finalizers.includes('foregroundDeletion'))
    yield invalid(
      'metadata.finalizers',
      finalizers,
      'finalizer orphan and foregroundDeletion cannot be both set',
    );
}

function* validateName(
  metadata: JsonObject,
  row: { readonly group: string; readonly kind: string },
): Findings {
  const name = getString(metadata, 'name');
  const rule = NAME_RULES[`${row.group}/${row.kind}`] ?? checkDnsSubdomain;
  if (name === '') {
    yield required('metadata.name', 'name or generateName is required');
    return;
  }
  const problem = rule(name);
  if (problem) yield invalid('metadata.name', name, problem);
}

/** Findings about the ObjectMeta of a new object. */
export function* validateMetadata(
  object: JsonObject,
  row: { readonly group: string; readonly kind: string; readonly namespaced: boolean },
): Findings {
  const metadata = getObject(object, 'metadata') ?? {};
  yield* validateName(metadata, row);
  const namespace = getString(metadata, 'namespace');
  if (row.namespaced && namespace === '') yield required('metadata.namespace');
  if (!row.namespaced && namespace !== '') yield forbidden('metadata.namespace', 'not allowed on this type');
  const problem = row.namespaced && namespace !== '' ? checkDnsLabel(namespace) : undefined;
  if (problem) yield invalid('metadata.namespace', namespace, problem);
  yield* validateLabels(getStringMap(metadata, 'labels'), 'metadata.labels');
  yield* validateAnnotations(getStringMap(metadata, 'annotations'));
  yield* validateOwners(metadata);
  yield* validateFinalizers(metadata);
}

/** Members of ObjectMeta that never change. */
const IMMUTABLE_METADATA = ['name', 'namespace', 'uid', 'creationTimestamp'] as const;

/** Findings about how ObjectMeta may change. */
export function* validateMetadataUpdate(object: JsonObject, old: JsonObject): Findings {
  const metadata = getObject(object, 'metadata') ?? {};
  const before = getObject(old, 'metadata') ?? {};
  for (const key of IMMUTABLE_METADATA)
    if (metadata[key] !== undefined && before[key] !== undefined && metadata[key] !== before[key])
      yield invalid(`metadata.${key}`, metadata[key], IMMUTABLE);
  if (before['deletionTimestamp'] === undefined) return;
  const had = getStrings(before, 'finalizers');
  const added = getStrings(metadata, 'finalizers').filter((name) => !had.includes(name));
  if (added.length > 0)
    yield forbidden(
      'metadata.finalizers',
      `no new finalizers can be added if the object is being deleted, found new finalizers ${JSON.stringify(added)}`,
    );
}

/** The finding that a field changed which may not. */
export function immutable(field: string, value: unknown): FieldError {
  return invalid(field, value, IMMUTABLE);
}
