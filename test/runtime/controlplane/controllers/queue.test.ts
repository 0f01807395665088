import t from 'tap';
import { WorkQueue } from '../../../../runtime/controlplane/controllers/queue.ts';

t.test('WorkQueue gives a key once, however often it was added', async (t) => {
  const queue = new WorkQueue();
  for (const key of ['a', 'b', 'a']) queue.add(key);
  const given: string[] = [];
  for await (const key of queue) {
    given.push(key);
    queue.done(key);
    if (queue.size === 0) queue.close();
  }
  t.same(given, ['a', 'b']);
});

t.test('WorkQueue gives a key again when it was added during the work, and not before its end', async (t) => {
  const queue = new WorkQueue();
  queue.add('a');
  const iterator = queue[Symbol.asyncIterator]();
  t.equal((await iterator.next()).value, 'a');
  queue.add('a');
  t.equal(queue.size, 1);
  const second = iterator.next();
  let isGiven = false;
  void second.then(() => {
    isGiven = true;
  });
  await new Promise((resolve) => setImmediate(resolve));
  t.notOk(isGiven);
  queue.done('a');
  t.equal((await second).value, 'a');
  queue.close();
});

t.test('WorkQueue backs off longer with each failure and forgets on success', async (t) => {
  const queue = new WorkQueue();
  queue.addBackedOff('a');
  t.equal(queue.size, 0, 'waits first');
  queue.addBackedOff('a');
  t.equal(queue.failures('a'), 2);
  for await (const key of queue) {
    queue.forget(key);
    queue.done(key);
    queue.close();
  }
  t.equal(queue.failures('a'), 0);
});
