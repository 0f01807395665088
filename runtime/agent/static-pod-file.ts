import { loadAll } from 'js-yaml';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { hashStaticPod } from '../api/static-pod-hash.ts';
import { TkadmError } from '../base/errors.ts';
import { type AgentPod, CONFIG_HASH, CONFIG_SEEN, CONFIG_SOURCE } from './pod.ts';
import { applyPodDefaults } from './pod-defaults.ts';

export interface StaticPodOptions {
  readonly path: string;
  readonly nodeName: string;
  readonly seenAt: Date;
}

/**
 * Reads one pod from a manifest's text as the kubelet does: name with "-<node>" behind it, UID from the
 * content and the node, annotations config.hash, config.source and config.seen.
 * @throws AGENT_MANIFEST_INVALID
 */
export function parseStaticPod(text: string, options: StaticPodOptions): AgentPod {
  const { path, nodeName, seenAt } = options;
  const object = parseOne(text, path);
  if (object.kind !== 'Pod' || object.apiVersion !== 'v1') {
    throw invalid(path, `it holds "${object.apiVersion ?? ''} ${object.kind ?? ''}", not "v1 Pod"`);
  }
  const name = object.metadata?.name;
  if (!name) throw invalid(path, 'metadata.name is missing');
  if (!object.spec?.containers?.length) throw invalid(path, 'spec.containers is empty');
  const uid = object.metadata?.uid || hashStaticPod(object, { path, nodeName });
  const pod: AgentPod = {
    ...object,
    metadata: {
      ...object.metadata,
      name: `${name}-${nodeName}`,
      namespace: object.metadata?.namespace || 'default',
      uid,
      annotations: {
        ...object.metadata?.annotations,
        [CONFIG_HASH]: uid,
        [CONFIG_SEEN]: seenAt.toISOString(),
        [CONFIG_SOURCE]: 'file',
      },
    },
    spec: {
      ...object.spec,
      nodeName,
      tolerations: [...(object.spec.tolerations ?? []), { operator: 'Exists', effect: 'NoExecute' }],
    },
    status: { phase: 'Pending' },
  };
  refuseApiObjects(pod, path);
  return applyPodDefaults(pod);
}

function parseOne(text: string, path: string): core.Pod {
  let documents: unknown[];
  try {
    documents = (loadAll(text) as unknown[]).filter(
      (document) => document !== null && document !== undefined,
    );
  } catch (error) {
    throw invalid(path, (error as Error).message);
  }
  if (documents.length !== 1) throw invalid(path, `it holds ${documents.length} documents, not one`);
  if (typeof documents[0] !== 'object') throw invalid(path, 'it is no mapping');
  return documents[0] as core.Pod;
}

/** A static pod may not need what only the API server has (kubelet `config.file` validation). */
function refuseApiObjects(pod: AgentPod, path: string): void {
  const { spec } = pod;
  if (spec.serviceAccountName) throw invalid(path, 'a static pod cannot have spec.serviceAccountName');
  for (const volume of spec.volumes ?? []) {
    const isApiVolume =
      volume.configMap ??
      volume.secret ??
      volume.persistentVolumeClaim ??
      volume.projected?.sources?.find((source) => !source.downwardAPI);
    if (isApiVolume) throw invalid(path, `a static pod cannot use the API object of volume "${volume.name}"`);
  }
}

function invalid(path: string, state: string): TkadmError {
  return new TkadmError('AGENT_MANIFEST_INVALID', `Cannot use static pod "${path}": ${state}`);
}
