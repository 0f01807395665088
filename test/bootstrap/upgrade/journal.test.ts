import t from 'tap';
import {
  planJournal,
  planJournalEnd,
  readBackups,
  readJournal,
  readJournalDocuments,
} from '../../../bootstrap/upgrade/journal.ts';
import type { Action } from '../../../bootstrap/workflow/action.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { createPlannedHost } from '../../../runtime/host/planned.ts';

const MANIFEST = '/etc/kubernetes/manifests/kube-scheduler.yaml';

/** A machine that has nothing but what is written in the test. */
function emptyHost(): Host {
  const nothing = {
    name: 'host',
    run: async () => ({ exitCode: 0, stdout: '', stderr: '' }),
    readFile: async () => undefined,
    stat: async () => undefined,
    list: async () => [],
  };
  return createPlannedHost(nothing as unknown as Host);
}

async function perform(host: Host, actions: readonly Action[]): Promise<void> {
  for (const action of actions) {
    if (action.kind === 'write-file')
      await host.writeFile(action.path, action.content, { mode: action.mode });
    if (action.kind === 'make-directory') await host.mkdir(action.path, { mode: action.mode });
    if (action.kind === 'remove') await host.remove(action.path);
  }
}

const plan = (host: Host, toBundle: string, fromBundle = 'old') =>
  planJournal({ host, journal: { fromBundle, toBundle }, documents: 'kind: ClusterConfiguration\n' });

t.test('planJournal() keeps what was there before the first of several tries', async (t) => {
  const host = emptyHost();
  t.equal(await readJournal(host), undefined);
  await host.writeFile(MANIFEST, 'first\n');
  const actions = await plan(host, 'new');
  t.equal(actions.at(-1)?.kind === 'write-file' && actions.at(-1), actions.at(-1), 'a file is last');
  t.match(actions.at(-1), { path: /state\.json$/ }, 'the state comes when all else is there');
  await perform(host, actions);
  t.same(await readJournal(host), { fromBundle: 'old', toBundle: 'new' });
  await host.writeFile(MANIFEST, 'second\n');
  t.same(await plan(host, 'new', 'new'), [], 'an interrupted one goes on');
  await perform(host, await plan(host, 'newer', 'new'));
  t.same(await readJournal(host), { fromBundle: 'old', toBundle: 'newer' }, 'another package after it');
  t.match((await readBackups(host)).manifests, [{ row: { name: 'kube-scheduler' }, content: 'first\n' }]);
  t.equal(await readJournalDocuments(host), 'kind: ClusterConfiguration\n');
});

t.test('planJournalEnd() forgets everything', async (t) => {
  const host = emptyHost();
  t.same(await planJournalEnd(host), []);
  await perform(host, await plan(host, 'new'));
  await perform(host, await planJournalEnd(host));
  t.equal(await readJournal(host), undefined);
  t.same((await readBackups(host)).manifests, []);
});
