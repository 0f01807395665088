import t from 'tap';
import { buildV1Writes, buildV2Writes } from '../../runtime/container/cgroup/cgroup-limits.ts';

t.test('no limit of the memory lifts that of memory and swap, unless it is said', async (t) => {
  const files = (writes: ReturnType<typeof buildV1Writes>) =>
    Object.fromEntries(writes.map(({ file, value }) => [file, value]));
  const lifted = { memory: { limit: -1 } };
  t.same(files(buildV1Writes(lifted)), {
    'memory.limit_in_bytes': '-1',
    'memory.memsw.limit_in_bytes': '-1',
  });
  t.same(files(buildV2Writes(lifted)), { 'memory.max': 'max', 'memory.swap.max': 'max' });
  const kept = { memory: { limit: 4096 } };
  t.same(files(buildV1Writes(kept)), { 'memory.limit_in_bytes': '4096' });
  t.same(files(buildV2Writes(kept)), { 'memory.max': '4096' });
});
