import type { DaemonSet, StatefulSet } from 'kubernetes-types/apps/v1.d.ts';
import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import type { ApiClient } from '../../../../runtime/api/client.ts';
import { DAEMON_SETS, NODES, PODS, STATEFUL_SETS } from '../../../../runtime/api/kinds.ts';
import { SILENT_LOGGER } from '../../../../runtime/base/log.ts';
import { flattenActions } from '../../../../runtime/controlplane/component/action.ts';
import type { Controller } from '../../../../runtime/controlplane/controllers/controller.ts';
import { createDaemonSetController } from '../../../../runtime/controlplane/controllers/daemon-set.ts';
import { createStatefulSetController } from '../../../../runtime/controlplane/controllers/stateful-set.ts';
import { viewOf } from '../component/view-of.ts';

const NOW = new Date('2026-01-01T00:00:00Z');
const METADATA = { name: 'web', namespace: 'default', uid: 'u1' };
const SPEC = {
  selector: { matchLabels: { app: 'web' } },
  template: {
    metadata: { labels: { app: 'web' } },
    spec: { containers: [{ name: 'c', image: 'i' }] },
  },
};
const DELETED = { deletionTimestamp: '2026-01-01T00:00:00Z' };
const NODE: Node = { metadata: { name: 'n1' } };

function strayPod(name: string): Pod {
  return { metadata: { name, namespace: 'default', uid: name, labels: { app: 'web' } }, status: {} };
}

async function reconcile(controller: Controller, view: ReturnType<typeof viewOf>) {
  const api = {} as ApiClient;
  const context = { view, now: NOW, api, log: SILENT_LOGGER, randomSuffix: () => 'x' };
  const { actions } = await controller.reconcile('default/web', context);
  return flattenActions(actions).flatMap((action) =>
    'kind' in action ? [`${action.verb} ${action.kind.kind}`] : [],
  );
}

const daemonSet = (metadata: object = {}): DaemonSet => ({
  metadata: { ...METADATA, ...metadata },
  spec: SPEC,
});
const statefulSet = (metadata: object = {}): StatefulSet => ({
  metadata: { ...METADATA, ...metadata },
  spec: { ...SPEC, serviceName: 'web', replicas: 2 },
});

t.test('a new set gets a revision and its first pod', async (t) => {
  const view = viewOf([
    [DAEMON_SETS, [daemonSet()]],
    [STATEFUL_SETS, [statefulSet()]],
    [NODES, [NODE]],
  ]);
  for (const controller of [createDaemonSetController(), createStatefulSetController()]) {
    const actions = await reconcile(controller, view);
    t.same(actions.slice(0, 2), ['create ControllerRevision', 'create Pod'], controller.name);
    t.equal(actions.filter((action) => action === 'create Pod').length, 1);
  }
});

t.test('pods without an owner are adopted, by a StatefulSet those with a number alone', async (t) => {
  const pods = [strayPod('web-0'), strayPod('stray')];
  const adoptions = async (controller: Controller, sets: Parameters<typeof viewOf>[0]) =>
    (await reconcile(controller, viewOf([...sets, [PODS, pods]]))).filter((action) => action === 'patch Pod');
  t.equal((await adoptions(createDaemonSetController(), [[DAEMON_SETS, [daemonSet()]]])).length, 2);
  t.equal((await adoptions(createStatefulSetController(), [[STATEFUL_SETS, [statefulSet()]]])).length, 1);
});

t.test('a set that is being deleted is left alone', async (t) => {
  const view = viewOf([
    [DAEMON_SETS, [daemonSet(DELETED)]],
    [STATEFUL_SETS, [statefulSet(DELETED)]],
    [NODES, [NODE]],
    [PODS, [strayPod('web-0')]],
  ]);
  for (const controller of [createDaemonSetController(), createStatefulSetController()]) {
    t.same(await reconcile(controller, view), [], controller.name);
  }
});
