import t from 'tap';
import { applyDefaults } from '../../runtime/api/defaults.ts';
import type { JsonObject } from '../../runtime/api/schema/types.ts';

const TEMPLATE = { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'nginx' }] } };

const CASES: readonly (readonly [string, string, JsonObject, JsonObject])[] = [
  [
    'v1',
    'Pod',
    {
      spec: {
        hostNetwork: true,
        serviceAccountName: 'sa',
        containers: [
          {
            name: 'c',
            image: 'nginx:1.2',
            ports: [{ containerPort: 80 }],
            livenessProbe: { httpGet: { port: 80 } },
            resources: { limits: { cpu: '1' }, requests: { memory: '1Mi' } },
            env: [{ name: 'A', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } }],
          },
        ],
        volumes: [{ name: 'v' }, { name: 's', secret: { secretName: 'x' } }],
      },
    },
    {
      spec: {
        restartPolicy: 'Always',
        dnsPolicy: 'ClusterFirst',
        schedulerName: 'default-scheduler',
        terminationGracePeriodSeconds: 30,
        enableServiceLinks: true,
        serviceAccount: 'sa',
        securityContext: {},
        containers: [
          {
            imagePullPolicy: 'IfNotPresent',
            terminationMessagePath: '/dev/termination-log',
            terminationMessagePolicy: 'File',
            ports: [{ containerPort: 80, hostPort: 80, protocol: 'TCP' }],
            livenessProbe: {
              httpGet: { path: '/', scheme: 'HTTP' },
              timeoutSeconds: 1,
              periodSeconds: 10,
              successThreshold: 1,
              failureThreshold: 3,
            },
            resources: { requests: { cpu: '1', memory: '1Mi' } },
            env: [{ valueFrom: { fieldRef: { apiVersion: 'v1' } } }],
          },
        ],
        volumes: [{ emptyDir: {} }, { secret: { defaultMode: 420 } }],
      },
    },
  ],
  [
    'apps/v1',
    'Deployment',
    { spec: { template: TEMPLATE } },
    {
      spec: {
        replicas: 1,
        revisionHistoryLimit: 10,
        progressDeadlineSeconds: 600,
        strategy: { type: 'RollingUpdate', rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } },
        template: { spec: { restartPolicy: 'Always', containers: [{ imagePullPolicy: 'Always' }] } },
      },
    },
  ],
  [
    'apps/v1',
    'DaemonSet',
    { spec: { template: TEMPLATE } },
    { spec: { updateStrategy: { rollingUpdate: { maxUnavailable: 1, maxSurge: 0 } } } },
  ],
  [
    'apps/v1',
    'StatefulSet',
    { spec: { template: TEMPLATE } },
    { spec: { podManagementPolicy: 'OrderedReady', updateStrategy: { rollingUpdate: { partition: 0 } } } },
  ],
  [
    'batch/v1',
    'Job',
    { spec: { template: TEMPLATE } },
    {
      metadata: { labels: { a: 'b' } },
      spec: { completions: 1, parallelism: 1, backoffLimit: 6, suspend: false },
    },
  ],
  [
    'batch/v1',
    'CronJob',
    { spec: {} },
    { spec: { concurrencyPolicy: 'Allow', successfulJobsHistoryLimit: 3, failedJobsHistoryLimit: 1 } },
  ],
  [
    'v1',
    'Service',
    { spec: { type: 'NodePort', ports: [{ port: 80 }] } },
    {
      spec: {
        sessionAffinity: 'None',
        internalTrafficPolicy: 'Cluster',
        externalTrafficPolicy: 'Cluster',
        ports: [{ port: 80, targetPort: 80, protocol: 'TCP' }],
      },
      status: { loadBalancer: {} },
    },
  ],
  [
    'v1',
    'Secret',
    { stringData: { a: 'x' }, data: { b: 'eQ==' } },
    { type: 'Opaque', data: { a: 'eA==', b: 'eQ==' } },
  ],
  [
    'v1',
    'Namespace',
    { metadata: { name: 'n' } },
    { metadata: { labels: { 'kubernetes.io/metadata.name': 'n' } }, status: { phase: 'Active' } },
  ],
  [
    'rbac.authorization.k8s.io/v1',
    'RoleBinding',
    {
      roleRef: { kind: 'Role', name: 'r' },
      subjects: [
        { kind: 'User', name: 'u' },
        { kind: 'ServiceAccount', name: 's' },
      ],
    },
    {
      roleRef: { apiGroup: 'rbac.authorization.k8s.io' },
      subjects: [{ apiGroup: 'rbac.authorization.k8s.io' }, { name: 's' }],
    },
  ],
  [
    'networking.k8s.io/v1',
    'NetworkPolicy',
    { spec: { egress: [] } },
    { spec: { policyTypes: ['Ingress', 'Egress'] } },
  ],
  [
    'apiextensions.k8s.io/v1',
    'CustomResourceDefinition',
    { spec: { names: { kind: 'Widget' } } },
    { spec: { names: { singular: 'widget', listKind: 'WidgetList' }, conversion: { strategy: 'None' } } },
  ],
];

t.test('applyDefaults() sets what is left out, once', (t) => {
  for (const [apiVersion, kind, object, expected] of CASES) {
    const copy = structuredClone(object);
    applyDefaults(apiVersion, kind, copy);
    t.match(copy, expected, kind);
    const once = structuredClone(copy);
    applyDefaults(apiVersion, kind, copy);
    t.strictSame(copy, once, `${kind}: idempotent`);
  }
  t.end();
});

t.test('applyDefaults() leaves pod templates without what only pods get', (t) => {
  const object: JsonObject = { spec: { template: structuredClone(TEMPLATE) } };
  applyDefaults('apps/v1', 'ReplicaSet', object);
  t.notMatch(object, { spec: { template: { spec: { enableServiceLinks: true } } } });
  t.end();
});

const PULL_POLICIES = [
  ['nginx', 'Always'],
  ['nginx:latest', 'Always'],
  ['host:5000/nginx', 'Always'],
  ['host:5000/nginx:1', 'IfNotPresent'],
  ['nginx@sha256:abc', 'IfNotPresent'],
] as const;

t.test('applyDefaults() takes the pull policy from the tag', (t) => {
  for (const [image, imagePullPolicy] of PULL_POLICIES) {
    const pod: JsonObject = { spec: { containers: [{ name: 'c', image }] } };
    applyDefaults('v1', 'Pod', pod);
    t.match(pod, { spec: { containers: [{ imagePullPolicy }] } }, image);
  }
  t.end();
});
