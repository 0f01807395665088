import type * as core from 'kubernetes-types/core/v1.d.ts';
import type { ResourceRow } from '../../api/resources.ts';
import { formatTime } from '../../api/time.ts';
import { sendJson } from './answers.ts';
import type { Call } from './call.ts';
import { podsRow } from './pods-row.ts';
import { badRequest, conflict } from './status-errors.ts';
import type { AnyObject } from './strategies.ts';
import { readObject, targetOf, type WriteDependencies } from './write-handlers.ts';

/** POST of a Binding: the pod goes to a node. @throws StatusError 409 when it is on one */
export async function bindPod(options: WriteDependencies, call: Call): Promise<void> {
  const binding = (await readObject(options.codec, call, {
    group: '',
    version: 'v1',
    kind: 'Binding',
  })) as core.Binding;
  const name = call.info.name || (binding.metadata?.name ?? '');
  const node = binding.target?.name;
  if (!node) throw badRequest('target.name: Required value');
  const pods = podsRow(options);
  const target = {
    ...targetOf(call, { namespace: call.info.namespace, name }),
    row: pods,
    subresource: 'binding',
  };
  await options.registry.update(target, {
    isConditional: false,
    change: (pod) => bound(pods, pod, binding),
  });
  sendJson(call.response, 201, {
    kind: 'Status',
    apiVersion: 'v1',
    metadata: {},
    status: 'Success',
    code: 201,
  });
}

function bound(pods: ResourceRow, pod: AnyObject, binding: core.Binding): AnyObject {
  const { name = '', uid, deletionTimestamp } = pod.metadata ?? {};
  const wanted = binding.metadata?.uid;
  if (wanted && wanted !== uid) {
    throw conflict(
      pods,
      name,
      `Precondition failed: UID in precondition: ${wanted}, UID in object meta: ${uid}`,
    );
  }
  if (deletionTimestamp)
    throw conflict(pods, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  const node = pod.spec?.['nodeName'];
  if (node) throw conflict(pods, name, `pod ${name} is already assigned to node "${node}"`);
  const conditions = ((pod.status?.['conditions'] ?? []) as core.PodCondition[]).filter(
    (condition) => condition.type !== 'PodScheduled',
  );
  const scheduled = {
    type: 'PodScheduled',
    status: 'True',
    lastProbeTime: null,
    lastTransitionTime: formatTime(new Date()),
  };
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      ...(binding.metadata?.annotations
        ? { annotations: { ...pod.metadata?.annotations, ...binding.metadata.annotations } }
        : {}),
    },
    spec: { ...pod.spec, nodeName: binding.target.name },
    status: { ...pod.status, conditions: [...conditions, scheduled] },
  };
}
