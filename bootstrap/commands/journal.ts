import type { Host } from '../../runtime/base/host.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { openSession, type SessionOptions } from '../journal/session.ts';
import type { Action } from '../workflow/action.ts';
import { performAction } from '../workflow/perform.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';

export interface JournaledCommand {
  readonly host: Host;
  /** "certs renew" */
  readonly command: string;
  readonly extent: SessionOptions['extent'];
}

/** Carries out an action, between its two lines of the journal. Default: as the phases of a run do. */
export type PerformJournaled = (action: Action, perform?: () => Promise<void>) => Promise<void>;

/**
 * Runs a command without phases that changes the machine: with the machine for itself, and in its journal. What an
 * interrupted one has left half done is mended first.
 * @throws MACHINE_BUSY, JOURNAL_DAMAGED
 */
export async function withJournal<T>(
  context: CliContext,
  { host, command, extent }: JournaledCommand,
  work: (perform: PerformJournaled) => Promise<T>,
): Promise<T> {
  const initSystem = await detectInitSystem(host);
  const { pid, now, uid, signal } = context;
  // Without root nothing of a node can be changed; what is written elsewhere is its user's.
  const session = uid === 0 ? await openSession({ host, initSystem, command, pid, now, extent }) : undefined;
  const api = async () => {
    throw new Error(`"${command}" does not ask the API server`);
  };
  const carryOut = (action: Action) =>
    performAction(action, { host, initSystem, bundleSources: bundleSources(context), signal, api });
  const perform: PerformJournaled = async (action, task = () => carryOut(action)) => {
    signal.throwIfAborted();
    return session ? session.record(action, command, task) : task();
  };
  let state: 'done' | 'failed' | 'interrupted' = 'failed';
  try {
    for (const action of (await session?.planHalfDone()) ?? []) await perform(action);
    const result = await work(perform);
    state = 'done';
    return result;
  } catch (error) {
    if (signal.aborted) state = 'interrupted';
    throw error;
  } finally {
    await session?.end(state);
  }
}
