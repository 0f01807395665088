import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { SILENT_LOGGER } from '../../../../runtime/base/log.ts';
import { EmbeddedStore } from '../../../../runtime/controlplane/store/embedded.ts';
import { formatLogRecord, parseLog } from '../../../../runtime/controlplane/store/log-record.ts';
import { testStoreContract } from './store-contract.ts';

const SOURCE = join(import.meta.dirname, '../../../../runtime/controlplane/store/embedded.ts');
const LOGGER = join(import.meta.dirname, '../../../../runtime/base/log.ts');

t.test('contract', (t) => {
  testStoreContract(t, (t) => EmbeddedStore.open({ directory: t.testdir(), logger: SILENT_LOGGER }));
  t.end();
});

t.test('everything is there after closing and opening, also across folded logs', async (t) => {
  const directory = t.testdir();
  const first = await EmbeddedStore.open({ directory, logger: SILENT_LOGGER, maxLogBytes: 4096 });
  const revisions = new Map<string, number>();
  for (let round = 0; round < 5; round += 1) {
    for (let i = 0; i < 40; i += 1) {
      const key = `/registry/k${i}`;
      const result = await first.put(
        key,
        Buffer.from(`${round}-${'x'.repeat(100)}`),
        revisions.get(key) ?? 0,
      );
      revisions.set(key, result.isCommitted ? result.revision : -1);
    }
  }
  await first.delete('/registry/k7', revisions.get('/registry/k7')!);
  const { revision } = first.stats();
  await first.close();
  const second = await EmbeddedStore.open({ directory, logger: SILENT_LOGGER });
  t.teardown(() => second.close());
  t.equal(second.stats().revision, revision);
  const { values } = await second.range('/registry/');
  t.equal(values.length, 39);
  t.ok(
    values.every(
      (value) => value.value.toString().startsWith('4-') && value.modRevision === revisions.get(value.key),
    ),
  );
});

t.test('a directory is opened once only', async (t) => {
  const directory = t.testdir();
  const store = await EmbeddedStore.open({ directory, logger: SILENT_LOGGER });
  t.teardown(() => store.close());
  await t.rejects(EmbeddedStore.open({ directory, logger: SILENT_LOGGER }), { code: 'STORE_LOCKED' });
});

t.test('a torn write at the end of the log is cut off, a hole is refused', async (t) => {
  const directory = t.testdir();
  const store = await EmbeddedStore.open({ directory, logger: SILENT_LOGGER });
  await store.put('/registry/a', Buffer.from('1'), 0);
  const [log] = (await readdir(directory)).filter((name) => name.startsWith('log-'));
  await appendFile(
    join(directory, log!),
    formatLogRecord({ key: '/registry/b', revision: 3, createRevision: 3, value: Buffer.from('2') }).subarray(
      0,
      20,
    ),
  );
  await store.close();
  const again = await EmbeddedStore.open({ directory, logger: SILENT_LOGGER });
  t.equal((await again.get('/registry/a'))?.value.toString(), '1');
  t.equal(await again.get('/registry/b'), undefined);
  await again.close();
  const stray = formatLogRecord({
    key: '/registry/c',
    revision: 90,
    createRevision: 90,
    value: Buffer.from('3'),
  });
  await writeFile(join(directory, 'log-9999999999999999-x'), stray);
  await t.rejects(EmbeddedStore.open({ directory, logger: SILENT_LOGGER }), { code: 'STORE_CORRUPT' });
});

t.test('a full store refuses values but not deletions', async (t) => {
  const store = await EmbeddedStore.open({
    directory: t.testdir(),
    logger: SILENT_LOGGER,
    maxSizeBytes: 200_000,
  });
  t.teardown(() => store.close());
  const value = Buffer.alloc(10_000);
  let written = 0;
  await t.rejects(
    (async () => {
      for (; written < 100; written += 1) await store.put(`/registry/k${written}`, value, 0);
    })(),
    { code: 'STORE_FULL' },
  );
  t.ok(written > 5);
  const one = await store.get('/registry/k0');
  t.ok((await store.delete('/registry/k0', one!.modRevision)).isCommitted);
});

t.test('parseLog() stops at a damaged record', (t) => {
  const one = formatLogRecord({
    key: '/registry/a',
    revision: 2,
    createRevision: 2,
    value: Buffer.from('é'),
  });
  const two = formatLogRecord({ key: '/registry/b', revision: 3, createRevision: 1, value: undefined });
  const damaged = Buffer.from(two);
  damaged[damaged.length - 1]! ^= 1;
  t.equal(parseLog(Buffer.concat([one, two])).records.length, 2);
  t.same(parseLog(Buffer.concat([one, damaged])), {
    records: parseLog(one).records,
    readableBytes: one.length,
  });
  t.end();
});

t.test('kill -9 loses nothing that was acknowledged', async (t) => {
  const directory = t.testdir();
  for (let round = 0; round < 3; round += 1) {
    const acknowledged = await writeUntilKilled(directory, round);
    t.ok(acknowledged.length > 20, `${acknowledged.length} writes were acknowledged`);
    const store = await EmbeddedStore.open({ directory, logger: SILENT_LOGGER });
    const lost = [];
    for (const [key, revision] of acknowledged) {
      if ((await store.get(key))?.modRevision !== revision) lost.push(key);
    }
    t.same(lost, []);
    await store.close();
  }
});

/** Runs a process that writes with 16 writers and tells what was acknowledged, and kills it meanwhile. */
async function writeUntilKilled(
  directory: string,
  round: number,
): Promise<readonly (readonly [string, number])[]> {
  const script = `
    import { EmbeddedStore } from ${JSON.stringify(SOURCE)};
    import { SILENT_LOGGER } from ${JSON.stringify(LOGGER)};
    import { writeSync } from 'node:fs';
    const store = await EmbeddedStore.open({ directory: ${JSON.stringify(directory)}, logger: SILENT_LOGGER, maxLogBytes: 50000 });
    for (let w = 0; w < 16; w += 1) (async () => {
      for (let i = 0; ; i += 1) {
        const key = '/registry/r${round}w' + w + 'i' + i;
        const result = await store.put(key, Buffer.alloc(500, 97), 0);
        writeSync(1, key + ' ' + result.revision + '\\n');
      }
    })();`;
  const child = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.on('data', (chunk) => {
    text += chunk;
    if (text.length > 20_000 * (round + 1)) child.kill('SIGKILL');
  });
  await once(child, 'close');
  const lines = text.split('\n').slice(0, -1);
  return lines.map((line) => [line.split(' ')[0]!, Number(line.split(' ')[1])] as const);
}
