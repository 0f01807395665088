import t from 'tap';
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  PODS,
  SERVICE_ACCOUNTS,
} from '../../../../runtime/api/kinds.ts';
import { refused, startTestServer } from './test-server.ts';

const TOKEN_PATH = '/api/v1/namespaces/default/serviceaccounts/default/token';
const AUTOUPDATE = 'rbac.authorization.kubernetes.io/autoupdate';
const REPAIRED = { name: 'system:kube-scheduler' };
const REMADE = { name: 'system:volume-scheduler' };
const OWN = { name: 'system:basic-user' };

t.test('what the server guards', async (t) => {
  const server = await startTestServer(t);
  const client = await server.client('admin');

  t.test('a node gets tokens that are bound to a pod on it, and no others', async (t) => {
    await client.create(SERVICE_ACCOUNTS, { metadata: { name: 'default', namespace: 'default' } });
    const createPod = (name: string, nodeName: string) =>
      client.create(PODS, {
        metadata: { name, namespace: 'default' },
        spec: { nodeName, containers: [{ name: 'c', image: 'i' }] },
      });
    const [own, foreign] = [await createPod('own', 'node-a'), await createPod('foreign', 'node-b')];
    const node = await server.client('node-a');
    const request = (spec: object) => node.requestJson('POST', TOKEN_PATH, { body: { spec } });
    const boundTo = ({ metadata }: typeof own) => ({
      boundObjectRef: { kind: 'Pod', apiVersion: 'v1', name: metadata?.name, uid: metadata?.uid },
    });
    t.match(await refused(t, request({})), { httpStatus: 403, message: /not bound to a pod/ });
    t.match(await refused(t, request(boundTo(foreign))), { httpStatus: 403, message: /different node/ });
    t.match(await request(boundTo(own)), { kind: 'TokenRequest', status: { token: /^ey/ } });
  });

  t.test('the RBAC policy is repaired at the start where autoupdate is on', async (t) => {
    const before = await client.get(CLUSTER_ROLES, REPAIRED);
    const extra = { verbs: ['get'], apiGroups: ['example.com'], resources: ['things'] };
    await client.update(CLUSTER_ROLES, { ...before, rules: [extra, ...(before.rules ?? []).slice(2)] });
    const binding = await client.get(CLUSTER_ROLE_BINDINGS, REPAIRED);
    const stranger = { kind: 'User', apiGroup: 'rbac.authorization.k8s.io', name: 'stranger' };
    await client.update(CLUSTER_ROLE_BINDINGS, { ...binding, subjects: [stranger] });
    const { roleRef, ...remade } = await client.get(CLUSTER_ROLE_BINDINGS, REMADE);
    await client.delete(CLUSTER_ROLE_BINDINGS, REMADE);
    const { resourceVersion: _, uid: __, ...metadata } = remade.metadata ?? {};
    await client.create(CLUSTER_ROLE_BINDINGS, { metadata, roleRef: { ...roleRef, name: 'view' } });
    const own = await client.get(CLUSTER_ROLES, OWN);
    await client.update(CLUSTER_ROLES, {
      ...own,
      metadata: { ...own.metadata, annotations: { [AUTOUPDATE]: 'false' } },
      rules: [],
    });

    await server.stop();
    await server.start();
    const { rules = [] } = await client.get(CLUSTER_ROLES, REPAIRED);
    t.match(rules[0], extra, 'what was added stays');
    const targets = (list: typeof rules) => JSON.stringify(list.map((rule) => rule.resources));
    for (const rule of (before.rules ?? []).slice(0, 2)) {
      t.match(targets(rules), rule.resources?.[0], 'what was taken away is there again');
    }
    const { subjects } = await client.get(CLUSTER_ROLE_BINDINGS, REPAIRED);
    t.same(subjects, [stranger, ...(binding.subjects ?? [])]);
    t.equal((await client.get(CLUSTER_ROLE_BINDINGS, REMADE)).roleRef.name, REMADE.name);
    t.same((await client.get(CLUSTER_ROLES, OWN)).rules ?? [], []);
    const version = (await client.get(CLUSTER_ROLES, REPAIRED)).metadata?.resourceVersion;
    await server.stop();
    await server.start();
    const after = await client.get(CLUSTER_ROLES, REPAIRED);
    t.equal(after.metadata?.resourceVersion, version, 'what is right is not written again');
  });
});
