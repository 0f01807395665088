import type { Job } from 'kubernetes-types/batch/v1.d.ts';
import type { Container, Pod } from 'kubernetes-types/core/v1.d.ts';

/** Annotation and label with the index of a pod of an Indexed Job. */
const INDEX_ANNOTATION = 'batch.kubernetes.io/job-completion-index';

const INDEX_VARIABLE = 'JOB_COMPLETION_INDEX';

/** The completion index of a pod, or undefined. */
export function indexOf({ metadata }: Pod): number | undefined {
  const text = metadata?.annotations?.[INDEX_ANNOTATION];
  return text !== undefined && /^\d+$/.test(text) ? Number(text) : undefined;
}

/** "0,2-4" → 0, 2, 3, 4 */
export function parseIndexes(text: string | undefined): Set<number> {
  const indexes = new Set<number>();
  for (const part of (text ?? '').split(',')) {
    if (part === '') continue;
    const [first = 0, last = first] = part.split('-').map(Number);
    for (let index = first; index <= last; index += 1) indexes.add(index);
  }
  return indexes;
}

/** 0, 2, 3, 4 → "0,2-4"; two neighbours are "2,3" as upstream writes them. */
export function formatIndexes(indexes: ReadonlySet<number>): string {
  const parts: string[] = [];
  const sorted = [...indexes].sort((a, b) => a - b);
  for (let start = 0; start < sorted.length; ) {
    let end = start;
    while (sorted[end + 1] === sorted[end]! + 1) end += 1;
    const [first, last] = [sorted[start]!, sorted[end]!];
    parts.push(end === start ? `${first}` : end === start + 1 ? `${first},${last}` : `${first}-${last}`);
    start = end + 1;
  }
  return parts.join(',');
}

/** The pod for one index of the Job: annotation, label, host name, variable and name prefix. */
export function withIndex(pod: Pod, job: Job, index: number): Pod {
  const mark = { [INDEX_ANNOTATION]: String(index) };
  const withVariable = (container: Container): Container => {
    if (container.env?.some(({ name }) => name === INDEX_VARIABLE)) return container;
    const fieldRef = { fieldPath: `metadata.annotations['${INDEX_ANNOTATION}']` };
    return {
      ...container,
      env: [...(container.env ?? []), { name: INDEX_VARIABLE, valueFrom: { fieldRef } }],
    };
  };
  const { spec, metadata } = pod;
  return {
    ...pod,
    metadata: {
      ...metadata,
      generateName: `${job.metadata?.name}-${index}-`,
      annotations: { ...metadata?.annotations, ...mark },
      labels: { ...metadata?.labels, ...mark },
    },
    spec: {
      ...spec,
      hostname: spec?.hostname ?? `${job.metadata?.name}-${index}`,
      containers: (spec?.containers ?? []).map(withVariable),
      ...(spec?.initContainers ? { initContainers: spec.initContainers.map(withVariable) } : {}),
    },
  };
}
