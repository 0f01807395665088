import type { AnyObject } from './strategies.ts';

type Scope = (object: AnyObject, old: AnyObject) => AnyObject;
type Container = { readonly name: string; readonly resources?: unknown; readonly resizePolicy?: unknown };
type Condition = { readonly type: string };

const APPROVALS = new Set(['Approved', 'Denied']);

/** What a write of a subresource may change: everything else comes from the old object. */
const SCOPES: Readonly<Record<string, Scope>> = {
  status: (object, old) => {
    const isSigning = old.kind === 'CertificateSigningRequest';
    const status = isSigning ? keepApprovals(object, old) : object.status;
    return { ...old, metadata: statusMetadata(object, old), ...(status === undefined ? {} : { status }) };
  },
  approval: (object, old) => ({
    ...old,
    status: {
      ...old.status,
      conditions: [
        ...conditionsOf(old).filter((condition) => !APPROVALS.has(condition.type)),
        ...conditionsOf(object).filter((condition) => APPROVALS.has(condition.type)),
      ],
    },
  }),
  finalize: (object, old) => ({ ...old, spec: { ...old.spec, finalizers: object.spec?.['finalizers'] } }),
  ephemeralcontainers: (object, old) => ({
    ...old,
    spec: { ...old.spec, ephemeralContainers: object.spec?.['ephemeralContainers'] },
  }),
  resize: (object, old) => ({
    ...old,
    spec: {
      ...old.spec,
      containers: resized(object.spec?.['containers'], old.spec?.['containers']),
      ...(old.spec?.['initContainers']
        ? { initContainers: resized(object.spec?.['initContainers'], old.spec['initContainers']) }
        : {}),
    },
  }),
  scale: (object, old) => ({ ...old, spec: { ...old.spec, replicas: object.spec?.['replicas'] } }),
};

/** The object that a write of this subresource leads to; undefined for subresources that are no part of it. */
export function scopeUpdate(subresource: string, object: AnyObject, old: AnyObject): AnyObject | undefined {
  const scope = SCOPES[subresource];
  return scope && structuredClone(scope(object, old));
}

/** Labels and annotations may be written with a status; how long the object lives is for its own resource. */
function statusMetadata(object: AnyObject, old: AnyObject): AnyObject['metadata'] {
  if (!object.metadata) return old.metadata;
  const { finalizers: _, ownerReferences: __, ...metadata } = object.metadata;
  const { finalizers, ownerReferences } = old.metadata ?? {};
  return { ...metadata, ...(finalizers && { finalizers }), ...(ownerReferences && { ownerReferences }) };
}

function conditionsOf(object: AnyObject): readonly Condition[] {
  return (object.status?.['conditions'] ?? []) as readonly Condition[];
}

// Only the approval subresource decides on approval.
function keepApprovals(object: AnyObject, old: AnyObject): Record<string, unknown> {
  const conditions = [
    ...conditionsOf(old).filter((condition) => APPROVALS.has(condition.type)),
    ...conditionsOf(object).filter((condition) => !APPROVALS.has(condition.type)),
  ];
  return { ...object.status, ...(conditions.length > 0 ? { conditions } : {}) };
}

function resized(given: unknown, old: unknown): readonly Container[] {
  const wanted = new Map(
    ((given ?? []) as readonly Container[]).map((container) => [container.name, container]),
  );
  return ((old ?? []) as readonly Container[]).map((container) => {
    const { resources, resizePolicy } = wanted.get(container.name) ?? container;
    return { ...container, ...(resources ? { resources } : {}), ...(resizePolicy ? { resizePolicy } : {}) };
  });
}
