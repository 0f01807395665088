import t from 'tap';
import { matchFields, parseFieldSelector } from '../../runtime/api/field-selectors.ts';
import {
  formatLabelSelector,
  matchesLabelSelector,
  matchesRequirements,
  parseLabelSelector,
} from '../../runtime/api/label-selectors.ts';

const LABELS = { app: 'web', tier: 'front', 'example.com/size': '5' };
const MATCHES = [
  ['', true],
  ['app=web', true],
  ['app==web,tier!=back', true],
  ['app=api', false],
  ['missing!=x', true],
  ['tier in (front, back)', true],
  ['tier notin (front)', false],
  ['app', true],
  ['!app', false],
  ['!missing,example.com/size', true],
  ['example.com/size>4', true],
  ['example.com/size<5', false],
  ['app in (a,b),tier=front', false],
  ['app=', false],
] as const;

t.test('parseLabelSelector() and matchesRequirements()', (t) => {
  for (const [text, expected] of MATCHES)
    t.equal(matchesRequirements(parseLabelSelector(text), LABELS), expected, text);
  for (const bad of ['a b', '=x', 'a=b=c', 'a in b', ',', 'a=$'])
    t.throws(() => parseLabelSelector(bad), { code: 400 }, bad);
  t.end();
});

t.test('matchesLabelSelector() and formatLabelSelector() agree with the text form', (t) => {
  const selector = {
    matchLabels: { app: 'web' },
    matchExpressions: [
      { key: 'tier', operator: 'In', values: ['front', 'back'] },
      { key: 'old', operator: 'DoesNotExist' },
    ],
  };
  t.ok(matchesLabelSelector(selector, LABELS));
  t.equal(formatLabelSelector(selector), 'app=web,!old,tier in (back,front)');
  t.ok(matchesLabelSelector({}, undefined));
  t.throws(() => formatLabelSelector({ matchExpressions: [{ key: 'a', operator: 'Nope' }] }), {
    code: 400,
  });
  t.end();
});

t.test('parseFieldSelector() and matchFields()', (t) => {
  const pod = {
    metadata: { name: 'a', namespace: 'n' },
    spec: { nodeName: 'w1' },
    status: { phase: 'Running' },
  };
  const row = { group: '', kind: 'Pod' };
  for (const [text, expected] of [
    ['metadata.name=a', true],
    ['spec.nodeName=w1,status.phase!=Failed', true],
    ['spec.nodeName=', false],
    ['status.podIP=', true],
    ['metadata.namespace==other', false],
  ] as const)
    t.equal(matchFields(parseFieldSelector(text, row), pod), expected, text);
  t.throws(() => parseFieldSelector('spec.foo=a', row), {
    code: 400,
    message: 'field label not supported: spec.foo',
  });
  t.same(parseFieldSelector('spec.color=red', { group: 'x.io', kind: 'W' }, ['.spec.color']), [
    { path: 'spec.color', operator: '=', value: 'red' },
  ]);
  t.ok(
    matchFields(parseFieldSelector('spec.unschedulable=false', { group: '', kind: 'Node' }), { spec: {} }),
  );
  t.end();
});
