import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import type { Node, PersistentVolumeClaim, Pod, PodSpec } from 'kubernetes-types/core/v1.d.ts';
import t from 'tap';
import type { KubeObject } from '../../../../runtime/api/kinds.ts';
import { PLUGIN_ROWS } from '../../../../runtime/controlplane/admission/plugins.ts';
import { qosClassOf } from '../../../../runtime/controlplane/admission/strategies/pod.ts';
import { ADMISSION_PLUGINS } from '../../../../runtime/controlplane/apiserver/flags.ts';
import { buildBootstrapPolicy } from '../../../../runtime/controlplane/auth/bootstrap-policy/policy.ts';
import type { UserInfo } from '../../../../runtime/controlplane/auth/types.ts';
import { Admission } from './admission-harness.ts';

const KUBELET: UserInfo = { name: 'system:node:n1', groups: ['system:nodes', 'system:authenticated'] };

function object(apiVersion: string, kind: string, metadata: object, more: object = {}): KubeObject {
  return { apiVersion, kind, metadata, ...more } as KubeObject;
}

function pod(name: string, spec: object = {}, metadata: object = {}): Pod {
  const containers = [{ name: 'c', image: 'i' }];
  return object(
    'v1',
    'Pod',
    { name, namespace: 'default', ...metadata },
    { spec: { containers, ...spec } },
  ) as Pod;
}

function limited(resources: object): Partial<PodSpec> {
  return { containers: [{ name: 'c', image: 'i', resources }] };
}

t.test('qosClassOf() follows requests and limits', (t) => {
  const cases = [
    [{}, 'BestEffort'],
    [{ requests: { cpu: '0' } }, 'BestEffort'],
    [{ requests: { cpu: '1' } }, 'Burstable'],
    [{ limits: { cpu: '1', memory: '1Gi' } }, 'Guaranteed'],
    [{ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '1000m', memory: '1024Mi' } }, 'Guaranteed'],
    [{ limits: { cpu: '1', memory: '1Gi' }, requests: { cpu: '500m' } }, 'Burstable'],
  ] as const;
  for (const [resources, expected] of cases) {
    t.equal(qosClassOf(limited(resources) as PodSpec), expected, JSON.stringify(resources));
  }
  t.end();
});

t.test('ADMISSION_PLUGINS names every plugin', (t) => {
  t.same(
    PLUGIN_ROWS.map(({ name }) => name),
    ADMISSION_PLUGINS,
  );
  t.end();
});

t.test('AlwaysPullImages has every container pull, and again only for a new image', async (t) => {
  const admission = new Admission({ enabled: ['AlwaysPullImages'] });
  const containers = [{ name: 'c', image: 'i', imagePullPolicy: 'Never' }];
  const initContainers = [{ name: 'a', image: 'j', imagePullPolicy: 'IfNotPresent' }];
  const created = await admission.run<Pod>({ object: pod('p', { containers, initContainers }) });
  t.match(created.spec, {
    containers: [{ imagePullPolicy: 'Always' }],
    initContainers: [{ imagePullPolicy: 'Always' }],
  });
  const old = pod('p', { containers });
  const same = await admission.run<Pod>({ object: pod('p', { containers }), old });
  t.match(same.spec?.containers, [{ imagePullPolicy: 'Never' }]);
  const changed = { name: 'c', image: 'k', imagePullPolicy: 'Never' };
  const other = await admission.run<Pod>({ object: pod('p', { containers: [changed] }), old });
  t.match(other.spec?.containers, [{ imagePullPolicy: 'Always' }]);
});

t.test('a plain pod gets all that upstream gives it', async (t) => {
  const admission = new Admission();
  const { spec, status } = await admission.run<Pod>({ object: pod('p') });
  t.match(spec, {
    serviceAccountName: 'default',
    serviceAccount: 'default',
    priority: 0,
    preemptionPolicy: 'PreemptLowerPriority',
  });
  t.match(status, { phase: 'Pending', qosClass: 'BestEffort' });
  const [volume] = spec?.volumes ?? [];
  t.match(volume?.name, /^kube-api-access-[a-z0-9]{5}$/);
  t.match(volume?.projected, {
    defaultMode: 420,
    sources: [
      { serviceAccountToken: { expirationSeconds: 3607, path: 'token' } },
      { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
      { downwardAPI: { items: [{ path: 'namespace', fieldRef: { fieldPath: 'metadata.namespace' } }] } },
    ],
  });
  t.same(spec?.containers[0]?.volumeMounts, [
    { name: volume?.name, readOnly: true, mountPath: '/var/run/secrets/kubernetes.io/serviceaccount' },
  ]);
  t.same(
    spec?.tolerations?.map(({ key, tolerationSeconds }) => [key, tolerationSeconds]),
    [
      ['node.kubernetes.io/not-ready', 300],
      ['node.kubernetes.io/unreachable', 300],
    ],
  );
  const off = await admission.run<Pod>({
    object: pod('q', { automountServiceAccountToken: false, tolerations: [{ operator: 'Exists' }] }),
  });
  t.equal(off.spec?.volumes, undefined);
  t.equal(off.spec?.tolerations?.length, 1, 'tolerates everything already');
  const critical = await admission.run<Pod>({
    object: pod('r', { priorityClassName: 'system-node-critical' }),
  });
  t.equal(critical.spec?.priority, 2_000_001_000);
  const mirror = await admission.run<Pod>({
    object: pod('m', {}, { annotations: { 'kubernetes.io/config.mirror': 'x' } }),
  });
  t.equal(mirror.spec?.serviceAccountName, undefined, 'a mirror pod stays as it is');
});

t.test('ServiceAccount waits for the account of a new namespace', async (t) => {
  const admission = new Admission();
  admission.reader.put(object('v1', 'Namespace', { name: 'new' }));
  const running = admission.run<Pod>({ object: pod('p', {}, { namespace: 'new' }) });
  setTimeout(
    () =>
      admission.reader.put(
        object(
          'v1',
          'ServiceAccount',
          { name: 'default', namespace: 'new' },
          { imagePullSecrets: [{ name: 'pull' }] },
        ),
      ),
    70,
  );
  t.same((await running).spec?.imagePullSecrets, [{ name: 'pull' }]);
});

t.test('plugins refuse in the words of upstream', async (t) => {
  const admission = new Admission();
  const { reader } = admission;
  reader.put(
    object(
      'v1',
      'Namespace',
      { name: 'going', deletionTimestamp: '2026-01-01T00:00:00Z' },
      { status: { phase: 'Terminating' } },
    ),
    object('v1', 'Namespace', { name: 'safe', labels: { 'pod-security.kubernetes.io/enforce': 'baseline' } }),
    object('v1', 'Namespace', {
      name: 'strict',
      labels: { 'pod-security.kubernetes.io/enforce': 'restricted' },
    }),
    ...['safe', 'strict'].map((namespace) => object('v1', 'ServiceAccount', { name: 'default', namespace })),
    object(
      'node.k8s.io/v1',
      'RuntimeClass',
      { name: 'vm' },
      { handler: 'vm', overhead: { podFixed: { memory: '64Mi' } } },
    ),
  );
  const configMap = (namespace: string) => object('v1', 'ConfigMap', { name: 'c', namespace });
  const hook = object('admissionregistration.k8s.io/v1', 'ValidatingWebhookConfiguration', { name: 'w' });
  const refusals = [
    [{ object: configMap('nowhere') }, 404, 'namespaces "nowhere" not found'],
    [
      { object: configMap('going') },
      403,
      'configmaps "c" is forbidden: unable to create new content in namespace going because it is being terminated',
    ],
    [
      { old: object('v1', 'Namespace', { name: 'kube-system' }) },
      403,
      'namespaces "kube-system" is forbidden: this namespace may not be deleted',
    ],
    [
      { object: pod('p', { serviceAccountName: 'x' }) },
      403,
      'pods "p" is forbidden: error looking up service account default/x: serviceaccount "x" not found',
    ],
    [
      { object: pod('p', { priorityClassName: 'x' }) },
      403,
      'pods "p" is forbidden: no PriorityClass with name x was found',
    ],
    [{ object: pod('p', { priority: 7 }) }, 403, /the integer value of priority \(7\) must not be provided/],
    [
      { object: pod('p', { runtimeClassName: 'x' }) },
      403,
      'pods "p" is forbidden: pod rejected: RuntimeClass "x" not found',
    ],
    [
      { object: pod('p', { hostNetwork: true }, { namespace: 'safe' }) },
      403,
      'pods "p" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)',
    ],
    [
      {
        object: pod(
          'p',
          {
            containers: [{ name: 'c', securityContext: { privileged: true } }],
            volumes: [{ name: 'h', hostPath: { path: '/' } }],
          },
          { namespace: 'safe' },
        ),
      },
      403,
      /privileged \(container "c" must not set securityContext.privileged=true\), hostPath volumes \(volume "h"\)/,
    ],
    [
      { object: pod('p', {}, { namespace: 'strict' }) },
      403,
      /allowPrivilegeEscalation != false .* runAsNonRoot != true .* seccompProfile/,
    ],
    [
      {
        object: object('v1', 'Namespace', {
          name: 'n',
          labels: { 'pod-security.kubernetes.io/warn': 'some' },
        }),
      },
      422,
      /must be one of privileged, baseline, restricted/,
    ],
    [{ object: hook }, 403, /ValidatingWebhookConfiguration is not supported yet/],
  ] as const;
  for (const [write, code, message] of refusals) {
    await t.rejects(admission.run(write as { object: KubeObject }), { code, message }, String(message));
  }
  t.match((await admission.run<Pod>({ object: pod('p', { runtimeClassName: 'vm' }) })).spec?.overhead, {
    memory: '64Mi',
  });
  const fine = {
    allowPrivilegeEscalation: false,
    runAsNonRoot: true,
    capabilities: { drop: ['ALL'] },
    seccompProfile: { type: 'RuntimeDefault' },
  };
  t.ok(
    await admission.run({
      object: pod('p', { containers: [{ name: 'c', securityContext: fine }] }, { namespace: 'strict' }),
    }),
  );
  t.throws(() => new Admission({ enabled: ['ImagePolicyWebhook'] }), {
    code: 'UNSUPPORTED',
  });
});

t.test('LimitRanger sets defaults and holds to bounds', async (t) => {
  const admission = new Admission();
  const limits = [
    {
      type: 'Container',
      default: { cpu: '500m' },
      defaultRequest: { cpu: '100m' },
      max: { cpu: '1' },
      min: { cpu: '50m' },
    },
  ];
  admission.reader.put(object('v1', 'LimitRange', { name: 'l', namespace: 'default' }, { spec: { limits } }));
  const made = await admission.run<Pod>({ object: pod('p') });
  t.same(made.spec?.containers[0]?.resources, { limits: { cpu: '500m' }, requests: { cpu: '100m' } });
  t.equal(made.status?.qosClass, 'Burstable');
  await t.rejects(admission.run({ object: pod('p', limited({ limits: { cpu: '2' } })) }), {
    code: 403,
    message: 'pods "p" is forbidden: maximum cpu usage per Container is 1, but limit is 2',
  });
  await t.rejects(admission.run({ object: pod('p', limited({ requests: { cpu: '10m' } })) }), {
    message: /minimum cpu usage per Container is 50m, but request is 10m/,
  });
});

t.test('ResourceQuota counts stored objects and writes under way', async (t) => {
  const admission = new Admission();
  const hard = { pods: '2', 'requests.memory': '1Gi', 'count/configmaps': '1' };
  admission.reader.put(
    object('v1', 'ResourceQuota', { name: 'q', namespace: 'default' }, { spec: { hard } }),
  );
  const small = (name: string) => pod(name, limited({ requests: { memory: '256Mi' } }));
  await t.rejects(admission.run({ object: pod('none') }), {
    code: 403,
    message: 'pods "none" is forbidden: failed quota: q: must specify requests.memory for: c',
  });
  await t.rejects(admission.run({ object: pod('big', limited({ requests: { memory: '2Gi' } })) }), {
    message:
      'pods "big" is forbidden: exceeded quota: q, requested: requests.memory=2Gi, used: requests.memory=0, limited: requests.memory=1Gi',
  });
  const results = await Promise.allSettled(
    ['a', 'b', 'c', 'd'].map((name) => admission.run<Pod>({ object: small(name) })),
  );
  const made = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  t.equal(made.length, 2, 'four at once, two fit');
  admission.reader.put(...made);
  await t.rejects(admission.run({ object: small('e') }), {
    message: /exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2/,
  });
  admission.reader.remove(made[0]!);
  t.ok(await admission.run({ object: small('e'), isDryRun: true }), 'room again');
  await admission.create(object('v1', 'ConfigMap', { name: 'one', namespace: 'default' }));
  await t.rejects(
    admission.run({ object: object('v1', 'ConfigMap', { name: 'two', namespace: 'default' }) }),
    { message: /count\/configmaps=1/ },
  );
});

t.test('defaults of storage, ingress, nodes', async (t) => {
  const admission = new Admission();
  const isDefault = { 'storageclass.kubernetes.io/is-default-class': 'true' };
  admission.reader.put(object('storage.k8s.io/v1', 'StorageClass', { name: 'std', annotations: isDefault }));
  const claim = await admission.create(
    object(
      'v1',
      'PersistentVolumeClaim',
      { name: 'c', namespace: 'default' },
      { spec: { resources: { requests: { storage: '1Gi' } } } },
    ) as PersistentVolumeClaim,
  );
  t.equal(claim.spec?.storageClassName, 'std');
  t.same(claim.metadata?.finalizers, ['kubernetes.io/pvc-protection']);
  const bound = { ...claim, status: { phase: 'Bound' } } as KubeObject;
  const grown = {
    ...bound,
    spec: { ...claim.spec, resources: { requests: { storage: '2Gi' } } },
  } as KubeObject;
  await t.rejects(admission.run({ object: grown, old: bound }), {
    code: 403,
    message: /only dynamically provisioned pvc can be resized/,
  });
  const node = await admission.run<Node>({ object: object('v1', 'Node', { name: 'n1' }), user: KUBELET });
  t.same(node.spec?.taints, [{ key: 'node.kubernetes.io/not-ready', effect: 'NoSchedule' }]);
});

t.test('NodeRestriction keeps a kubelet to its own', async (t) => {
  const admission = new Admission();
  const mirror = { annotations: { 'kubernetes.io/config.mirror': 'x' } };
  const account = object('v1', 'ServiceAccount', { name: 'default', namespace: 'default' });
  admission.reader.put(
    pod('mine', { nodeName: 'n1' }, { uid: 'u' }),
    pod('other', { nodeName: 'n2' }, { uid: 'u' }),
  );
  const token = (name: string, audiences: string[] = []) => ({
    object: object(
      'authentication.k8s.io/v1',
      'TokenRequest',
      { name: 'default', namespace: 'default' },
      { spec: { audiences, boundObjectRef: { apiVersion: 'v1', kind: 'Pod', name, uid: 'u' } } },
    ),
    of: account,
    subresource: 'token',
  });
  const cases = [
    [{ object: pod('p') }, /node "n1" can only create mirror pods/],
    [
      { object: pod('p', { nodeName: 'n2' }, mirror) },
      /node "n1" can only create pods with spec.nodeName set to itself/,
    ],
    [{ object: pod('p', { nodeName: 'n1' }, mirror) }, undefined],
    [{ old: pod('p', { nodeName: 'n2' }) }, /can only delete pods with spec.nodeName set to itself/],
    [{ object: object('v1', 'Node', { name: 'n2' }) }, /node "n1" is not allowed to modify node "n2"/],
    [
      {
        object: object('v1', 'Node', { name: 'n1', labels: { 'node-role.kubernetes.io/control-plane': '' } }),
      },
      /is not allowed to set the following labels: node-role/,
    ],
    [
      { object: object('v1', 'Node', { name: 'n1', labels: { 'kubernetes.io/os': 'linux', mine: 'x' } }) },
      undefined,
    ],
    [
      {
        object: object('v1', 'Node', { name: 'n1' }, { spec: { taints: [] } }),
        old: object('v1', 'Node', { name: 'n1' }, { spec: { taints: [{ key: 'a', effect: 'NoSchedule' }] } }),
      },
      /not allowed to modify taints/,
    ],
    [token('mine'), undefined],
    [token('other'), /bound to a pod scheduled on a different node/],
    [token('mine', ['vault']), /audience "vault" not found in pod spec volume/],
    [
      { object: object('coordination.k8s.io/v1', 'Lease', { name: 'n2', namespace: 'kube-node-lease' }) },
      /can only access node lease with the same name/,
    ],
  ] as const;
  admission.reader.put(object('v1', 'Namespace', { name: 'kube-node-lease' }));
  for (const [write, refusal] of cases) {
    const run = admission.run({ ...(write as { object: KubeObject }), user: KUBELET });
    if (refusal) await t.rejects(run, { code: 403, message: refusal }, String(refusal));
    else t.ok(await run, 'allowed');
  }
});

t.test('signing requests name their maker and are judged by those who may', async (t) => {
  const admission = new Admission();
  admission.reader.put(...buildBootstrapPolicy());
  const makeRequest = (subject: string) => {
    const dir = t.testdir();
    execFileSync(
      'openssl',
      ['req', '-newkey', 'rsa:2048', '-nodes', '-keyout', `${dir}/k`, '-out', `${dir}/csr`, '-subj', subject],
      { stdio: 'pipe' },
    );
    return readFileSync(`${dir}/csr`).toString('base64');
  };
  const csr = (signer: string, request: string, more: object = {}) =>
    object(
      'certificates.k8s.io/v1',
      'CertificateSigningRequest',
      { name: 'r' },
      { spec: { signerName: `kubernetes.io/${signer}`, request, usages: ['client auth'], ...more } },
    ) as CertificateSigningRequest;
  const user: UserInfo = {
    name: 'system:bootstrap:abcdef',
    groups: ['system:bootstrappers'],
    extra: { a: ['b'] },
  };
  const made = await admission.run<CertificateSigningRequest>({
    object: csr('kube-apiserver-client-kubelet', '', { username: 'root', groups: ['system:masters'] }),
    user,
  });
  t.match(made, {
    spec: { username: 'system:bootstrap:abcdef', groups: ['system:bootstrappers'], extra: { a: ['b'] } },
    status: {},
  });
  await t.rejects(
    admission.run({
      object: csr('kube-apiserver-client', makeRequest('/O=dev/O=system:masters/CN=x')),
      user,
    }),
    { code: 403, message: /system:masters group is not allowed/ },
  );
  t.ok(await admission.run({ object: csr('kube-apiserver-client', makeRequest('/O=dev/CN=x')), user }));
  const approved = { ...made, status: { conditions: [{ type: 'Approved', status: 'True' }] } } as KubeObject;
  const approve = (user: UserInfo) =>
    admission.run<CertificateSigningRequest>({ object: approved, old: made, subresource: 'approval', user });
  await t.rejects(approve(user), {
    code: 403,
    message:
      /user not permitted to approve requests with signerName "kubernetes.io\/kube-apiserver-client-kubelet"/,
  });
  const controller: UserInfo = {
    name: 'system:serviceaccount:kube-system:certificate-controller',
    groups: [],
  };
  t.match((await approve(controller)).status, {
    conditions: [{ type: 'Approved', lastTransitionTime: '2026-01-02T03:04:05Z' }],
  });
  const signed = { ...made, status: { certificate: 'x' } } as KubeObject;
  await t.rejects(admission.run({ object: signed, old: made, subresource: 'status', user }), {
    code: 403,
    message: /not permitted to sign/,
  });
});

t.test('RbacStrategy stops escalation', async (t) => {
  const admission = new Admission();
  const rbac = (kind: string, metadata: object, more: object) =>
    object('rbac.authorization.k8s.io/v1', kind, metadata, more);
  const roleRef = (kind: string, name: string) => ({
    roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind, name },
  });
  admission.reader.put(
    ...buildBootstrapPolicy(),
    rbac(
      'RoleBinding',
      { name: 'bob', namespace: 'default' },
      { ...roleRef('ClusterRole', 'admin'), subjects: [{ kind: 'User', name: 'bob' }] },
    ),
  );
  const bob: UserInfo = { name: 'bob', groups: ['system:authenticated'] };
  const role = (rule: object) => rbac('Role', { name: 'r', namespace: 'default' }, { rules: [rule] });
  const secrets = { apiGroups: [''], resources: ['secrets'], verbs: ['get'] };
  const nodes = { apiGroups: [''], resources: ['nodes'], verbs: ['get', 'list'] };
  t.ok(await admission.run({ object: role(secrets), user: bob }), 'what he has');
  await t.rejects(admission.run({ object: role(nodes), user: bob }), {
    code: 403,
    message:
      'roles.rbac.authorization.k8s.io "r" is forbidden: user "bob" (groups=["system:authenticated"]) is attempting to grant RBAC permissions not currently held:\n{APIGroups:[""], Resources:["nodes"], Verbs:["get" "list"]}',
  });
  const bind = (role: string) =>
    rbac(
      'RoleBinding',
      { name: 'b', namespace: 'default' },
      { ...roleRef('ClusterRole', role), subjects: [{ kind: 'User', name: 'eve' }] },
    );
  t.match(await admission.run({ object: bind('view'), user: bob }), {
    subjects: [{ apiGroup: 'rbac.authorization.k8s.io' }],
  });
  await t.rejects(admission.run({ object: bind('cluster-admin'), user: bob }), {
    code: 403,
    message: /attempting to grant/,
  });
  await t.rejects(admission.run({ object: bind('nothing'), user: bob }), { code: 404 });
  t.ok(await admission.run({ object: bind('cluster-admin') }), 'system:masters may');
  await t.rejects(admission.run({ object: bind('edit'), old: bind('view') }), {
    code: 422,
    message: /cannot change roleRef/,
  });
});
