import {
  chmodSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Change, observeAfter, observeChanges, parseSwaps } from '../../../bootstrap/journal/change.ts';
import { restoreFile } from '../../../bootstrap/journal/restore.ts';
import type { Snapshot } from '../../../bootstrap/journal/snapshot.ts';
import { JournalWriter } from '../../../bootstrap/journal/store.ts';
import { goBack, listChanges, listSpared, planUndo } from '../../../bootstrap/journal/undo.ts';
import type { Action } from '../../../bootstrap/workflow/action.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';

const host = createLocalHost();
const skip = process.getuid?.() === 0 ? false : 'owners are given back by root alone';

/** A journal of its own in a directory of its own. */
async function open(t: Test) {
  const root = t.testdir({});
  const journal = await JournalWriter.open(join(root, 'journal'));
  t.teardown(() => journal.close());
  const context = { host, keep: (content: Buffer) => journal.keep(content), serviceFiles: () => [] };
  const changes: Change[] = [];
  return {
    root,
    changes,
    /** Performs actions as the journal sees them. */
    async perform(action: Action, work: () => void) {
      const found = await observeChanges(action, context);
      work();
      const after = await observeAfter(found, { host }, undefined);
      changes.push(...found.map((change, i) => ({ ...change, ...after?.[i] }) as Change));
    },
    write(path: string, content: string, mode = 0o600) {
      const action: Action = { kind: 'write-file', path, mode, content };
      return this.perform(action, () => {
        mkdirSync(join(path, '..'), { recursive: true });
        rmSync(path, { force: true });
        writeFileSync(path, content, { mode });
      });
    },
    async undo() {
      const { actions, kept } = await planUndo(host, { changes, snapshot: undefined });
      for (const action of actions) {
        if (action.kind === 'restore-file') await restoreFile(join(root, 'journal'), action);
        else if (action.kind === 'remove') rmSync(action.path, { recursive: true });
        else if (action.kind === 'run') await host.run(action.argv);
      }
      return { actions, kept };
    },
  };
}

t.test('planUndo() gives files back as they were, and removes what was made', { skip }, async (t) => {
  const machine = await open(t);
  const [old, link, made] = ['old.conf', 'link.conf', 'a/b/made.conf'].map((name) =>
    join(machine.root, name),
  ) as [string, string, string];
  writeFileSync(old, 'secret of the user');
  chmodSync(old, 0o640);
  symlinkSync('old.conf', link);
  for (const path of [old, link, made]) await machine.write(path, 'first');
  for (const path of [old, link, made]) await machine.write(path, 'second');
  const { kept } = await machine.undo();
  t.same(kept, []);
  t.equal(readFileSync(old, 'utf8'), 'secret of the user');
  t.equal(statSync(old).mode & 0o777, 0o640);
  t.equal(readFileSync(link, 'utf8'), 'secret of the user', 'a link again');
  t.notOk(existsSync(join(machine.root, 'a')), 'directories too');
  t.same(await machine.undo(), { actions: [], kept: [] }, 'a second time there is nothing to do');
  for (const entry of [join(machine.root, 'journal'), join(machine.root, 'journal/replaced')])
    t.equal(statSync(entry).mode & 0o077, 0, 'nobody else reads what was replaced');
});

t.test('planUndo() keeps what somebody has changed since', { skip }, async (t) => {
  const machine = await open(t);
  const [replaced, removed, shared] = ['replaced', 'removed', 'shared'].map((name) =>
    join(machine.root, name),
  ) as [string, string, string];
  for (const path of [replaced, removed]) writeFileSync(path, 'before');
  for (const path of [replaced, removed]) await machine.write(path, 'ours');
  const alters = [{ kind: 'file', path: shared } as const];
  await machine.perform({ kind: 'run', argv: [], summary: '', alters }, () =>
    writeFileSync(shared, 'ours\n'),
  );
  writeFileSync(replaced, 'theirs');
  rmSync(removed);
  writeFileSync(shared, 'ours\ntheirs\n');
  const { actions, kept } = await machine.undo();
  t.same(actions, []);
  t.same(kept.map(({ name }) => name).sort(), [removed, replaced, shared]);
});

t.test('planUndo() puts a half-done action back too', { skip }, async (t) => {
  const machine = await open(t);
  const path = join(machine.root, 'x.conf');
  writeFileSync(path, 'before');
  await machine.write(path, 'ours');
  await machine.perform({ kind: 'write-file', path, mode: 0o600, content: 'never written' }, () => {
    writeFileSync(`${path}.0123456789ab.tmp`, 'never wri');
  });
  const { kept } = await machine.undo();
  t.same(kept, []);
  t.equal(readFileSync(path, 'utf8'), 'before');
  t.notOk(existsSync(`${path}.0123456789ab.tmp`));
});

t.test('goBack() goes through each change, and stops at what is not of them', async (t) => {
  const same = (a: string, b: string) => a === b;
  const chain = [
    { before: 'a', after: 'b' },
    { before: 'b', after: 'c' },
  ];
  const rows: readonly [string, readonly { before: string; after?: string }[], string | undefined][] = [
    ['c', chain, 'a'],
    ['b', chain, 'a'],
    ['x', chain, undefined],
    ['x', [{ before: 'a' }], 'a'],
    [
      'c',
      [
        { before: 'a', after: 'b' },
        { before: 'user', after: 'c' },
      ],
      undefined,
    ],
    ['a', chain, 'a'],
    ['x', [], 'x'],
  ];
  for (const [now, changes, expected] of rows)
    t.equal(goBack(now, changes, same), expected, `${now} ${JSON.stringify(changes)}`);
});

t.test('listChanges() adds what became known at the end of an action', async (t) => {
  const change: Change = { kind: 'file', path: '/x', before: 'absent' };
  const started = { type: 'started', run: 1, id: 3, phase: 'p', summary: 's', changes: [change] } as const;
  t.same(listChanges([started]), [change]);
  const done = { type: 'done', run: 1, id: 3, after: { 0: { after: 'file' } } } as const;
  t.same(listChanges([started, done]), [{ ...change, after: 'file' }]);
});

t.test('parseSwaps() reads /proc/swaps', async (t) => {
  const text =
    'Filename\tType\tSize\tUsed\tPriority\n/dev/sda2   partition\t99\t0\t-2\n/swap\\040x file 9 0 5\n';
  t.same(parseSwaps(text), { '/dev/sda2': -2, '/swap\\040x': 5 });
  t.same(parseSwaps(''), {});
});

t.test('listSpared() spares what was there before, not what a node has written itself', (t) => {
  const file = (path: string): Change => ({ kind: 'file', path, before: 'file 600 0:0 abc' });
  const changes = [
    file('/var/lib/tkadm/services/tkadm-runtime'),
    file('/var/lib/kubelet/pki/kubelet.key'),
    file('/etc/kubernetes/pki/ca.crt'),
    file('/srv/pki/ca.crt'),
  ];
  const snapshot = {
    time: '2026-01-02T03:04:05.000Z',
    sections: { files: { '/etc/kubernetes/pki/ca.crt': 'file 644 0:0 abc' } },
  } satisfies Snapshot;
  t.same(listSpared({ changes, snapshot }), ['/etc/kubernetes/pki/ca.crt', '/srv/pki/ca.crt']);
  t.same(
    listSpared({ changes, snapshot: undefined }),
    changes.slice(1).map((change) => 'path' in change && change.path),
    "without a snapshot whatever was replaced is somebody else's",
  );
  t.end();
});

t.test('planUndo() unloads the modules that were not there before', async (t) => {
  const modules = `veth 40960 0 - Live 0x0
bridge 311296 1 br_netfilter, Live 0x0
overlay 151552 0 - Live 0x0
ext4 950272 1 - Live 0x0
`;
  const kernel = { ...host, readFile: async () => modules };
  const plan = async (before: Readonly<Record<string, string>> | undefined) => {
    const sections = before === undefined ? {} : { 'kernel modules': before };
    const { actions } = await planUndo(kernel, { changes: [], snapshot: { time: '', sections } });
    return actions.flatMap((action) => (action.kind === 'run' ? [action.argv.slice(4)] : []));
  };
  t.same(await plan({ overlay: 'unused' }), [['veth', 'bridge']], 'what is in use may be let go any moment');
  t.same(await plan({ overlay: 'unused', bridge: 'in use', veth: 'unused' }), []);
  t.same(await plan(undefined), [], 'nobody has looked before');
});
