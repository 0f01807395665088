import t from 'tap';
import { isCovered, mergeOntoLive } from '../../../bootstrap/workflow/objects.ts';
import { previewAction } from '../../../bootstrap/workflow/preview.ts';
import type { KubeObject } from '../../../runtime/api/kinds.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { renderYaml } from '../../../templates/yaml.ts';

const HOST = createLocalHost();
const KEY = '-----BEGIN PRIVATE KEY-----\nTOPSECRET\n-----END PRIVATE KEY-----\n';

const object = (value: unknown) => value as KubeObject;

t.test('previewAction() shows a file as a diff against what is there', async (t) => {
  const directory = t.testdir({ old: 'a\nb\n' });
  const path = `${directory}/old`;
  const action = { kind: 'write-file', path, mode: 0o600, content: 'a\nc\n' } as const;
  t.equal(
    (await previewAction(action, HOST))?.replace(/mode 0\d\d\d/, 'mode X'),
    `--- ${path} (mode X)\n+++ ${path} (mode 0600)\n@@ -1,2 +1,2 @@\n a\n-b\n+c\n`,
  );
  t.equal(
    await previewAction({ ...action, path: `${directory}/new` }, HOST),
    `--- /dev/null\n+++ ${directory}/new (mode 0600)\n@@ -0,0 +1,2 @@\n+a\n+c\n`,
  );
});

t.test('previewAction() shows no secret', async (t) => {
  const kubeconfig = renderYaml({
    clusters: [{ name: 'c', cluster: { server: 'https://a' } }],
    users: [{ name: 'u', user: { 'client-key-data': 'TOPSECRET', token: 'TOPSECRET' } }],
  });
  const directory = t.testdir({ key: KEY.replace('TOP', 'OLD') });
  const file = (path: string, content: string, secret = true) =>
    ({ kind: 'write-file', path: `${directory}/${path}`, mode: 0o600, content, secret }) as const;
  const secretObject = object({
    apiVersion: 'v1',
    kind: 'Secret',
    metadata: { name: 's' },
    data: { a: 'TOPSECRET' },
    stringData: { b: 'TOPSECRET' },
  });
  const actions = [
    file('new-key', KEY),
    file('key', KEY),
    file('unmarked', KEY, false),
    file('kubeconfig', kubeconfig),
    file('opaque', 'TOPSECRET'),
    { kind: 'apply-object', object: secretObject, existing: 'replace' },
    {
      kind: 'apply-object',
      object: secretObject,
      existing: 'replace',
      live: object({ ...secretObject, data: { a: 'OLDSECRET' } }),
    },
  ] as const;
  for (const action of actions) {
    const text = (await previewAction(action, HOST)) ?? '';
    t.match(text, /\(secret\)/);
    t.notMatch(text, /(TOP|OLD)SECRET/);
  }
  t.match(await previewAction(file('kubeconfig', kubeconfig), HOST), /server: https:\/\/a/);
});

t.test(
  'previewAction() shows a new object as YAML and one that is there as what differs of it',
  async (t) => {
    const wanted = object({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c', namespace: 'n' },
      data: { text: 'a\nb\n' },
    });
    const action = { kind: 'apply-object', object: wanted, existing: 'replace' } as const;
    t.equal(await previewAction(action, HOST), renderYaml(wanted));
    const live = object({
      apiVersion: 'v1',
      kind: 'ConfigMap',
      metadata: { name: 'c', namespace: 'n', uid: '1', resourceVersion: '5' },
      data: { text: 'a\nold\n', mine: 'x' },
    });
    const text = (await previewAction({ ...action, live }, HOST)) ?? '';
    t.match(text, /^--- ConfigMap n\/c \(live\)\n\+\+\+ ConfigMap n\/c\n/);
    t.match(text, /- {4}old\n\+ {4}b\n/);
    t.notMatch(text, /uid|mine/, 'what others have written is no difference');
  },
);

t.test('isCovered() asks for the wanted fields alone, lists as a whole', (t) => {
  const cases: readonly [unknown, unknown, boolean][] = [
    [{ a: 1, b: 2 }, { a: 1 }, true],
    [{ a: 1 }, { a: 2 }, false],
    [undefined, { a: 1 }, false],
    [{ a: { b: 1, c: 2 } }, { a: { b: 1 } }, true],
    [{ a: [{ b: 1, d: 3 }] }, { a: [{ b: 1 }] }, true],
    [{ a: [1, 2] }, { a: [1] }, false],
    [{ a: [] }, { a: [1] }, false],
    [{}, { a: undefined }, true],
    [{ a: 1 }, { a: '1' }, false],
  ];
  for (const [live, wanted, expected] of cases) {
    t.equal(isCovered(live, wanted), expected, JSON.stringify([live, wanted]));
  }
  t.end();
});

t.test('mergeOntoLive() keeps what others have added', (t) => {
  const live = object({
    kind: 'ConfigMap',
    metadata: {
      name: 'c',
      resourceVersion: '5',
      labels: { theirs: 'x', ours: 'old' },
      managedFields: [{ manager: 'm' }],
    },
    data: { theirs: 'x', ours: 'old' },
  });
  const wanted = object({
    kind: 'ConfigMap',
    metadata: { name: 'c', labels: { ours: 'new' }, ownerReferences: [{ uid: '1' }] },
    data: { ours: 'new' },
  });
  t.same(mergeOntoLive(live, wanted), {
    kind: 'ConfigMap',
    metadata: {
      name: 'c',
      resourceVersion: '5',
      labels: { theirs: 'x', ours: 'new' },
      ownerReferences: [{ uid: '1' }],
    },
    data: { theirs: 'x', ours: 'new' },
  });
  t.end();
});
