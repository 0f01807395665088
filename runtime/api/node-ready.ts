import type { NodeCondition } from 'kubernetes-types/core/v1.d.ts';

/** The part of a Node that tells its health. */
interface NodeHealth {
  readonly status?: { readonly conditions?: readonly NodeCondition[] };
}

/** True when a Node has the condition Ready with status True; false for a node that is not there. */
export function isNodeReady(node: NodeHealth | undefined): boolean {
  return node?.status?.conditions?.some(({ type, status }) => type === 'Ready' && status === 'True') ?? false;
}
