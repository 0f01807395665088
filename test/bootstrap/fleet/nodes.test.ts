import type { Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import type { FleetHost } from '../../../bootstrap/fleet/cluster-file.ts';
import { drainNode } from '../../../bootstrap/fleet/drain.ts';
import { findNodeOf, planNode } from '../../../bootstrap/fleet/nodes.ts';
import { isApiError } from '../../../runtime/api/api-error.ts';
import type { ApiClient } from '../../../runtime/api/client.ts';
import { kindOf, NODES, PODS, SERVICE_ACCOUNTS } from '../../../runtime/api/kinds.ts';
import { sleep, waitFor } from '../../../runtime/base/time.ts';
import { startTestServer } from '../../runtime/controlplane/apiserver/test-server.ts';

const HOST: FleetHost = {
  address: '10.0.0.5',
  role: 'worker',
  ssh: { user: 'admin' },
  nodeName: undefined,
  nodeIP: undefined,
  interface: undefined,
  isLocal: undefined,
  labels: { place: 'edge' },
  taints: [{ key: 'edge', effect: 'NoSchedule' }],
};
const FOREIGN = { key: 'other', effect: 'NoExecute' };
const BUDGETS = kindOf('policy/v1', 'PodDisruptionBudget');

t.test('Nodes of a fleet', { timeout: 60_000 }, async (t) => {
  const server = await startTestServer(t);
  const api = await server.client('admin');

  await t.test('planNode() sets labels and taints of the file, and takes back its own alone', async (t) => {
    await api.create(NODES, {
      metadata: { name: 'w', labels: { mine: 'yes' } },
      spec: { taints: [FOREIGN] },
    } as Node);
    const settle = async (host: FleetHost) => {
      const node = await api.get(NODES, { name: 'w' });
      const actions = planNode(host, node);
      for (const action of actions) {
        if (action.kind !== 'patch-object') throw new Error(action.kind);
        await api.patch(NODES, { name: 'w' }, { type: 'strategic', body: action.patch });
      }
      return actions.length;
    };
    const read = () => api.get(NODES, { name: 'w' });
    // The server has put its own on a node that is not Ready.
    const taintsOf = async () =>
      (await read()).spec?.taints?.filter(({ key }) => !key.startsWith('node.kubernetes.io/'));
    t.equal(await settle(HOST), 1);
    t.equal(await settle(HOST), 0, 'nothing is left to do');
    t.same((await read()).metadata?.labels, { mine: 'yes', place: 'edge' });
    t.same(await taintsOf(), [FOREIGN, ...(HOST.taints ?? [])]);
    await api.patch(NODES, { name: 'w' }, { type: 'merge', body: { metadata: { labels: { place: null } } } });
    t.equal(await settle(HOST), 1, 'what drifted is corrected');
    t.equal(await settle({ ...HOST, labels: { rack: 'r7' }, taints: undefined }), 1);
    t.same((await read()).metadata?.labels, { mine: 'yes', rack: 'r7' });
    t.same(await taintsOf(), [FOREIGN]);
    t.equal(findNodeOf(HOST, [await read()])?.metadata?.name, 'w', 'by what was remembered');
    t.equal(findNodeOf({ ...HOST, address: '10.0.0.6' }, [await read()]), undefined);
  });

  await t.test('drainNode() evicts, waits for budgets, and leaves pods of DaemonSets', async (t) => {
    await api.create(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace: 'default' } });
    const node = await api.create(NODES, { metadata: { name: 'full' } } as Node);
    await api.create(PODS, pod('web', {}));
    await api.create(
      PODS,
      pod('agent', {
        ownerReferences: [
          { apiVersion: 'apps/v1', kind: 'DaemonSet', name: 'd', uid: 'u', controller: true },
        ],
      }),
    );
    const budget = { name: 'web', namespace: 'default' };
    await api.create(BUDGETS, {
      metadata: budget,
      spec: { minAvailable: 1, selector: { matchLabels: { app: 'web' } } },
    } as never);
    const said: string[] = [];
    const warned: string[] = [];
    const drain = (timeoutMs: number) =>
      drainNode(api, node, {
        timeoutMs,
        signal: AbortSignal.timeout(50_000),
        onProgress: (text) => said.push(text),
        warn: (text) => warned.push(text),
      });
    await t.rejects(drain(0), { code: 'FLEET_DRAIN', message: /default\/web/ });
    t.equal((await api.get(NODES, { name: 'full' })).spec?.unschedulable, true);
    t.match(warned, [/default\/web has no controller/]);
    const drained = drain(40_000);
    await allow(api, budget);
    await finishDeleted(api, 'web');
    await drained;
    t.equal(await api.find(PODS, { name: 'web', namespace: 'default' }), undefined);
    t.ok(await api.find(PODS, { name: 'agent', namespace: 'default' }));
    t.match(said.at(-1), /1 pods left/);
  });
});

function pod(name: string, metadata: object): Pod {
  return {
    metadata: { name, namespace: 'default', labels: { app: name }, ...metadata },
    spec: { nodeName: 'full', containers: [{ name, image: 'x' }] },
  } as Pod;
}

/** What the disruption controller would say. */
async function allow(api: ApiClient, ref: { name: string; namespace: string }): Promise<void> {
  const { metadata } = await api.get(BUDGETS, ref);
  const status = {
    observedGeneration: metadata?.generation,
    disruptionsAllowed: 1,
    currentHealthy: 2,
    desiredHealthy: 1,
    expectedPods: 2,
  };
  await api.patch(BUDGETS, { ...ref, subresource: 'status' }, { type: 'merge', body: { status } });
}

/** What the agent of the node would do with a pod that is deleted. */
async function finishDeleted(api: ApiClient, name: string): Promise<void> {
  const ref = { name, namespace: 'default' };
  const isGone = await waitFor(
    async () => {
      const found = await api.find(PODS, ref);
      if (found === undefined) return 'gone';
      return found.metadata?.deletionTimestamp ? 'ending' : undefined;
    },
    { subject: 'the eviction', timeoutMs: 30_000, intervalMs: 50 },
  );
  if (isGone === 'gone') return;
  await sleep(10);
  await api.delete(PODS, ref, { gracePeriodSeconds: 0 }).catch((error) => {
    if (!isApiError(error, 'NotFound')) throw error;
  });
}
