import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import { REPLICA_SETS } from '../../../../runtime/api/kinds.ts';
import { NodeInfo } from '../../../../runtime/controlplane/scheduler/node-info.ts';
import { placePod } from '../../../../runtime/controlplane/scheduler/placement.ts';
import { buildPodInfo } from '../../../../runtime/controlplane/scheduler/pod-info.ts';
import { findPreemption } from '../../../../runtime/controlplane/scheduler/preemption.ts';
import { viewOf } from '../component/view-of.ts';

const FIRST = () => 0;
const EMPTY = viewOf([]);

function node(name: string, spec: object = {}, labels: Record<string, string> = {}): Node {
  return {
    metadata: { name, labels: { 'kubernetes.io/hostname': name, ...labels } },
    spec,
    status: { allocatable: { cpu: '2', memory: '4Gi', pods: '10' } },
  };
}

function pod(name: string, spec: object = {}, metadata: object = {}): Pod {
  const containers = [{ name: 'c', image: 'busybox' }];
  return { metadata: { name, namespace: 'default', uid: name, ...metadata }, spec: { containers, ...spec } };
}

/** A NodeInfo of a node with these pods. */
function nodeInfoOf(node: Node, pods: readonly Pod[] = []): NodeInfo {
  const info = new NodeInfo(node.metadata?.name ?? '');
  info.set(node);
  for (const pod of pods) info.add(buildPodInfo(pod));
  return info;
}

function cpu(amount: string) {
  return { containers: [{ name: 'c', resources: { requests: { cpu: amount } } }] };
}

const ANTI_AFFINITY = {
  affinity: {
    podAntiAffinity: {
      requiredDuringSchedulingIgnoredDuringExecution: [
        { topologyKey: 'kubernetes.io/hostname', labelSelector: { matchLabels: { app: 'x' } } },
      ],
    },
  },
};

const TAINTS = [{ key: 'k', value: 'v', effect: 'NoSchedule' }];

t.test('placePod() names why a pod fits nowhere', (t) => {
  const cases = [
    { spec: cpu('3'), nodes: [node('a')], reason: '0/1 nodes are available: 1 Insufficient cpu.' },
    {
      spec: {},
      nodes: [node('a', { unschedulable: true }), node('b', { taints: TAINTS })],
      reason:
        '0/2 nodes are available: 1 node(s) had untolerated taint {k: v}, 1 node(s) were unschedulable.',
    },
    {
      spec: { nodeSelector: { disk: 'ssd' } },
      nodes: [node('a')],
      reason: "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    },
    {
      spec: { volumes: [{ name: 'v', persistentVolumeClaim: { claimName: 'none' } }] },
      nodes: [node('a')],
      reason: '0/1 nodes are available: 1 persistentvolumeclaim "none" not found.',
    },
  ];
  for (const { spec, nodes, reason } of cases) {
    const placement = placePod(
      buildPodInfo(pod('p', spec)),
      nodes.map((entry) => nodeInfoOf(entry)),
      EMPTY,
      FIRST,
    );
    t.equal(placement.node === undefined && placement.message, reason);
  }
  t.end();
});

t.test('placePod() keeps required anti-affinity and host ports apart', (t) => {
  const other = pod('o', {}, { labels: { app: 'x' } });
  const nodes = [nodeInfoOf(node('a'), [other]), nodeInfoOf(node('b'))];
  const apart = buildPodInfo(pod('p', ANTI_AFFINITY, { labels: { app: 'x' } }));
  t.equal(placePod(apart, nodes, EMPTY, FIRST).node?.name, 'b');
  const port = { containers: [{ name: 'c', ports: [{ containerPort: 80, hostPort: 80 }] }] };
  const taken = [nodeInfoOf(node('a'), [pod('o', port)]), nodeInfoOf(node('b'))];
  t.equal(placePod(buildPodInfo(pod('p', port)), taken, EMPTY, FIRST).node?.name, 'b');
  t.end();
});

t.test('placePod() spreads the pods of a ReplicaSet over the nodes', (t) => {
  const ownerReferences = [
    { apiVersion: 'apps/v1', kind: 'ReplicaSet', name: 'rs', uid: 'rs', controller: true },
  ];
  const metadata = { labels: { app: 'web' }, ownerReferences };
  const replicaSet = {
    metadata: { name: 'rs', namespace: 'default', uid: 'rs' },
    spec: { selector: { matchLabels: { app: 'web' } } },
  };
  const view = viewOf([[REPLICA_SETS, [replicaSet]]]);
  const nodes = [nodeInfoOf(node('a')), nodeInfoOf(node('b'))];
  for (let index = 0; index < 6; index += 1) {
    const info = buildPodInfo(pod(`p${index}`, {}, metadata));
    placePod(info, nodes, view, FIRST).node?.add(info);
  }
  t.same(
    nodes.map((entry) => entry.pods.size),
    [3, 3],
  );
  t.end();
});

t.test('placePod() obeys a hard topology spread constraint', (t) => {
  const constraint = {
    maxSkew: 1,
    topologyKey: 'zone',
    whenUnsatisfiable: 'DoNotSchedule',
    labelSelector: { matchLabels: { app: 'x' } },
  };
  const labels = { app: 'x' };
  const zones = [
    nodeInfoOf(node('a', {}, { zone: '1' }), [pod('o', {}, { labels })]),
    nodeInfoOf(node('b', {}, { zone: '2' })),
  ];
  const info = buildPodInfo(pod('p', { topologySpreadConstraints: [constraint] }, { labels }));
  t.equal(placePod(info, zones, EMPTY, FIRST).node?.name, 'b');
  t.end();
});

t.test('findPreemption() evicts the fewest less important pods', (t) => {
  const low = [pod('low-1', { ...cpu('1'), priority: 0 }), pod('low-2', { ...cpu('1'), priority: 5 })];
  const nodes = [nodeInfoOf(node('a'), low)];
  const info = buildPodInfo(pod('high', { ...cpu('1'), priority: 100 }));
  const placement = placePod(info, nodes, EMPTY, FIRST);
  const rejections = placement.node === undefined ? placement.rejections : new Map();
  const found = findPreemption(info, nodes, rejections, EMPTY);
  t.same(
    found?.victims.map((victim) => victim.key),
    ['default/low-1'],
  );
  t.end();
});
