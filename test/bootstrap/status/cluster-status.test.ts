import type { Pod } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { formatStatus } from '../../../bootstrap/render/status.ts';
import { buildStatus } from '../../../bootstrap/status/cluster-status.ts';
import { ago, CLUSTER, clusterWith, NODE, NOW, podWith, waiting } from '../diagnose/fixture.ts';

const INPUT = {
  cluster: CLUSTER,
  version: 'v1.36.2',
  now: NOW,
  memoryUsedBytes: new Map([['cp', 512 * 1024 ** 2]]),
  nextExpiry: { name: 'apiserver', notAfter: '2026-03-01T12:00:00.000Z' },
  storeBytes: 3 * 1024 ** 2,
};

t.test('buildStatus() sums up a cluster that is well', async (t) => {
  const status = buildStatus(INPUT);
  t.match(status, {
    ok: true,
    api: 'ok',
    nodes: [{ name: 'cp', ready: true, memoryUsedBytes: 512 * 1024 ** 2, reportedSeconds: 5 }],
    addons: [{ name: 'kube-proxy' }, { name: 'coredns', ready: 1, wanted: 1 }],
    podsNotReady: [],
  });
  const text = formatStatus(status, NOW);
  t.match(text, /v1\.36\.2 {2}API ok/);
  t.match(text, /certificates {3}apiserver ends in 59d/);
  t.match(text, /store {10}3\.0 MiB/);
  t.notMatch(text, /tkadm why/);
});

const FAULTS = {
  'a node that is not Ready': clusterWith({
    nodes: [{ ...NODE, status: { conditions: [{ type: 'Ready', status: 'False', message: 'no network' }] } }],
  }),
  'an add-on that lacks pods': clusterWith({
    deployments: [
      { metadata: { name: 'coredns' }, spec: { replicas: 2 } as never, status: { readyReplicas: 1 } },
    ],
  }),
  'a pod that is not ready': podWith({ container: waiting('ImagePullBackOff') }),
  'an API server that is away': clusterWith({
    nodes: [],
    problem: { code: 'API_UNREACHABLE', message: 'Cannot reach API server: ECONNREFUSED' },
  }),
};

for (const [name, { cluster }] of Object.entries(FAULTS)) {
  t.test(`buildStatus() is not ok with ${name}`, async (t) => {
    const status = buildStatus({ ...INPUT, cluster: cluster! });
    t.equal(status.ok, false);
    t.match(formatStatus(status, NOW), /what is wrong: tkadm why\n$/);
  });
}

t.test('buildStatus() leaves out the warnings of pods that are gone or ready since', async (t) => {
  const { cluster } = podWith({ container: waiting('ImagePullBackOff'), warning: ['Unhealthy', 'not yet'] });
  const [pod] = cluster!.pods;
  const readyAt = (lastTransitionTime: string) => ({
    ...pod!,
    status: { ...pod!.status, conditions: [{ type: 'Ready', status: 'True', lastTransitionTime }] },
  });
  const warningsWith = (pods: readonly Pod[]) =>
    buildStatus({ ...INPUT, cluster: { ...cluster!, pods } }).warnings.map(({ reason }) => reason);
  t.same(warningsWith([pod!]), ['Unhealthy']);
  t.same(warningsWith([readyAt(ago(0))]), [], 'ready since');
  t.same(warningsWith([readyAt(ago(60))]), ['Unhealthy'], 'ready before, and warned of since');
  t.same(warningsWith([]), [], 'gone');
});

t.test('buildStatus() tells why pods are not ready, and of the last warnings', async (t) => {
  const { cluster } = podWith({ container: waiting('ImagePullBackOff'), warning: ['Failed', 'no such tag'] });
  const old = { ...cluster!.events[0]!, lastTimestamp: ago(3_600) };
  const status = buildStatus({ ...INPUT, cluster: { ...cluster!, events: [...cluster!.events, old] } });
  t.same(status.podsNotReady, [
    { namespace: 'default', name: 'web', node: 'cp', reason: 'ImagePullBackOff' },
  ]);
  t.same(status.warnings, [
    { object: 'pod/default/web', reason: 'Failed', message: 'no such tag', ageSeconds: 1 },
  ]);
});
