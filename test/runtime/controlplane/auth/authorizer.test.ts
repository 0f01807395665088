import t from 'tap';
import type { KubeObject } from '../../../../runtime/api/kinds.ts';
import { createAuthorizer } from '../../../../runtime/controlplane/auth/authorizer.ts';
import { buildBootstrapPolicy } from '../../../../runtime/controlplane/auth/bootstrap-policy/policy.ts';
import { forbidden } from '../../../../runtime/controlplane/auth/forbidden.ts';
import type { AccessAttributes, UserInfo } from '../../../../runtime/controlplane/auth/types.ts';
import { MemoryReader } from '../memory-reader.ts';

const RBAC = 'rbac.authorization.k8s.io';

function user(name: string, ...groups: string[]): UserInfo {
  return { name, groups: [...groups, 'system:authenticated'] };
}

/** "get pods/log default/x" or "get deployments.apps default/" or "get /healthz". */
function access(who: UserInfo, text: string): AccessAttributes {
  const [verb = '', what = '', where = '/'] = text.split(' ');
  if (what.startsWith('/')) return { user: who, kind: 'path', verb, path: what };
  const [path = '', subresource = ''] = what.split('/');
  const [resource = '', ...group] = path.split('.');
  const [namespace = '', name = ''] = where.split('/');
  return {
    user: who,
    kind: 'resource',
    verb,
    group: group.join('.'),
    version: 'v1',
    resource,
    subresource,
    namespace,
    name,
  };
}

function role(name: string, rules: object[], namespace?: string, more: object = {}): KubeObject {
  const kind = namespace ? 'Role' : 'ClusterRole';
  return {
    apiVersion: `${RBAC}/v1`,
    kind,
    metadata: { name, ...(namespace ? { namespace } : {}) },
    rules,
    ...more,
  } as KubeObject;
}

function binding(name: string, roleRef: string, subjects: object[], namespace?: string): KubeObject {
  const [kind, roleName] = roleRef.split('/');
  return {
    apiVersion: `${RBAC}/v1`,
    kind: namespace ? 'RoleBinding' : 'ClusterRoleBinding',
    metadata: { name, ...(namespace ? { namespace } : {}) },
    roleRef: { apiGroup: RBAC, kind, name: roleName },
    subjects,
  } as KubeObject;
}

const BOOTSTRAP_CASES: readonly [UserInfo, string, boolean][] = [
  [user('root', 'system:masters'), 'delete nodes /n1', true],
  [user('alice'), 'get pods default/', false],
  [user('alice'), 'get /apis/apps', true],
  [user('alice'), 'get /version/', true],
  [user('alice'), 'get /versions', false],
  [user('alice'), 'get /metrics', false],
  [user('alice', 'system:monitoring'), 'get /metrics', true],
  [user('alice'), 'create selfsubjectaccessreviews.authorization.k8s.io', true],
  [{ name: 'system:anonymous', groups: ['system:unauthenticated'] }, 'get /healthz', true],
  [{ name: 'system:anonymous', groups: ['system:unauthenticated'] }, 'get /api', false],
  [user('system:kube-scheduler'), 'create pods/binding default/x', true],
  [user('system:kube-scheduler'), 'update leases.coordination.k8s.io kube-system/kube-scheduler', true],
  [user('system:kube-scheduler'), 'update leases.coordination.k8s.io kube-system/other', false],
  [user('system:kube-scheduler'), 'create pods default/', false],
  [user('system:kube-controller-manager'), 'watch certificatesigningrequests.certificates.k8s.io', true],
  [
    user('system:serviceaccount:kube-system:deployment-controller', 'system:serviceaccounts'),
    'create replicasets.apps default/',
    true,
  ],
  [
    user('system:serviceaccount:kube-system:disruption-controller'),
    'get widgets.example.com/scale default/x',
    true,
  ],
  [
    user('system:serviceaccount:kube-system:disruption-controller'),
    'update widgets.example.com/scale default/x',
    false,
  ],
  [user('system:serviceaccount:default:x', 'system:serviceaccounts'), 'get /openid/v1/jwks', true],
  [
    user('system:serviceaccount:kube-system:bootstrap-signer'),
    'update configmaps kube-public/cluster-info',
    true,
  ],
  [user('system:serviceaccount:kube-system:bootstrap-signer'), 'update configmaps kube-public/other', false],
  [user('system:kube-proxy'), 'list endpointslices.discovery.k8s.io', true],
];

t.test('createAuthorizer() applies the bootstrap policy', async (t) => {
  const reader = new MemoryReader();
  reader.put(...buildBootstrapPolicy());
  const authorizer = createAuthorizer({ reader, modes: ['Node', 'RBAC'] });
  for (const [who, text, isAllowed] of BOOTSTRAP_CASES) {
    t.equal((await authorizer.authorize(access(who, text))).isAllowed, isAllowed, `${who.name} ${text}`);
  }
  t.match(await authorizer.authorize(access(user('system:kube-proxy'), 'list services')), {
    reason:
      'RBAC: allowed by ClusterRoleBinding "system:node-proxier" of ClusterRole "system:node-proxier" to User "system:kube-proxy"',
  });
});

t.test('createAuthorizer() resolves aggregated roles and follows changes', async (t) => {
  const reader = new MemoryReader();
  const authorizer = createAuthorizer({ reader, modes: ['RBAC'] });
  const can = async (who: UserInfo, text: string) =>
    (await authorizer.authorize(access(who, text))).isAllowed;
  const bob = user('bob');
  t.notOk(await can(bob, 'get pods a/x'), 'nothing at first');
  reader.put(...buildBootstrapPolicy());
  const bind = binding('b', 'ClusterRole/admin', [{ kind: 'User', name: 'bob' }], 'a');
  reader.put(bind);
  t.ok(await can(bob, 'get pods a/x'), 'admin → edit → view → aggregate-to-view');
  t.ok(await can(bob, 'create rolebindings.rbac.authorization.k8s.io a/'), 'admin → aggregate-to-admin');
  t.notOk(await can(bob, 'get pods b/x'), 'another namespace');
  t.notOk(await can(bob, 'get nodes'), 'cluster scope');
  const custom = role('custom', [{ verbs: ['get'], apiGroups: ['example.com'], resources: ['widgets'] }]);
  const labels = { 'rbac.authorization.k8s.io/aggregate-to-view': 'true' };
  reader.put({ ...custom, metadata: { name: 'custom', labels } });
  t.ok(await can(bob, 'get widgets.example.com a/w'), 'a new labelled role is taken in');
  reader.remove(custom);
  t.notOk(await can(bob, 'get widgets.example.com a/w'), 'and left out again');
  reader.put(binding('b', 'ClusterRole/admin', [{ kind: 'Group', name: 'ops' }], 'a'));
  t.notOk(await can(bob, 'get pods a/x'), 'subjects replaced');
  t.ok(await can(user('eve', 'ops'), 'get pods a/x'), 'the new subject');
  reader.remove(bind);
  t.notOk(await can(user('eve', 'ops'), 'get pods a/x'), 'binding removed');
});

t.test('createAuthorizer() knows names, subresources, service accounts, missing roles', async (t) => {
  const reader = new MemoryReader();
  reader.put(
    role(
      'r',
      [
        { verbs: ['get'], apiGroups: [''], resources: ['configmaps'], resourceNames: ['one'] },
        { verbs: ['get'], apiGroups: [''], resources: ['pods/log'] },
      ],
      'a',
    ),
    binding(
      'r',
      'Role/r',
      [
        { kind: 'ServiceAccount', name: 'sa', namespace: 'z' },
        { kind: 'User', name: 'u' },
      ],
      'a',
    ),
    binding('gone', 'ClusterRole/gone', [{ kind: 'User', name: 'u' }]),
  );
  const authorizer = createAuthorizer({ reader, modes: ['RBAC'] });
  const u = user('u');
  const cases = [
    [u, 'get configmaps a/one', true],
    [u, 'get configmaps a/two', false],
    [u, 'list configmaps a/', false],
    [u, 'get pods/log a/p', true],
    [u, 'get pods a/p', false],
    [user('system:serviceaccount:z:sa'), 'get configmaps a/one', true],
    [user('system:serviceaccount:a:sa'), 'get configmaps a/one', false],
  ] as const;
  for (const [who, text, isAllowed] of cases) {
    t.equal((await authorizer.authorize(access(who, text))).isAllowed, isAllowed, `${who.name} ${text}`);
  }
  const attributes = access(u, 'delete secrets a/s');
  const { reason } = await authorizer.authorize(attributes);
  t.equal(
    forbidden(attributes, reason).message,
    'secrets "s" is forbidden: User "u" cannot delete resource "secrets" in API group "" in the namespace "a": RBAC: clusterrole.rbac.authorization.k8s.io "gone" not found',
  );
  t.match(authorizer.rulesFor(u, 'a'), { isIncomplete: true, resourceRules: { length: 2 } });
});

t.test('createAuthorizer() confines a kubelet to its own', async (t) => {
  const reader = new MemoryReader();
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'a' },
    spec: {
      nodeName: 'n1',
      serviceAccountName: 'sa',
      imagePullSecrets: [{ name: 'pull' }],
      containers: [
        {
          name: 'c',
          envFrom: [{ configMapRef: { name: 'env' } }],
          env: [{ name: 'X', valueFrom: { secretKeyRef: { name: 'key', key: 'k' } } }],
        },
      ],
      volumes: [
        { name: 'v', persistentVolumeClaim: { claimName: 'claim' } },
        { name: 'w', projected: { sources: [{ configMap: { name: 'kube-root-ca.crt' } }] } },
      ],
    },
  };
  reader.put(pod as KubeObject);
  reader.put(
    {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      metadata: { name: 'claim', namespace: 'a' },
      spec: { volumeName: 'vol' },
    } as KubeObject,
    {
      apiVersion: 'v1',
      kind: 'PersistentVolume',
      metadata: { name: 'vol' },
      spec: { csi: { nodePublishSecretRef: { name: 'csi', namespace: 'x' } } },
    } as KubeObject,
  );
  const authorizer = createAuthorizer({ reader, modes: ['Node', 'RBAC'] });
  const n1 = user('system:node:n1', 'system:nodes');
  const n2 = user('system:node:n2', 'system:nodes');
  const own = [
    'get secrets a/pull',
    'get secrets a/key',
    'get configmaps a/env',
    'watch configmaps a/kube-root-ca.crt',
    'get persistentvolumeclaims a/claim',
    'get persistentvolumes /vol',
    'get secrets x/csi',
    'create serviceaccounts/token a/sa',
    'get pods a/p',
  ];
  for (const text of own) {
    t.ok((await authorizer.authorize(access(n1, text))).isAllowed, `n1 ${text}`);
    t.notOk((await authorizer.authorize(access(n2, text))).isAllowed, `n2 ${text}`);
  }
  const cases = [
    ['get secrets a/other', false],
    ['get secrets b/pull', false],
    ['list secrets a/', false],
    ['create serviceaccounts/token a/other', false],
    ['get nodes /n1', true],
    ['get nodes /n2', false],
    ['create nodes /', true],
    ['patch nodes/status /n1', true],
    ['get leases.coordination.k8s.io kube-node-lease/n1', true],
    ['get leases.coordination.k8s.io kube-node-lease/n2', false],
    ['update leases.coordination.k8s.io kube-system/n1', false],
    ['list services', true],
    ['create events default/', true],
    ['list deployments.apps', false],
    ['get csinodes.storage.k8s.io /n1', true],
    ['get csinodes.storage.k8s.io /n2', false],
  ] as const;
  for (const [text, isAllowed] of cases) {
    t.equal((await authorizer.authorize(access(n1, text))).isAllowed, isAllowed, `n1 ${text}`);
  }
  const list = { ...access(n1, 'list pods'), fieldSelector: 'spec.nodeName=n1' } as AccessAttributes;
  t.ok((await authorizer.authorize(list)).isAllowed, 'its own pods by selector');
  t.notOk(
    (await authorizer.authorize({ ...list, fieldSelector: '' } as AccessAttributes)).isAllowed,
    'not all pods',
  );
  reader.remove(pod as KubeObject);
  t.notOk((await authorizer.authorize(access(n1, 'get secrets a/pull'))).isAllowed, 'the pod is gone');
});

t.test('createAuthorizer() decides within microseconds', async (t) => {
  const reader = new MemoryReader();
  reader.put(...buildBootstrapPolicy());
  for (let i = 0; i < 500; i += 1) {
    reader.put(binding(`b${i}`, 'ClusterRole/view', [{ kind: 'User', name: `u${i}` }], `ns${i}`));
  }
  const authorizer = createAuthorizer({ reader, modes: ['Node', 'RBAC'] });
  const attributes = access(user('u7'), 'get pods ns7/x');
  for (let i = 0; i < 2000; i += 1) authorizer.authorize(attributes);
  const start = process.hrtime.bigint();
  for (let i = 0; i < 10_000; i += 1) authorizer.authorize(attributes);
  const microseconds = Number(process.hrtime.bigint() - start) / 10_000 / 1000;
  t.ok(microseconds < 50, `${microseconds.toFixed(2)} µs a check`);
});
