import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { MANIFESTS, manifestPath } from '../../templates/manifests/manifests.ts';
import type { Action } from '../workflow/action.ts';

/**
 * What an upgrade keeps until it has ended: with it a failure is rolled back, and the same command goes on after an
 * interruption. It is removed in the end, so that there is never more than one.
 */
const DIRECTORY = `${PATHS.state}/upgrade`;
const STATE = `${DIRECTORY}/state.json`;
const CLUSTER = `${DIRECTORY}/cluster.yaml`;
const KUBELET = `${DIRECTORY}/config.yaml`;
const KUBELET_CONFIG = `${PATHS.kubelet}/config.yaml`;

/** From which bundle to which: their ids. */
export interface UpgradeJournal {
  readonly fromBundle: string;
  readonly toBundle: string;
}

/** The journal of an upgrade that has not ended; undefined when there is none. */
export async function readJournal(host: Pick<Host, 'readFile'>): Promise<UpgradeJournal | undefined> {
  const text = await host.readFile(STATE);
  return text === undefined ? undefined : (JSON.parse(text) as UpgradeJournal);
}

/** The cluster's configuration as it was when the upgrade began, for when the API server does not answer. */
export async function readJournalDocuments(host: Pick<Host, 'readFile'>): Promise<string | undefined> {
  return host.readFile(CLUSTER);
}

export interface JournalInput {
  readonly host: Host;
  readonly journal: UpgradeJournal;
  /** The cluster's stored documents. */
  readonly documents: string;
}

/** Keeps the files that the upgrade changes, unless an interrupted one has kept them. */
export async function planJournal({ host, journal, documents }: JournalInput): Promise<readonly Action[]> {
  const before = await readJournal(host);
  const write = (path: string, content: string): Action => ({
    kind: 'write-file',
    path,
    mode: 0o600,
    content,
    isCopy: true,
  });
  const state = write(
    STATE,
    `${JSON.stringify({ ...journal, fromBundle: before?.fromBundle ?? journal.fromBundle })}\n`,
  );
  if (before) return before.toBundle === journal.toBundle ? [] : [state];
  const files = [
    ...MANIFESTS.map((row) => [manifestPath(row), backupPath(row.name)] as const),
    [KUBELET_CONFIG, KUBELET] as const,
  ];
  const texts = await Promise.all(files.map(([path]) => host.readFile(path)));
  return [
    ...((await host.stat(DIRECTORY))
      ? []
      : [{ kind: 'make-directory', path: DIRECTORY, mode: 0o700 } as const]),
    write(CLUSTER, documents),
    ...files.flatMap(([, backup], i) => (texts[i] === undefined ? [] : [write(backup, texts[i])])),
    // Last: what it names is complete.
    state,
  ];
}

/** The files that differ from those kept, as they were: manifests by name, and the agent's configuration. */
export async function readBackups(host: Pick<Host, 'readFile'>) {
  const manifests = await Promise.all(
    MANIFESTS.map(async (row) => ({ row, content: await host.readFile(backupPath(row.name)) })),
  );
  return {
    manifests: manifests.flatMap(({ row, content }) => (content === undefined ? [] : [{ row, content }])),
    kubelet: { path: KUBELET_CONFIG, content: await host.readFile(KUBELET) },
  };
}

/** Forgets the upgrade. */
export async function planJournalEnd(host: Pick<Host, 'stat'>): Promise<readonly Action[]> {
  return (await host.stat(DIRECTORY)) ? [{ kind: 'remove', path: DIRECTORY }] : [];
}

function backupPath(name: string): string {
  return `${DIRECTORY}/${name}.yaml`;
}
