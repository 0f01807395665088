import { formatLabelSelector, type LabelSelector } from '../../api/label-selectors.ts';
import { sendJson } from './answers.ts';
import { mediaTypeOf, readBody } from './body.ts';
import type { Call } from './call.ts';
import { getObject } from './list-handler.ts';
import { parsePatch } from './patcher.ts';
import { badRequest, conflict } from './status-errors.ts';
import type { AnyObject } from './strategies.ts';
import { readObject, targetOf, type WriteDependencies } from './write-handlers.ts';

/** Reads or changes the Scale of a workload. */
export async function answerScale(options: WriteDependencies, call: Call): Promise<void> {
  if (call.info.verb === 'get') {
    return sendJson(
      call.response,
      200,
      formatScale(getObject(options.registry.state, call).object as AnyObject),
    );
  }
  const change = await readScaleChange(options, call);
  const { object } = await options.registry.update(targetOf(call), { isConditional: false, change });
  sendJson(call.response, 200, formatScale(object.object as AnyObject));
}

async function readScaleChange(
  options: WriteDependencies,
  call: Call,
): Promise<(object: AnyObject) => AnyObject> {
  const row = { group: 'autoscaling', version: 'v1', kind: 'Scale' };
  if (call.info.verb === 'patch') {
    const body = await readBody(call.request);
    const patch = parsePatch(await options.loadPatches(), mediaTypeOf(call.request), body);
    const scaleRow = { ...call.row, ...row };
    return (object) => withReplicas(call, object, patch.apply(formatScale(object), scaleRow) as AnyObject);
  }
  const scale = await readObject(options.codec, call, row);
  return (object) => withReplicas(call, object, scale);
}

function withReplicas(call: Call, object: AnyObject, scale: AnyObject): AnyObject {
  const { resourceVersion } = scale.metadata ?? {};
  if (resourceVersion && resourceVersion !== object.metadata?.resourceVersion) {
    throw conflict(
      call.row,
      call.info.name,
      'the object has been modified; please apply your changes to the latest version and try again',
    );
  }
  const replicas = scale.spec?.['replicas'] ?? 0;
  if (typeof replicas !== 'number' || replicas < 0)
    throw badRequest(`spec.replicas: Invalid value: ${replicas}: must be greater than or equal to 0`);
  return { ...object, spec: { ...object.spec, replicas } };
}

function formatScale(object: AnyObject): AnyObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata ?? {};
  const selector = formatSelector(object.spec?.['selector']);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as NonNullable<
      AnyObject['metadata']
    >,
    spec: { replicas: object.spec?.['replicas'] ?? 0 },
    status: { replicas: object.status?.['replicas'] ?? 0, ...(selector ? { selector } : {}) },
  };
}

/** A selector as text; a ReplicationController's is a plain map of labels. */
function formatSelector(selector: unknown): string {
  if (selector === undefined || selector === null) return '';
  const isPlain = !('matchLabels' in Object(selector) || 'matchExpressions' in Object(selector));
  return formatLabelSelector((isPlain ? { matchLabels: selector } : selector) as LabelSelector);
}
