import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { buildServiceFile, type InitSystem, SERVICES } from '../../runtime/host/services.ts';
import { type Action, formatAction } from '../workflow/action.ts';
import { type Change, listPackages, observeAfter, observeChanges } from './change.ts';
import { type Entry, findUnfinished, finishesOthers, type Unfinished } from './entries.ts';
import { planHalfDone, planHalfPairs } from './half-done.ts';
import { lockMachine, type MachineLock } from './lock.ts';
import { takeSnapshot } from './snapshot.ts';
import { JournalWriter, readEntries, readSnapshot } from './store.ts';
import { listChanges } from './undo.ts';

export interface SessionOptions {
  readonly host: Host;
  readonly initSystem: InitSystem;
  /** "init", "upgrade apply" */
  readonly command: string;
  readonly pid: number;
  readonly now: () => Date;
  /**
   * "run": all of a command. "phase": one phase alone. "files": a command that writes files. What the last two write
   * elsewhere than a node has its files is their user's, and they take the machine when they change it.
   */
  readonly extent: 'run' | 'phase' | 'files';
  /** How long another command may take to end. */
  readonly waitMs?: number;
  /** Default: PATHS.journal. */
  readonly directory?: string;
  /** Of the lock; default: the machine's. */
  readonly lockName?: string;
}

/** A command that changes the machine: it has the machine for itself, and records what it does. */
export interface JournalSession {
  /** The run before, when it has not come to its end. */
  readonly unfinished: Unfinished | undefined;
  /** What must be removed of it before the machine is looked at. */
  planHalfDone(): Promise<readonly Action[]>;
  /** Performs an action between the two lines of it. */
  record(action: Action, phase: string, perform: () => Promise<void>): Promise<void>;
  end(state: 'done' | 'failed' | 'interrupted'): Promise<void>;
}

/** Kinds of actions that change the cluster and not the machine: their lines need not outlive a loss of power. */
const OF_CLUSTER: readonly Action['kind'][] = [
  'delete-object',
  'delete-node',
  'apply-object',
  'patch-object',
];
/** Places whose files are a node's, whatever command writes them. */
const NODE_PLACES = [PATHS.kubernetes, PATHS.kubelet, PATHS.state];

/**
 * Begins to change the machine. Nothing is written before the first action that changes something; before the first
 * one ever the machine is looked at from all sides, which begins here.
 * @throws MACHINE_BUSY, JOURNAL_DAMAGED
 */
export async function openSession(options: SessionOptions): Promise<JournalSession> {
  const { directory = PATHS.journal, extent } = options;
  const lock = extent === 'run' ? await lockMachine(options, options) : undefined;
  try {
    const { entries } = await readEntries(directory);
    return new Session(options, directory, entries, lock);
  } catch (error) {
    await lock?.release();
    throw error;
  }
}

class Session implements JournalSession {
  readonly unfinished: Unfinished | undefined;
  readonly #options: SessionOptions;
  readonly #directory: string;
  readonly #run: number;
  readonly #snapshot: ReturnType<typeof takeFirstSnapshot>;
  readonly #entries: readonly Entry[];
  readonly #changedPaths: Set<string>;
  #nextId: number;
  #lock: MachineLock | undefined;
  #opening: Promise<JournalWriter> | undefined;
  #hasEnded = false;

  constructor(
    options: SessionOptions,
    directory: string,
    entries: readonly Entry[],
    lock: MachineLock | undefined,
  ) {
    this.#options = options;
    this.#directory = directory;
    this.#lock = lock;
    this.unfinished = findUnfinished(entries);
    this.#run = 1 + Math.max(0, ...entries.map(({ run }) => run));
    this.#nextId = 1 + Math.max(0, ...entries.map((entry) => ('id' in entry ? entry.id : 0)));
    this.#entries = entries;
    const known = listChanges(entries).filter((change) => change.kind === 'file');
    this.#changedPaths = new Set(known.map(({ path }) => path));
    this.#snapshot = takeFirstSnapshot(options, directory);
    this.#snapshot.catch(() => {});
  }

  /** As the journal has it: "init phase" for a phase alone. */
  get #command(): string {
    const { command, extent } = this.#options;
    return extent === 'phase' ? `${command} phase` : command;
  }

  async planHalfDone(): Promise<readonly Action[]> {
    if (this.#options.command === 'reset') return [];
    const pairs = await planHalfPairs(this.#entries);
    return this.unfinished === undefined ? pairs : [...pairs, ...(await planHalfDone(this.#entries))];
  }

  async record(action: Action, phase: string, perform: () => Promise<void>): Promise<void> {
    if (!this.#isRecorded(action)) return perform();
    const journal = await this.#open();
    if (action.kind === 'end-journal') {
      this.#hasEnded = true;
      await journal.close();
      return perform();
    }
    const { host } = this.#options;
    const changes = await this.#observe(action, journal);
    for (const change of changes) if (change.kind === 'file') this.#changedPaths.add(change.path);
    const before = changes.some(({ kind }) => kind === 'packages') ? await listPackages(host) : undefined;
    const run = this.#run;
    const id = this.#nextId;
    this.#nextId += 1;
    const sync = { isSynced: !OF_CLUSTER.includes(action.kind) };
    await journal.append({ type: 'started', run, id, phase, summary: formatAction(action), changes }, sync);
    try {
      await perform();
    } catch (error) {
      await journal.append({ type: 'failed', run, id }, sync);
      throw error;
    }
    const after = await observeAfter(changes, { host }, before);
    await journal.append({ type: 'done', run, id, ...(after ? { after } : {}) }, sync);
  }

  async end(state: 'done' | 'failed' | 'interrupted'): Promise<void> {
    // A run that finds everything there has gone on with an unfinished one all the same.
    if (this.unfinished && state === 'done' && finishesOthers(this.#command)) this.#open().catch(() => {});
    try {
      // What could not be opened has said so to the action that needed it.
      const journal = this.#hasEnded ? undefined : await this.#opening?.catch(() => undefined);
      await journal?.append({ type: 'run-ended', run: this.#run, state }, { isSynced: true });
      await journal?.close();
    } finally {
      await this.#snapshot.catch(() => {});
      await this.#lock?.release();
    }
  }

  #isRecorded(action: Action): boolean {
    if (action.kind === 'wait' || this.#hasEnded) return false;
    const isRun = this.#options.extent === 'run';
    const paths =
      'path' in action ? [action.path] : 'files' in action ? action.files.map((it) => it.path) : [];
    if (paths.length === 0) return isRun || !OF_CLUSTER.includes(action.kind);
    if (paths.includes(PATHS.state)) return false;
    return isRun || paths.some((path) => NODE_PLACES.some((place) => path.startsWith(`${place}/`)));
  }

  #open(): Promise<JournalWriter> {
    this.#opening ??= this.#begin();
    return this.#opening;
  }

  async #begin(): Promise<JournalWriter> {
    const { now } = this.#options;
    this.#lock ??= await lockMachine(this.#options, this.#options);
    const snapshot = await this.#snapshot;
    const journal = await JournalWriter.open(this.#directory);
    if (snapshot) await journal.writeSnapshot(snapshot);
    const time = now().toISOString();
    await journal.append(
      { type: 'run-started', run: this.#run, command: this.#command, time },
      { isSynced: false },
    );
    return journal;
  }

  /** What a reset removes is not kept. */
  async #observe(action: Action, journal: JournalWriter): Promise<readonly Change[]> {
    const { host, initSystem, command } = this.#options;
    if (command === 'reset') return [];
    return observeChanges(action, {
      host,
      keep: async (content, path) => {
        // Only what was there before the first change is ever put back: later contents are tkadm's own, old keys too.
        if (!this.#changedPaths.has(path)) await journal.keep(content);
      },
      serviceFiles: ({ name }) =>
        SERVICES.filter((row) => row.name === name).map((row) => buildServiceFile(row, initSystem)),
    });
  }
}

/** The machine before its first change; undefined when it was looked at then, or is changed already. */
async function takeFirstSnapshot({ host, command, now }: SessionOptions, directory: string) {
  if (command === 'reset' || (await readSnapshot(directory))) return undefined;
  // A node of a time without journals: what it was like before, nobody knows.
  if (await host.stat(`${PATHS.bundle}/current`)) return undefined;
  return takeSnapshot(host, now);
}
