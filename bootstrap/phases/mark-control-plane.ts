import type { Node } from 'kubernetes-types/core/v1.d.ts';
import type { Phase } from '../workflow/phase.ts';
import type { InitContext } from './init-context.ts';

const LABELS = {
  'node-role.kubernetes.io/control-plane': '',
  'node.kubernetes.io/exclude-from-external-load-balancers': '',
} as const;

/** Labels and taints the node as a control-plane node; what it has beside these is kept. */
export const markControlPlanePhase: Phase<InitContext> = {
  name: 'mark-control-plane',
  summary: 'Mark the node as control plane',
  after: ['wait-control-plane'],
  async plan({ config, find }) {
    const { name, taints } = config.nodeRegistration;
    const object = { apiVersion: 'v1', kind: 'Node', metadata: { name } };
    const node = (await find(object)) as Node | undefined;
    const present = node?.spec?.taints ?? [];
    const missing = taints.filter(
      (taint) => !present.some((row) => row.key === taint.key && row.effect === taint.effect),
    );
    const hasLabels = Object.entries(LABELS).every(([key, value]) => node?.metadata?.labels?.[key] === value);
    if (hasLabels && missing.length === 0) return [];
    const patch = {
      metadata: { labels: LABELS },
      ...(missing.length > 0 ? { spec: { taints: [...present, ...missing] } } : {}),
    };
    return [{ kind: 'patch-object', object, patch, live: node }];
  },
};
