import t from 'tap';
import { applyJsonPatch, applyMergePatch } from '../../runtime/api/patch.ts';
import { applyStrategicMergePatch } from '../../runtime/api/strategic-merge.ts';

/** Examples of RFC 6902 appendix A. */
const JSON_PATCHES = [
  [{ foo: 'bar' }, [{ op: 'add', path: '/baz', value: 'qux' }], { foo: 'bar', baz: 'qux' }],
  [{ foo: ['bar', 'baz'] }, [{ op: 'add', path: '/foo/1', value: 'qux' }], { foo: ['bar', 'qux', 'baz'] }],
  [{ baz: 'qux', foo: 'bar' }, [{ op: 'remove', path: '/baz' }], { foo: 'bar' }],
  [{ foo: ['bar', 'qux', 'baz'] }, [{ op: 'remove', path: '/foo/1' }], { foo: ['bar', 'baz'] }],
  [{ baz: 'qux' }, [{ op: 'replace', path: '/baz', value: 'boo' }], { baz: 'boo' }],
  [{ foo: { a: 1 }, qux: {} }, [{ op: 'move', from: '/foo/a', path: '/qux/b' }], { foo: {}, qux: { b: 1 } }],
  [
    { foo: ['all', 'grass', 'cows', 'eat'] },
    [{ op: 'move', from: '/foo/1', path: '/foo/3' }],
    { foo: ['all', 'cows', 'eat', 'grass'] },
  ],
  [{ a: ['b'] }, [{ op: 'add', path: '/a/-', value: ['c'] }], { a: ['b', ['c']] }],
  [{ '/': 9, '~1': 10 }, [{ op: 'test', path: '/~01', value: 10 }], { '/': 9, '~1': 10 }],
  [{ a: { b: 1 } }, [{ op: 'copy', from: '/a', path: '/c' }], { a: { b: 1 }, c: { b: 1 } }],
] as const;

t.test('applyJsonPatch() applies each operation and leaves the original alone', (t) => {
  for (const [original, patch, expected] of JSON_PATCHES) {
    const before = structuredClone(original);
    t.strictSame(applyJsonPatch(original as never, patch), expected, JSON.stringify(patch));
    t.strictSame(original, before);
  }
  t.end();
});

const REFUSED_JSON_PATCHES = [
  [{ op: 'test', path: '/foo', value: 1 }],
  [{ op: 'remove', path: '/nope' }],
  [{ op: 'replace', path: '/nope', value: 1 }],
  [{ op: 'add', path: '/a/b', value: 1 }],
  [{ op: 'add', path: '/list/9', value: 1 }],
  [{ op: 'nope', path: '/foo' }],
  [{ op: 'add', path: 'foo', value: 1 }],
];

t.test('applyJsonPatch() refuses what does not apply with 422, and what is no list with 400', (t) => {
  for (const patch of REFUSED_JSON_PATCHES)
    t.throws(
      () => applyJsonPatch({ foo: 'bar', list: [] }, patch),
      { code: 422, reason: 'Invalid' },
      JSON.stringify(patch),
    );
  t.throws(() => applyJsonPatch({}, { op: 'add' }), { code: 400 });
  t.end();
});

t.test('applyMergePatch() follows the example of RFC 7386 §3', (t) => {
  const original = {
    title: 'Goodbye!',
    author: { givenName: 'John', familyName: 'Doe' },
    tags: ['example', 'sample'],
    content: 'This will be unchanged',
  };
  const patch = { title: 'Hello!', phoneNumber: '+01-123', author: { familyName: null }, tags: ['example'] };
  t.strictSame(applyMergePatch(original, patch), {
    title: 'Hello!',
    author: { givenName: 'John' },
    tags: ['example'],
    content: 'This will be unchanged',
    phoneNumber: '+01-123',
  });
  t.strictSame(applyMergePatch({ a: 'b' }, { a: { bb: { ccc: null } } }), { a: { bb: {} } });
  t.throws(() => applyMergePatch({}, []), { code: 400 });
  t.end();
});

const POD = {
  metadata: { labels: { a: '1', b: '2' }, finalizers: ['x/a', 'x/b'] },
  spec: {
    containers: [
      { name: 'one', image: 'i:1', env: [{ name: 'A', value: '1' }], args: ['x'] },
      { name: 'two', image: 'i:2' },
    ],
    volumes: [{ name: 'v', emptyDir: {} }],
    tolerations: [{ key: 'old' }],
  },
};

const STRATEGIC = [
  [
    'merges elements by key, and replaces lists without a key',
    { spec: { containers: [{ name: 'one', image: 'i:3', args: ['y'] }], tolerations: [{ key: 'new' }] } },
    {
      ...POD,
      spec: {
        ...POD.spec,
        containers: [
          { name: 'one', image: 'i:3', env: [{ name: 'A', value: '1' }], args: ['y'] },
          POD.spec.containers[1],
        ],
        tolerations: [{ key: 'new' }],
      },
    },
  ],
  [
    'adds and deletes elements',
    {
      spec: {
        containers: [
          { name: 'three', image: 'i' },
          { name: 'two', $patch: 'delete' },
        ],
      },
    },
    { ...POD, spec: { ...POD.spec, containers: [POD.spec.containers[0], { name: 'three', image: 'i' }] } },
  ],
  [
    'replaces a list',
    { spec: { containers: [{ $patch: 'replace' }, { name: 'only', image: 'i' }] } },
    { ...POD, spec: { ...POD.spec, containers: [{ name: 'only', image: 'i' }] } },
  ],
  [
    'replaces an object, and removes members that are null',
    { metadata: { labels: { $patch: 'replace', c: '3' } }, spec: { volumes: null } },
    {
      metadata: { ...POD.metadata, labels: { c: '3' } },
      spec: { containers: POD.spec.containers, tolerations: POD.spec.tolerations },
    },
  ],
  [
    'keeps only the retained keys',
    { spec: { volumes: [{ name: 'v', $retainKeys: ['name', 'secret'], secret: { secretName: 's' } }] } },
    { ...POD, spec: { ...POD.spec, volumes: [{ name: 'v', secret: { secretName: 's' } }] } },
  ],
  [
    'merges and deletes values of a list of texts',
    { metadata: { '$deleteFromPrimitiveList/finalizers': ['x/a'], finalizers: ['x/b', 'x/c'] } },
    { ...POD, metadata: { ...POD.metadata, finalizers: ['x/b', 'x/c'] } },
  ],
  [
    'orders elements',
    {
      spec: {
        '$setElementOrder/containers': [{ name: 'two' }, { name: 'one' }],
        containers: [{ name: 'one', image: 'i:9' }],
      },
    },
    {
      ...POD,
      spec: {
        ...POD.spec,
        containers: [POD.spec.containers[1], { ...POD.spec.containers[0], image: 'i:9' }],
      },
    },
  ],
  [
    'merges maps of texts',
    { metadata: { labels: { a: null, c: '3' } } },
    { ...POD, metadata: { ...POD.metadata, labels: { b: '2', c: '3' } } },
  ],
] as const;

t.test('applyStrategicMergePatch()', (t) => {
  for (const [title, patch, expected] of STRATEGIC) {
    const before = structuredClone(POD);
    t.strictSame(applyStrategicMergePatch(POD, patch as never, 'core.v1.Pod'), expected, title);
    t.strictSame(POD, before, `${title}: the original stays`);
  }
  t.end();
});

t.test('applyStrategicMergePatch() refuses elements without their merge key and unknown directives', (t) => {
  t.throws(() => applyStrategicMergePatch(POD, { spec: { containers: [{ image: 'i' }] } }, 'core.v1.Pod'), {
    code: 400,
    message: /does not contain declared merge key: name/,
  });
  t.throws(() => applyStrategicMergePatch(POD, { spec: { $patch: 'explode' } }, 'core.v1.Pod'), {
    code: 400,
  });
  t.end();
});
