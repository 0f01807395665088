import type { Deployment, ReplicaSet } from 'kubernetes-types/apps/v1.d.ts';
import t from 'tap';
import type { ApiClient } from '../../../../runtime/api/client.ts';
import { DEPLOYMENTS, REPLICA_SETS } from '../../../../runtime/api/kinds.ts';
import { SILENT_LOGGER } from '../../../../runtime/base/log.ts';
import { flattenActions } from '../../../../runtime/controlplane/component/action.ts';
import { reconcileDeployment } from '../../../../runtime/controlplane/controllers/deployment.ts';
import { buildReplicaSet } from '../../../../runtime/controlplane/controllers/deployment-revisions.ts';
import {
  planNewReplicas,
  planOldReplicas,
  planScaling,
} from '../../../../runtime/controlplane/controllers/deployment-rollout.ts';
import { viewOf } from '../component/view-of.ts';

const NOW = new Date('2026-01-01T00:00:00Z');

function deployment(replicas: number, image: string, spec: object = {}): Deployment {
  return {
    metadata: { name: 'web', namespace: 'default', uid: 'd1', generation: 1 },
    spec: {
      replicas,
      selector: { matchLabels: { app: 'web' } },
      template: { metadata: { labels: { app: 'web' } }, spec: { containers: [{ name: 'c', image }] } },
      progressDeadlineSeconds: 600,
      ...spec,
    },
  };
}

function replicaSet(owner: Deployment, replicas: number, available: number, age = 0): ReplicaSet {
  const built = buildReplicaSet(owner, replicas, 1);
  const creationTimestamp = new Date(NOW.getTime() - age * 1000).toISOString();
  return {
    ...built,
    metadata: { ...built.metadata, uid: `${built.metadata?.name}`, creationTimestamp },
    status: { replicas, availableReplicas: available, readyReplicas: available },
  };
}

function reconcile(object: Deployment, replicaSets: readonly ReplicaSet[]) {
  const view = viewOf([
    [DEPLOYMENTS, [object]],
    [REPLICA_SETS, replicaSets],
  ]);
  const api = {} as ApiClient;
  const context = { view, now: NOW, api, log: SILENT_LOGGER, randomSuffix: () => 'x' };
  return flattenActions(reconcileDeployment('default/web', context).actions);
}

t.test('reconcileDeployment() creates the first ReplicaSet with hash, revision and owner', (t) => {
  const [creation] = reconcile(deployment(3, 'a'), []);
  if (creation?.verb !== 'create') throw new Error(`first action is ${creation?.verb}`);
  const created = creation.object as ReplicaSet;
  const hash = created.metadata?.labels?.['pod-template-hash'];
  t.match(hash, /^[bcdfghjklmnpqrstvwxz2456789]{6,10}$/);
  t.equal(created.metadata?.name, `web-${hash}`);
  t.equal(created.spec?.replicas, 3);
  t.equal(created.spec?.template?.metadata?.labels?.['pod-template-hash'], hash);
  t.equal(created.metadata?.annotations?.['deployment.kubernetes.io/revision'], '1');
  t.equal(created.metadata?.ownerReferences?.[0]?.uid, 'd1');
  t.end();
});

t.test('reconcileDeployment() starts a rolling update within maxSurge', (t) => {
  const before = deployment(4, 'a');
  const actions = reconcile(deployment(4, 'b'), [replicaSet(before, 4, 4)]);
  const creation = actions.find((action) => action.verb === 'create');
  t.equal(creation?.verb === 'create' && (creation.object as ReplicaSet).spec?.replicas, 1);
  t.end();
});

t.test('planNewReplicas() and planOldReplicas() keep maxSurge and maxUnavailable', (t) => {
  const cases = [
    { replicas: 10, old: [10, 10], fresh: [3, 0], scaleTo: 3, oldTo: 8 },
    { replicas: 10, old: [8, 8], fresh: [3, 3], scaleTo: 5, oldTo: 5 },
    { replicas: 10, old: [10, 0], fresh: [3, 3], scaleTo: 3, oldTo: 5 },
    { replicas: 1, old: [1, 1], fresh: [1, 0], scaleTo: 1, oldTo: 1 },
    { replicas: 1, old: [1, 1], fresh: [1, 1], scaleTo: 1, oldTo: 0 },
  ] as const;
  for (const row of cases) {
    const owner = deployment(row.replicas, 'b');
    const old = replicaSet(deployment(row.replicas, 'a'), row.old[0], row.old[1], 10);
    const fresh = replicaSet(owner, row.fresh[0], row.fresh[1]);
    t.equal(planNewReplicas(owner, [old, fresh], row.fresh[0]), row.scaleTo, JSON.stringify(row));
    t.equal(planOldReplicas(owner, fresh, [old]).get(old) ?? row.old[0], row.oldTo, JSON.stringify(row));
  }
  t.end();
});

t.test('planScaling() shares a change of size among ReplicaSets in proportion', (t) => {
  const before = deployment(10, 'a');
  const old = replicaSet(before, 8, 8, 10);
  const fresh = replicaSet(deployment(10, 'b'), 5, 3);
  const plan = planScaling(deployment(20, 'b'), fresh, [old]);
  t.same([plan.get(old), plan.get(fresh)], [15, 10]);
  t.end();
});

t.test('reconcileDeployment() does nothing once all is rolled out and written down', (t) => {
  const object = deployment(2, 'a');
  const set = replicaSet(object, 2, 2);
  const first = reconcile(object, [set]);
  const written = first.find((action) => action.verb === 'update');
  const status = written?.verb === 'update' ? (written.object as Deployment).status : undefined;
  const annotated = {
    ...object,
    metadata: { ...object.metadata, annotations: { 'deployment.kubernetes.io/revision': '1' } },
  };
  t.same(reconcile({ ...annotated, ...(status ? { status } : {}) }, [set]), []);
  t.end();
});
