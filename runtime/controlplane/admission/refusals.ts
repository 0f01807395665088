import type { KubeObject } from '../../api/kinds.ts';
import { StatusError } from '../apiserver/status-error.ts';
import type { AdmissionRequest } from './types.ts';

export interface FieldProblem {
  readonly field: string;
  /** `Invalid value: 1: must be greater than 2`, as upstream's field errors. */
  readonly message: string;
  readonly reason?: string;
}

/** `pods "x" is forbidden: WHY`: 403 as every admission plugin answers it. */
export function refuse(
  request: AdmissionRequest,
  why: string,
  causes?: readonly { readonly reason: string; readonly message: string; readonly field: string }[],
): StatusError {
  const { group, plural } = request.resource;
  const name = objectName(request);
  return new StatusError(403, {
    reason: 'Forbidden',
    message: `${group === '' ? plural : `${plural}.${group}`} "${name}" is forbidden: ${why}`,
    details: { name, ...(group === '' ? {} : { group }), kind: plural, ...(causes ? { causes } : {}) },
  });
}

/** `Service "x" is invalid: FIELD: PROBLEM`: 422 with one cause for each field. */
export function refuseInvalid(request: AdmissionRequest, problems: readonly FieldProblem[]): StatusError {
  const { group, kind } = request.resource;
  const name = request.name || request.object?.metadata?.name || '';
  const sentences = problems.map(({ field, message }) => `${field}: ${message}`);
  const all = sentences.length === 1 ? sentences[0] : `[${sentences.join(', ')}]`;
  return new StatusError(422, {
    reason: 'Invalid',
    message: `${group === '' ? kind : `${kind}.${group}`} "${name}" is invalid: ${all}`,
    details: {
      name,
      ...(group === '' ? {} : { group }),
      kind,
      causes: problems.map(({ field, message, reason }) => ({
        reason: reason ?? 'FieldValueInvalid',
        message,
        field,
      })),
    },
  });
}

/** `namespaces "x" not found`. */
export function notFound(resource: string, name: string, group = ''): StatusError {
  return new StatusError(404, {
    reason: 'NotFound',
    message: `${group === '' ? resource : `${resource}.${group}`} "${name}" not found`,
    details: { name, ...(group === '' ? {} : { group }), kind: resource },
  });
}

/** True for a write of this resource itself (or of that subresource). */
export function isWriteOf(request: AdmissionRequest, resource: string, subresource = ''): boolean {
  const { group, plural } = request.resource;
  const name = group === '' ? plural : `${plural}.${group}`;
  return name === resource && request.subresource === subresource;
}

/** True for the creation of this resource itself: "pods", "ingresses.networking.k8s.io". */
export function isCreateOf(request: AdmissionRequest, resource: string): boolean {
  return request.operation === 'CREATE' && isWriteOf(request, resource);
}

/** The object that is written, of a type that the caller has made sure of by the resource. */
export function objectOf<T extends KubeObject>(request: AdmissionRequest): T {
  if (!request.object) throw new Error(`${request.operation} ${request.resource.plural} carries no object`);
  return request.object as T;
}

function objectName(request: AdmissionRequest): string {
  const metadata = request.object?.metadata;
  return request.name || metadata?.name || metadata?.generateName || 'Unknown';
}
