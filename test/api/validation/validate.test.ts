import t from 'tap';
import { applyDefaults } from '../../../runtime/api/defaults.ts';
import { parseApiVersion } from '../../../runtime/api/resources.ts';
import type { JsonObject } from '../../../runtime/api/schema/types.ts';
import { formatFieldError } from '../../../runtime/api/validation/field-error.ts';
import { formatInvalid, validateObject } from '../../../runtime/api/validation/validate.ts';

const META = { name: 'x', namespace: 'default' };
const CONTAINER = { name: 'c', image: 'nginx:1' };
const TEMPLATE = { metadata: { labels: { a: 'b' } }, spec: { containers: [CONTAINER] } };

function findings(apiVersion: string, kind: string, object: JsonObject, old?: JsonObject): string[] {
  const complete: JsonObject = { apiVersion, kind, ...structuredClone(object) };
  applyDefaults(apiVersion, kind, complete);
  const before = old && { apiVersion, kind, ...structuredClone(old) };
  if (before) applyDefaults(apiVersion, kind, before);
  return validateObject(apiVersion, kind, complete, before).map(formatFieldError);
}

const pod = (spec: JsonObject): JsonObject => ({ metadata: META, spec });

const VALID: readonly (readonly [string, string, JsonObject])[] = [
  ['v1', 'Pod', pod({ containers: [CONTAINER] })],
  ['v1', 'ConfigMap', { metadata: META, data: { 'a.b_c-d': '' } }],
  ['v1', 'Service', { metadata: META, spec: { ports: [{ port: 80 }] } }],
  [
    'apps/v1',
    'Deployment',
    { metadata: META, spec: { selector: { matchLabels: { a: 'b' } }, template: TEMPLATE } },
  ],
  ['rbac.authorization.k8s.io/v1', 'ClusterRole', { metadata: { name: 'system:node' }, rules: [] }],
  ['v1', 'Namespace', { metadata: { name: 'n' } }],
  ['scheduling.k8s.io/v1', 'PriorityClass', { metadata: { name: 'p' }, value: 10 }],
  ['authorization.k8s.io/v1', 'SelfSubjectAccessReview', { spec: {} }],
  ['example.com/v1', 'Widget', { metadata: META, anything: true }],
];

t.test('validateObject() accepts what is right', (t) => {
  for (const [apiVersion, kind, object] of VALID) t.strictSame(findings(apiVersion, kind, object), [], kind);
  t.end();
});

const INVALID: readonly (readonly [string, string, JsonObject, RegExp])[] = [
  ['v1', 'Pod', pod({ containers: [] }), /^spec.containers: Required value$/],
  ['v1', 'Pod', pod({ containers: [{ name: 'c' }] }), /^spec.containers\[0\].image: Required value$/],
  [
    'v1',
    'Pod',
    pod({ containers: [CONTAINER, CONTAINER] }),
    /^spec.containers\[1\].name: Duplicate value: "c"$/,
  ],
  [
    'v1',
    'Pod',
    pod({ containers: [{ ...CONTAINER, volumeMounts: [{ name: 'v', mountPath: '/v' }] }] }),
    /^spec.containers\[0\].volumeMounts\[0\].name: Not found: "v"$/,
  ],
  [
    'v1',
    'Pod',
    pod({ containers: [{ ...CONTAINER, resources: { requests: { cpu: '2' }, limits: { cpu: '1' } } }] }),
    /^spec.containers\[0\].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1$/,
  ],
  [
    'v1',
    'Pod',
    pod({ containers: [CONTAINER], restartPolicy: 'Sometimes' }),
    /^spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "Never", "OnFailure"$/,
  ],
  [
    'v1',
    'Pod',
    { metadata: { ...META, name: 'Up' }, spec: { containers: [CONTAINER] } },
    /^metadata.name: Invalid value: "Up": a lowercase RFC 1123 subdomain must consist/,
  ],
  [
    'v1',
    'Pod',
    { metadata: { ...META, labels: { 'a b': 'c' } }, spec: { containers: [CONTAINER] } },
    /^metadata.labels: Invalid value: "a b": name part must consist/,
  ],
  [
    'v1',
    'Service',
    { metadata: { ...META, name: '1a' }, spec: { ports: [{ port: 80 }] } },
    /^metadata.name: Invalid value: "1a": a DNS-1035 label/,
  ],
  [
    'v1',
    'Service',
    { metadata: META, spec: { ports: [{ port: 80 }, { port: 81 }] } },
    /^spec.ports\[0\].name: Required value$/,
  ],
  ['v1', 'Service', { metadata: META, spec: {} }, /^spec.ports: Required value$/],
  [
    'v1',
    'ConfigMap',
    { metadata: META, data: { 'a/b': 'c' } },
    /^data\[a\/b\]: Invalid value: "a\/b": a valid config key/,
  ],
  [
    'v1',
    'ConfigMap',
    { metadata: META, data: { a: 'x'.repeat(1024 * 1024 + 1) } },
    /Too long: may not be more than 1048576 bytes/,
  ],
  [
    'v1',
    'Secret',
    { metadata: META, type: 'kubernetes.io/tls', data: {} },
    /^data\[tls.crt\]: Required value$/,
  ],
  [
    'apps/v1',
    'Deployment',
    { metadata: META, spec: { template: TEMPLATE } },
    /^spec.selector: Required value$/,
  ],
  [
    'apps/v1',
    'Deployment',
    { metadata: META, spec: { selector: { matchLabels: { a: 'c' } }, template: TEMPLATE } },
    /^spec.template.metadata.labels: Invalid value: {"a":"b"}: `selector` does not match template `labels`$/,
  ],
  [
    'batch/v1',
    'Job',
    { metadata: META, spec: { template: TEMPLATE } },
    /^spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"$/,
  ],
  [
    'batch/v1',
    'CronJob',
    { metadata: META, spec: { schedule: '* *', jobTemplate: {} } },
    /^spec.schedule: Invalid value/,
  ],
  [
    'policy/v1',
    'PodDisruptionBudget',
    { metadata: META, spec: { minAvailable: 1, maxUnavailable: 1 } },
    /minAvailable and maxUnavailable cannot be both set/,
  ],
  [
    'rbac.authorization.k8s.io/v1',
    'ClusterRole',
    { metadata: { name: 'r' }, rules: [{ verbs: ['get'] }] },
    /^rules\[0\].apiGroups: Required value: resource rules must supply at least one api group$/,
  ],
  [
    'scheduling.k8s.io/v1',
    'PriorityClass',
    { metadata: { name: 'p' }, value: 1_000_000_001 },
    /^value: Forbidden/,
  ],
];

t.test('validateObject() names what is wrong', (t) => {
  for (const [apiVersion, kind, object, expected] of INVALID)
    t.match(findings(apiVersion, kind, object), [expected], `${kind} ${expected.source}`);
  t.end();
});

const POD = pod({ containers: [CONTAINER] });
const DEPLOYMENT = { metadata: META, spec: { selector: { matchLabels: { a: 'b' } }, template: TEMPLATE } };
const BINDING = { metadata: META, roleRef: { kind: 'Role', name: 'a' } };

const UPDATES: readonly (readonly [string, string, JsonObject, JsonObject, RegExp | undefined])[] = [
  ['v1', 'Pod', POD, pod({ containers: [{ ...CONTAINER, image: 'nginx:2' }] }), undefined],
  [
    'v1',
    'Pod',
    POD,
    pod({ containers: [CONTAINER], tolerations: [{ key: 'k', operator: 'Exists' }] }),
    undefined,
  ],
  [
    'v1',
    'Pod',
    POD,
    pod({ containers: [{ ...CONTAINER, args: ['x'] }] }),
    /^spec: Forbidden: pod updates may not change fields other than/,
  ],
  [
    'v1',
    'Pod',
    POD,
    pod({ containers: [CONTAINER, { ...CONTAINER, name: 'd' }] }),
    /^spec.containers: Forbidden: pod updates may not add or remove containers$/,
  ],
  [
    'apps/v1',
    'Deployment',
    DEPLOYMENT,
    { ...DEPLOYMENT, spec: { ...DEPLOYMENT.spec, replicas: 5 } },
    undefined,
  ],
  [
    'apps/v1',
    'Deployment',
    DEPLOYMENT,
    {
      metadata: META,
      spec: {
        selector: { matchLabels: { c: 'd' } },
        template: { ...TEMPLATE, metadata: { labels: { c: 'd' } } },
      },
    },
    /^spec.selector: Invalid value: .*: field is immutable$/,
  ],
  [
    'v1',
    'ConfigMap',
    { metadata: META, immutable: true, data: { a: '1' } },
    { metadata: META, immutable: true, data: { a: '2' } },
    /^data: Forbidden: field is immutable when `immutable` is set$/,
  ],
  [
    'v1',
    'Secret',
    { metadata: META, type: 'a' },
    { metadata: META, type: 'b' },
    /^type: Invalid value: "b": field is immutable$/,
  ],
  [
    'v1',
    'Service',
    { metadata: META, spec: { clusterIP: '10.0.0.1', ports: [{ port: 1 }] } },
    { metadata: META, spec: { clusterIP: '10.0.0.2', ports: [{ port: 1 }] } },
    /^spec.clusterIPs\[0\]: Invalid value: "10.0.0.2": field is immutable$/,
  ],
  [
    'rbac.authorization.k8s.io/v1',
    'RoleBinding',
    BINDING,
    { ...BINDING, roleRef: { kind: 'Role', name: 'b' } },
    /^roleRef: Invalid value: .*: cannot change roleRef$/,
  ],
];

t.test('validateObject() holds what may not change', (t) => {
  for (const [apiVersion, kind, old, object, expected] of UPDATES) {
    const found = findings(apiVersion, kind, object, old);
    if (expected) t.match(found, [expected], `${kind} ${expected.source}`);
    else t.strictSame(found, [], `${kind} may change`);
  }
  t.end();
});

t.test('formatInvalid() words the Status as the API does', (t) => {
  const errors = validateObject('apps/v1', 'Deployment', { metadata: META, spec: { template: {} } });
  const status = formatInvalid(
    { ...parseApiVersion('apps/v1'), kind: 'Deployment' },
    'x',
    errors.slice(0, 1),
  );
  t.strictSame(status, {
    message: 'Deployment.apps "x" is invalid: spec.selector: Required value',
    details: {
      name: 'x',
      group: 'apps',
      kind: 'Deployment',
      causes: [{ reason: 'FieldValueRequired', message: 'Required value', field: 'spec.selector' }],
    },
  });
  t.end();
});
