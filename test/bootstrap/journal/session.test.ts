import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { readDone } from '../../../bootstrap/journal/read.ts';
import { openSession } from '../../../bootstrap/journal/session.ts';
import { readEntries, readReplaced } from '../../../bootstrap/journal/store.ts';
import type { Action } from '../../../bootstrap/workflow/action.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';

const host = createLocalHost();
let machines = 0;

/** A place for a journal, and commands that change files beside it. */
function createMachine(t: Test) {
  const root = t.testdir({});
  const directory = join(root, 'journal');
  machines += 1;
  const lockName = `tkadm-test-session-${process.pid}-${machines}`;
  const open = (command: string) =>
    openSession({
      host,
      initSystem: 'none',
      command,
      pid: 1,
      now: () => new Date(0),
      extent: 'run',
      directory,
      lockName,
    });
  const write = (name: string, content: string): Action => {
    return { kind: 'write-file', path: join(root, name), mode: 0o600, content };
  };
  const perform = (action: Action) => async () => {
    if (action.kind === 'write-file')
      await host.writeFile(action.path, action.content, { mode: action.mode });
  };
  return { root, directory, open, write, perform };
}

t.test(
  'a session takes the snapshot once, records actions, and keeps only what was there before',
  async (t) => {
    const { root, directory, open, write, perform } = createMachine(t);
    writeFileSync(join(root, 'a.conf'), 'of the user');
    const first = await open('init');
    await t.rejects(open('join'), { code: 'MACHINE_BUSY' });
    t.notOk(existsSync(directory), 'nothing is written before the first change');
    for (const content of ['key 1', 'key 2']) {
      const action = write('a.conf', content);
      await first.record(action, 'certs', perform(action));
    }
    await first.end('done');
    const { snapshot, changes } = await readDone(directory);
    t.ok(snapshot?.sections.files);
    t.equal(changes.length, 2);
    const [digest = '', ...others] = readdirSync(join(directory, 'replaced'));
    t.same(others, [], 'old keys of tkadm are not kept');
    t.equal(String(await readReplaced(directory, digest)), 'of the user');
    t.notMatch(readFileSync(join(directory, 'entries.jsonl'), 'utf8'), /key 1|of the user/, 'no contents');

    const second = await open('init');
    const action = write('b.conf', 'x');
    await second.record(action, 'certs', perform(action));
    await second.end('done');
    t.same((await readDone(directory)).snapshot, snapshot, 'the machine before the first change');
  },
);

t.test('a session that was cut off is gone on with by the next one of its command', async (t) => {
  const { root, directory, open, write, perform } = createMachine(t);
  const cut = await open('init');
  const key = write('ca.key', 'key');
  await cut.record(key, 'certs/ca', perform(key));
  await cut.end('interrupted');
  writeFileSync(join(root, 'ca.key.0123456789ab.tmp'), 'half a key');
  writeFileSync(join(root, 'users.key'), 'no key of tkadm');

  const side = await open('preflight');
  await side.end('done');
  const next = await open('init');
  t.match(next.unfinished, { command: 'init', isInterrupted: true, phase: 'certs/ca' });
  const removed = (await next.planHalfDone()).map((action) => 'path' in action && action.path);
  t.same(removed.sort(), [join(root, 'ca.key'), join(root, 'ca.key.0123456789ab.tmp')].sort());
  await next.end('done');
  const last = await open('init');
  t.equal(last.unfinished, undefined, 'that was its end');
  await last.end('done');
  const { entries } = await readEntries(directory);
  t.same(entries.filter(({ type }) => type === 'run-started').length, 2);
});

t.test('a session refuses a damaged journal before it changes anything, and frees the machine', async (t) => {
  const { directory, open } = createMachine(t);
  mkdirSync(directory);
  writeFileSync(join(directory, 'entries.jsonl'), '{"type":"run-started","run":1}\n');
  for (let round = 0; round < 2; round += 1) await t.rejects(open('init'), { code: 'JOURNAL_DAMAGED' });
});

t.test('of a pair that was written in part the next run writes the rest', async (t) => {
  const { root, directory, open } = createMachine(t);
  const places = ['a.key', 'a.crt'].map((name) => join(root, name)) as [string, string];
  const texts = ['new key', 'new certificate'];
  for (const path of places) writeFileSync(path, 'old', { mode: 0o600 });
  const files = places.map(
    (path, i) => ({ kind: 'write-file', path, mode: 0o600, content: texts[i]! }) as const,
  );
  const torn = `${places[1]}.0123456789ab.tmp`;
  const killed = await open('certs renew');
  await t.rejects(
    killed.record({ kind: 'write-files', files }, 'certs renew', async () => {
      writeFileSync(torn, texts[1]!, { mode: 0o600 });
      throw new Error('nothing was written yet');
    }),
  );
  t.same(await killed.planHalfDone(), [], 'a pair that is whole stays');
  await killed.end('interrupted');
  writeFileSync(places[0], texts[0]!);
  const next = await open('certs renew');
  const [action, ...others] = await next.planHalfDone();
  t.match(action, { kind: 'run', argv: ['mv', '-f', '--', torn, places[1]] });
  t.same(others, [], 'what waits for its place is not removed');
  await next.end('done');
  t.equal((await readDone(directory)).changes.length, 2);
});

t.test(
  'a key that waits for a CA elsewhere stays, also when its request is not in its place yet',
  async (t) => {
    const { root, open } = createMachine(t);
    const [key, csr] = [join(root, 'a.key'), join(root, 'a.csr')];
    const files = [key, csr].map(
      (path) => ({ kind: 'write-file', path, mode: 0o600, content: path }) as const,
    );
    const killed = await open('certs generate-csr');
    await t.rejects(
      killed.record({ kind: 'write-files', files }, 'certs generate-csr', async () => {
        writeFileSync(key, key, { mode: 0o600 });
        writeFileSync(`${csr}.0123456789ab.tmp`, csr, { mode: 0o600 });
        throw new Error('killed');
      }),
    );
    await killed.end('interrupted');
    const next = await open('init');
    const actions = await next.planHalfDone();
    t.match(actions, [{ kind: 'run', argv: ['mv', '-f', '--', `${csr}.0123456789ab.tmp`, csr] }]);
    t.equal(actions.length, 1);
    await next.end('failed');
    renameSync(`${csr}.0123456789ab.tmp`, csr);
    const last = await open('init');
    t.same(await last.planHalfDone(), []);
    await last.end('done');
  },
);
