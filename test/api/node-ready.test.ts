import t from 'tap';
import { isNodeReady } from '../../runtime/api/node-ready.ts';

const now = '2026-01-01T00:00:00Z';

for (const [what, conditions, expected] of [
  ['Ready', [['Ready', 'True']], true],
  ['not Ready', [['Ready', 'False']], false],
  ['lost', [['Ready', 'Unknown']], false],
  ['under pressure alone', [['MemoryPressure', 'True']], false],
  [
    'Ready beside others',
    [
      ['MemoryPressure', 'False'],
      ['Ready', 'True'],
    ],
    true,
  ],
  ['without conditions', undefined, false],
] as const) {
  t.test(`isNodeReady() of a node that is ${what}`, async (t) => {
    const rows = conditions?.map(([type, status]) => ({ type, status, lastTransitionTime: now }));
    t.equal(isNodeReady({ status: rows === undefined ? {} : { conditions: rows } }), expected);
  });
}

t.test('isNodeReady() of no node', async (t) => {
  t.equal(isNodeReady(undefined), false);
  t.equal(isNodeReady({}), false);
});
