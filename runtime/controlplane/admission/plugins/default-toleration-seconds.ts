import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import { isWriteOf, objectOf } from '../refusals.ts';
import type { AdmissionPlugin } from '../types.ts';

const TAINTS = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];
const TOLERATION_SECONDS = 300;

/** A pod stays five minutes on a node that is not ready or out of reach, unless it says otherwise. */
export const defaultTolerationSeconds: AdmissionPlugin = {
  name: 'DefaultTolerationSeconds',
  admit(request) {
    if (request.operation !== 'CREATE' && request.operation !== 'UPDATE') return;
    if (!isWriteOf(request, 'pods')) return;
    const spec = objectOf<Pod>(request).spec;
    if (!spec) return;
    const tolerations = spec.tolerations ?? [];
    const missing = TAINTS.filter(
      (taint) =>
        !tolerations.some(
          ({ key, effect }) => (key === taint || !key) && (effect === 'NoExecute' || !effect),
        ),
    );
    if (missing.length === 0) return;
    const added = missing.map((key) => ({
      key,
      operator: 'Exists' as const,
      effect: 'NoExecute' as const,
      tolerationSeconds: TOLERATION_SECONDS,
    }));
    spec.tolerations = [...tolerations, ...added];
  },
};
