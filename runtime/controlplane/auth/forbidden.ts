import { StatusError } from '../apiserver/status-error.ts';
import type { AccessAttributes } from './types.ts';

/** 401 for credentials that are missing or wrong; says nothing of the cause, as upstream. */
export function unauthorized(): StatusError {
  return new StatusError(401, { reason: 'Unauthorized', message: 'Unauthorized' });
}

/** 403 in the words of the API server: who may not do what, and where. */
export function forbidden(attributes: AccessAttributes, reason = ''): StatusError {
  const because = reason === '' ? '' : `: ${reason}`;
  const sentence = `${describeAccess(attributes)}${because}`;
  if (attributes.kind === 'path') {
    return new StatusError(403, { reason: 'Forbidden', message: `forbidden: ${sentence}`, details: {} });
  }
  const { group, resource, name } = attributes;
  const qualified = group === '' ? resource : `${resource}.${group}`;
  const object = name === '' ? qualified : `${qualified} "${name}"`;
  return new StatusError(403, {
    reason: 'Forbidden',
    message: `${object} is forbidden: ${sentence}`,
    details: { ...(name === '' ? {} : { name }), ...(group === '' ? {} : { group }), kind: resource },
  });
}

function describeAccess(attributes: AccessAttributes): string {
  const who = `User "${attributes.user.name}" cannot ${attributes.verb}`;
  if (attributes.kind === 'path') return `${who} path "${attributes.path}"`;
  const { resource, subresource, group, namespace } = attributes;
  const what = subresource === '' ? resource : `${resource}/${subresource}`;
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`;
  return `${who} resource "${what}" in API group "${group}" ${where}`;
}
