import type { Test } from 'tap';
import { isTkadmError } from '../../../../runtime/base/errors.ts';
import type { Store, StoreEvent } from '../../../../runtime/controlplane/store/types.ts';

/** What every backend of the API server must do; `open` gives an empty store. */
export function testStoreContract(t: Test, open: (t: Test) => Promise<Store>): void {
  const cases: Readonly<Record<string, (t: Test, store: Store) => Promise<void>>> = {
    'put() creates only what is absent': async (t, store) => {
      const first = await store.put('/registry/a', Buffer.from('1'), 0);
      t.ok(first.isCommitted);
      const second = await store.put('/registry/a', Buffer.from('2'), 0);
      t.notOk(second.isCommitted);
      t.equal(second.isCommitted ? '' : second.current?.value.toString(), '1');
    },
    'put() replaces at the expected revision only': async (t, store) => {
      const created = await revisionOf(store.put('/registry/a', Buffer.from('1'), 0));
      const updated = await revisionOf(store.put('/registry/a', Buffer.from('2'), created));
      t.ok(updated > created);
      t.notOk((await store.put('/registry/a', Buffer.from('3'), created)).isCommitted);
      const stored = await store.get('/registry/a');
      t.same(
        { text: stored?.value.toString(), create: stored?.createRevision, mod: stored?.modRevision },
        { text: '2', create: created, mod: updated },
      );
    },
    'of writes at once with one expectation exactly one is committed': async (t, store) => {
      const created = await revisionOf(store.put('/registry/a', Buffer.from('0'), 0));
      const results = await Promise.all(
        Array.from({ length: 20 }, (_, i) => store.put('/registry/a', Buffer.from(String(i)), created)),
      );
      t.equal(results.filter((result) => result.isCommitted).length, 1);
    },
    'delete() removes; the key can be created again': async (t, store) => {
      const created = await revisionOf(store.put('/registry/a', Buffer.from('1'), 0));
      t.notOk((await store.delete('/registry/a', created + 1000)).isCommitted);
      t.ok((await store.delete('/registry/a', created)).isCommitted);
      t.equal(await store.get('/registry/a'), undefined);
      t.notOk((await store.delete('/registry/a', 0)).isCommitted);
      const again = await revisionOf(store.put('/registry/a', Buffer.from('2'), 0));
      t.equal((await store.get('/registry/a'))?.createRevision, again);
    },
    'range() pages in order of keys at one revision': async (t, store) => {
      for (const name of ['c', 'a', 'b', 'd']) await store.put(`/registry/x/${name}`, Buffer.from(name), 0);
      await store.put('/registry/y/z', Buffer.from('z'), 0);
      const first = await store.range('/registry/x/', { limit: 2 });
      t.same(
        first.values.map((value) => value.key),
        ['/registry/x/a', '/registry/x/b'],
      );
      t.ok(first.hasMore);
      const b = await store.get('/registry/x/c');
      await store.delete('/registry/x/c', b!.modRevision);
      await store.put('/registry/x/bb', Buffer.from('bb'), 0);
      const rest = await store.range('/registry/x/', { after: '/registry/x/b', revision: first.revision });
      t.same(
        rest.values.map((value) => value.value.toString()),
        ['c', 'd'],
      );
      t.notOk(rest.hasMore);
      const newest = await store.range('/registry/x/');
      t.same(
        newest.values.map((value) => value.value.toString()),
        ['a', 'b', 'bb', 'd'],
      );
    },
    'range() refuses revisions that are not there': async (t, store) => {
      await store.put('/registry/a', Buffer.from('1'), 0);
      const { revision } = store.stats();
      await t.rejects(store.range('/registry/', { revision: revision + 5 }), {
        code: 'STORE_FUTURE_REVISION',
      });
      await store.put('/registry/a2', Buffer.from('1'), 0);
      await store.compact(revision + 1);
      await t.rejects(store.range('/registry/', { revision }), { code: 'STORE_COMPACTED' });
    },
    'watch() tells every change behind a revision, in order': async (t, store) => {
      const created = await revisionOf(store.put('/registry/x/a', Buffer.from('1'), 0));
      const updated = await revisionOf(store.put('/registry/x/a', Buffer.from('2'), created));
      const events: StoreEvent[] = [];
      const stop = store.watch('/registry/x/', created, (batch) => events.push(...batch));
      await store.put('/registry/y/b', Buffer.from('other'), 0);
      const deleted = await revisionOf(store.delete('/registry/x/a', updated));
      t.same(
        events.map((event) => [event.type, event.revision, event.previous?.value.toString()]),
        [
          ['PUT', updated, '1'],
          ['DELETE', deleted, '2'],
        ],
      );
      stop();
      await store.put('/registry/x/a', Buffer.from('3'), 0);
      t.equal(events.length, 2, 'nothing after the watch was ended');
    },
    'watch() refuses a revision whose changes are forgotten': async (t, store) => {
      const first = await revisionOf(store.put('/registry/a', Buffer.from('1'), 0));
      await store.put('/registry/b', Buffer.from('1'), 0);
      await store.compact(first + 1);
      try {
        store.watch('/registry/', first - 1, () => {});
        t.fail('the watch was accepted');
      } catch (error) {
        t.ok(isTkadmError(error, 'STORE_COMPACTED'));
      }
    },
    'a write is told to watches before it is acknowledged': async (t, store) => {
      let seen = 0;
      store.watch('/registry/', store.stats().revision, (events) => {
        seen = events.at(-1)!.revision;
      });
      for (let i = 0; i < 20; i += 1) {
        const revision = await revisionOf(store.put(`/registry/k${i}`, Buffer.from('v'), 0));
        t.ok(seen >= revision);
      }
    },
  };
  for (const [title, check] of Object.entries(cases)) {
    t.test(title, async (t) => {
      const store = await open(t);
      t.teardown(() => store.close());
      await check(t, store);
    });
  }
}

async function revisionOf(write: ReturnType<Store['put']>): Promise<number> {
  const result = await write;
  if (!result.isCommitted) throw new Error('the write was refused');
  return result.revision;
}
