import t from 'tap';
import { refuseOlderCluster } from '../../../bootstrap/phases/older-cluster.ts';

const ROWS = [
  { cluster: 'v1.36.2', own: 'v1.36.2', isRefused: false },
  { cluster: 'v1.36.3', own: 'v1.36.2', isRefused: false },
  { cluster: 'v1.37.0', own: 'v1.36.9', isRefused: false },
  { cluster: 'v1.36.2', own: 'v1.36.3', isRefused: true },
  { cluster: 'v1.36.9', own: 'v1.37.0', isRefused: true },
  { cluster: 'of somebody', own: 'v1.36.2', isRefused: false },
] as const;

for (const { cluster, own, isRefused } of ROWS) {
  t.test(`refuseOlderCluster() ${isRefused ? 'refuses' : 'takes'} ${cluster} for ${own}`, async (t) => {
    const look = refuseOlderCluster({ requestJson: async () => ({ gitVersion: cluster }) as never }, own);
    if (!isRefused) return t.resolves(look);
    return t.rejects(look, {
      code: 'UPGRADE_NEEDED',
      message: /the cluster runs Kubernetes v1\.36\.\d, and tkadm .* would make a node of v1/,
      hint: /upgrade apply/,
    });
  });
}
