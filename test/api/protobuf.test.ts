import t from 'tap';
import { decodeProtobuf } from '../../runtime/api/protobuf.ts';

/** A message from its fields: text, a nested message, or a number. */
type Fields = readonly (readonly [number, string | number | Buffer])[];

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = BigInt.asUintN(64, BigInt(value));
  do {
    bytes.push(Number(rest & 0x7fn) | (rest > 0x7fn ? 0x80 : 0));
    rest >>= 7n;
  } while (rest > 0n);
  return Buffer.from(bytes);
}

function message(...fields: Fields): Buffer {
  return Buffer.concat(
    fields.flatMap(([number, value]) => {
      if (typeof value === 'number') return [varint(number * 8), varint(value)];
      const content = Buffer.from(value);
      return [varint(number * 8 + 2), varint(content.length), content];
    }),
  );
}

function body(apiVersion: string, kind: string, raw: Buffer): Buffer {
  return Buffer.concat([Buffer.from('k8s\0'), message([1, message([1, apiVersion], [2, kind])], [2, raw])]);
}

/** ObjectMeta as clients send it, with the empty fields that Go writes; creationTimestamp is field 8. */
const META = message(
  [1, 'x'],
  [2, ''],
  [3, 'ns'],
  [4, ''],
  [5, ''],
  [6, ''],
  [7, 0],
  [8, message()],
  [11, message([1, 'k'], [2, 'v'])],
);

const CASES = [
  ['v1', 'Namespace', message([1, META], [2, message()], [3, message([1, ''])]), { spec: {}, status: {} }],
  [
    'v1',
    'ConfigMap',
    message([1, META], [2, message([1, 'a'], [2, 'b'])], [3, message([1, 'bin'], [2, Buffer.from([255])])]),
    { data: { a: 'b' }, binaryData: { bin: '/w==' } },
  ],
  [
    'v1',
    'Secret',
    message([1, META], [2, message([1, 'k'], [2, 'v'])], [3, 'Opaque']),
    { data: { k: 'dg==' }, type: 'Opaque' },
  ],
  [
    'v1',
    'Pod',
    message(
      [1, META],
      [
        2,
        message(
          [1, message([1, 'vol'], [2, message([2, message([1, ''])])])],
          [
            2,
            message(
              [1, 'c'],
              [2, 'nginx'],
              [5, ''],
              [6, message([1, ''], [2, 0], [3, 80], [4, 'TCP'])],
              [8, message([1, message([1, 'cpu'], [2, message([1, '0.5'])])])],
              [
                10,
                message(
                  [1, message([2, message([1, '/'], [2, message([1, 1], [2, 0], [3, 'http'])])])],
                  [2, 0],
                ),
              ],
              [16, 0],
            ),
          ],
          [4, 0],
        ),
      ],
    ),
    {
      spec: {
        volumes: [{ name: 'vol', emptyDir: {} }],
        containers: [
          {
            name: 'c',
            image: 'nginx',
            ports: [{ containerPort: 80, protocol: 'TCP' }],
            resources: { limits: { cpu: '500m' } },
            livenessProbe: { httpGet: { path: '/', port: 'http' } },
          },
        ],
        terminationGracePeriodSeconds: 0,
      },
    },
  ],
  [
    'apps/v1',
    'Deployment',
    message([1, META], [2, message([1, 0], [5, 0], [7, 0])]),
    { spec: { replicas: 0 } },
  ],
  [
    'authorization.k8s.io/v1',
    'SubjectAccessReview',
    message([
      2,
      message(
        [1, message([2, 'get'], [5, 'pods'])],
        [3, 'u'],
        [4, 'g1'],
        [4, 'g2'],
        [5, message([1, 'e'], [2, message([1, 'v1'], [1, 'v2'])])],
      ),
    ]),
    {
      spec: {
        resourceAttributes: { verb: 'get', resource: 'pods' },
        user: 'u',
        groups: ['g1', 'g2'],
        extra: { e: ['v1', 'v2'] },
      },
    },
  ],
  [
    'coordination.k8s.io/v1',
    'Lease',
    message(
      [1, META],
      [2, message([1, 'me'], [2, 15], [4, message([1, 1_767_225_600], [2, 5_000])], [5, 0])],
    ),
    {
      spec: {
        holderIdentity: 'me',
        leaseDurationSeconds: 15,
        renewTime: '2026-01-01T00:00:00.000005Z',
        leaseTransitions: 0,
      },
    },
  ],
] as const;

t.test('decodeProtobuf() gives the JSON shape', (t) => {
  for (const [apiVersion, kind, raw, expected] of CASES) {
    const { object } = decodeProtobuf(body(apiVersion, kind, raw));
    const { metadata, ...rest } = object;
    t.strictSame(rest, { kind, apiVersion, ...expected }, kind);
    if (metadata)
      t.strictSame(metadata, { name: 'x', namespace: 'ns', labels: { k: 'v' } }, `${kind}: metadata`);
  }
  t.end();
});

t.test('decodeProtobuf() reads schemas of custom resources', (t) => {
  const schema = message(
    [5, 'object'],
    [
      29,
      message(
        [1, 'a'],
        [2, message([5, 'array'], [24, message([1, message([5, 'string'])])], [30, message([1, 1])])],
      ),
    ],
  );
  const version = message([1, 'v1'], [2, 1], [3, 1], [4, message([1, schema])]);
  const raw = message([1, message([1, 'ws.x.io'])], [2, message([1, 'x.io'], [7, version])]);
  const { object } = decodeProtobuf(body('apiextensions.k8s.io/v1', 'CustomResourceDefinition', raw));
  t.match(object, {
    spec: {
      versions: [
        {
          served: true,
          schema: {
            openAPIV3Schema: {
              type: 'object',
              properties: { a: { type: 'array', items: { type: 'string' }, additionalProperties: true } },
            },
          },
        },
      ],
    },
  });
  t.end();
});

t.test('decodeProtobuf() refuses what it cannot read by name', (t) => {
  t.throws(() => decodeProtobuf(Buffer.from('{"kind":"Pod"}')), { code: 400 });
  t.throws(() => decodeProtobuf(body('v1', 'Pod', Buffer.from([0x0a, 0x05, 0x01]))), {
    code: 400,
    message: /EOF/,
  });
  t.throws(() => decodeProtobuf(body('example.com/v1', 'Widget', message())), {
    code: 415,
    message: /Widget/,
  });
  t.throws(() => decodeProtobuf(body('resource.k8s.io/v1', 'ResourceClaim', message())), {
    code: 415,
    message: /resource.v1.ResourceClaim/,
  });
  t.end();
});
