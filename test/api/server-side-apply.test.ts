import t from 'tap';
import { getObject, getObjects } from '../../runtime/api/schema/access.ts';
import type { JsonObject } from '../../runtime/api/schema/types.ts';
import { applyServerSide } from '../../runtime/api/server-side-apply.ts';

const NOW = new Date('2026-01-01T00:00:00Z');
const options = (fieldManager: string, force = false) => ({
  fieldManager,
  force,
  typeName: 'apps.v1.Deployment',
  now: NOW,
});

function deployment(spec: JsonObject, labels?: JsonObject): JsonObject {
  return {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd', ...(labels && { labels }) },
    spec,
  };
}

function container(name: string, image: string, more: JsonObject = {}): JsonObject {
  return { template: { spec: { containers: [{ name, image, ...more }] } } };
}

t.test('applyServerSide() creates an object and writes down whose fields they are', (t) => {
  const created = applyServerSide(
    undefined,
    deployment(container('c', 'i:1', { ports: [{ containerPort: 80 }] }), { a: '1' }),
    options('me'),
  );
  t.strictSame(getObjects(created['metadata'], 'managedFields'), [
    {
      manager: 'me',
      operation: 'Apply',
      apiVersion: 'apps/v1',
      time: '2026-01-01T00:00:00Z',
      fieldsType: 'FieldsV1',
      fieldsV1: {
        'f:metadata': { 'f:labels': { 'f:a': {} } },
        'f:spec': {
          'f:template': {
            'f:spec': {
              'f:containers': {
                'k:{"name":"c"}': {
                  '.': {},
                  'f:name': {},
                  'f:image': {},
                  'f:ports': {
                    'k:{"containerPort":80,"protocol":"TCP"}': { '.': {}, 'f:containerPort': {} },
                  },
                },
              },
            },
          },
        },
      },
    },
  ]);
  t.end();
});

t.test('applyServerSide() removes what its manager leaves out, and keeps what others apply', (t) => {
  const one = applyServerSide(
    undefined,
    deployment({ replicas: 2, ...container('a', 'i') }, { x: '1', y: '1' }),
    options('me'),
  );
  const two = applyServerSide(one, deployment(container('b', 'j'), { y: '1' }), options('you'));
  const three = applyServerSide(two, deployment({ paused: true }), options('me'));
  t.match(three, { metadata: { labels: { y: '1' } }, spec: { paused: true } });
  t.notHas(three['spec'], { replicas: 2 });
  t.notHas(three['metadata'], { labels: { x: '1' } });
  t.match(three, { spec: { template: { spec: { containers: [{ name: 'b', image: 'j' }] } } } });
  const template = getObject(getObject(three, 'spec'), 'template');
  t.equal(getObjects(template?.['spec'], 'containers').length, 1);
  t.end();
});

t.test('applyServerSide() refuses fields of others unless forced', (t) => {
  const live = deployment({ replicas: 2 });
  const created = {
    manager: 'kubectl-create',
    operation: 'Update',
    apiVersion: 'apps/v1',
    time: '2026-01-01T00:00:00Z',
    fieldsType: 'FieldsV1',
    fieldsV1: { 'f:spec': { 'f:replicas': {} } },
  };
  live['metadata'] = { name: 'd', managedFields: [created] };
  t.throws(() => applyServerSide(live, deployment({ replicas: 3 }), options('me')), {
    code: 409,
    reason: 'Conflict',
    message:
      'Apply failed with 1 conflict: conflict with "kubectl-create" using apps/v1 at 2026-01-01T00:00:00Z: .spec.replicas',
    causes: [{ reason: 'FieldManagerConflict', field: '.spec.replicas' }],
  });
  const same = applyServerSide(live, deployment({ replicas: 2 }), options('me'));
  t.equal(getObjects(same['metadata'], 'managedFields').length, 2, 'the same value is shared');
  const forced = applyServerSide(live, deployment({ replicas: 3 }), options('me', true));
  t.match(forced, { spec: { replicas: 3 } });
  t.strictSame(
    getObjects(forced['metadata'], 'managedFields').map((entry) => entry['manager']),
    ['me'],
  );
  t.end();
});

t.test('applyServerSide() merges custom resources without a schema', (t) => {
  const widget = (spec: JsonObject): JsonObject => ({
    apiVersion: 'x.io/v1',
    kind: 'W',
    metadata: { name: 'w' },
    spec,
  });
  const free = { fieldManager: 'me', typeName: undefined, now: NOW };
  const live = applyServerSide(undefined, widget({ a: { b: 1 }, list: [1, 2] }), free);
  const next = applyServerSide(live, widget({ a: { c: 2 }, list: [3] }), free);
  t.strictSame(next['spec'], { a: { c: 2 }, list: [3] });
  t.end();
});
