import t from 'tap';
import { decodeJson, decodeYaml, formatFieldWarnings } from '../../runtime/api/decode.ts';
import { RequestError } from '../../runtime/api/request-error.ts';

const DEPLOYMENT = `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"a","creationTimestamp":null},
 "spec":{"replicas":1,"replicas":2,"foo":1,"template":{"spec":{"containers":[{"name":"c","image":"i","bar":true}]}}}}`;

t.test('decodeJson() reports unknown and duplicate fields with their paths and drops them', (t) => {
  const decoded = decodeJson(DEPLOYMENT, 'apps/v1', 'Deployment', { reportDuplicates: true });
  t.strictSame(formatFieldWarnings(decoded), [
    'unknown field "spec.foo"',
    'unknown field "spec.template.spec.containers[0].bar"',
    'duplicate field "spec.replicas"',
  ]);
  t.strictSame(decoded.object, {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'a' },
    spec: { replicas: 2, template: { spec: { containers: [{ name: 'c', image: 'i' }] } } },
  });
  t.end();
});

t.test('decodeJson() fills apiVersion and kind, and normalizes quantities and times', (t) => {
  const body = `{"metadata":{"name":"p","creationTimestamp":"2026-01-01T01:00:00+01:00"},
    "spec":{"containers":[{"name":"c","resources":{"limits":{"cpu":"0.5","memory":1024,"a/b":2}}}]}}`;
  const { object } = decodeJson(Buffer.from(body), 'v1', 'Pod');
  t.match(object, {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: { containers: [{ resources: { limits: { cpu: '500m', memory: '1024', 'a/b': '2' } } }] },
  });
  t.end();
});

const REFUSED = [
  [
    '{"spec":{"replicas":"x"}}',
    /cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32/,
  ],
  [
    '{"spec":{"replicas":1.5}}',
    /cannot unmarshal number 1.5 into Go struct field DeploymentSpec.spec.replicas/,
  ],
  [
    '{"spec":{"template":{"spec":{"containers":{}}}}}',
    /cannot unmarshal object into .*spec.template.spec.containers of type \[\]v1.Container/,
  ],
  [
    '{"metadata":{"labels":{"a":1}}}',
    /cannot unmarshal number into Go struct field ObjectMeta.metadata.labels of type string/,
  ],
  ['{"metadata":{"creationTimestamp":"x"}}', /parsing time "x" as "2006-01-02T15:04:05Z07:00"/],
  ['{"kind":"Pod","apiVersion":"v1"}', /Pod in version "v1" cannot be handled as a Deployment/],
  ['{"apiVersion":"apps/v1beta1"}', /API version in the data \(apps\/v1beta1\) does not match/],
  ['[]', /the object provided is unrecognized/],
  ['{', /couldn't get version\/kind; json parse error/],
] as const;

t.test('decodeJson() refuses bodies of the wrong shape with 400', (t) => {
  for (const [body, message] of REFUSED)
    t.throws(
      () => decodeJson(body, 'apps/v1', 'Deployment'),
      { name: 'RequestError', code: 400, message },
      body,
    );
  t.end();
});

t.test('decodeJson() checks the schemas of a CustomResourceDefinition, booleans included', (t) => {
  const schema = {
    type: 'object',
    properties: { a: { additionalProperties: true, items: { type: 'string' } } },
    nope: 1,
  };
  const body = JSON.stringify({ spec: { versions: [{ name: 'v1', schema: { openAPIV3Schema: schema } }] } });
  const decoded = decodeJson(body, 'apiextensions.k8s.io/v1', 'CustomResourceDefinition');
  t.strictSame(decoded.unknownFields, ['spec.versions[0].schema.openAPIV3Schema.nope']);
  t.end();
});

t.test('decodeJson() leaves custom kinds as they are', (t) => {
  const { object, unknownFields } = decodeJson('{"x":{"y":null}}', 'example.com/v1', 'Widget');
  t.strictSame(object, { x: { y: null }, apiVersion: 'example.com/v1', kind: 'Widget' });
  t.strictSame(unknownFields, []);
  t.end();
});

t.test('decodeYaml() reads YAML and refuses keys given twice when asked', (t) => {
  const { object } = decodeYaml(
    'kind: ConfigMap\napiVersion: v1\ndata: {a: "1", d: "2026-01-01"}\n',
    'v1',
    'ConfigMap',
  );
  t.match(object, { data: { a: '1', d: '2026-01-01' } });
  const twice = 'data: {a: "1"}\ndata: {b: "1"}\n';
  t.throws(() => decodeYaml(twice, 'v1', 'ConfigMap', { reportDuplicates: true }), { code: 400 });
  t.throws(() => decodeYaml('a: [', 'v1', 'ConfigMap'), RequestError);
  t.end();
});
