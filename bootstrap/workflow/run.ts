import { formatError, TkadmError } from '../../runtime/base/errors.ts';
import { untilAborted } from '../../runtime/base/time.ts';
import { type Action, formatAction } from './action.ts';
import type { WorkflowEvent } from './event.ts';
import { checkPhaseNames, groupOf, isSelected, type Phase } from './phase.ts';
import type { OnProgress } from './wait.ts';

export interface RunOptions<C> {
  readonly phases: readonly Phase<C>[];
  readonly context: C;
  readonly perform: (action: Action, onProgress: OnProgress, phase: string) => Promise<void>;
  /** True when an action's effect is there already, so that there is nothing to wait for or to create. */
  readonly isDone: (action: Action) => Promise<boolean>;
  readonly emit: (event: WorkflowEvent) => void;
  readonly signal: AbortSignal;
  /** Names of phases or groups to leave out. */
  readonly skip?: readonly string[];
  /** Only these phases or groups. */
  readonly only?: readonly string[];
  /** Set in a dry run: shows each action, one after the other, and changes nothing. */
  readonly preview?: ((action: Action) => Promise<string | undefined>) | undefined;
  /** How often a look that takes long is told of; default: 4 s. */
  readonly progressMs?: number;
}

const PROGRESS_MS = 4_000;

/**
 * Runs phases as soon as those they come after are done, several at a time; a dry run goes through them in
 * their order. The first failure stops everything that has not begun; it is thrown when what was under way
 * has ended.
 * @throws PHASE_UNKNOWN for a name in `skip` or `only` that no phase has, UNSUPPORTED for a refused one.
 */
export async function runPhases<C>(options: RunOptions<C>): Promise<void> {
  const { skip = [], only, emit } = options;
  checkPhaseNames(options.phases, [...skip, ...(only ?? [])]);
  refusePhases(options.phases, only ?? []);
  const phases = options.phases.filter((phase) => phase.refusal === undefined);
  const isActive = (phase: Phase<C>) =>
    !isSelected(phase.name, skip) && (!only || isSelected(phase.name, only));
  const runs = new Map<string, Promise<void>>();
  let failure: { readonly error: unknown } | undefined;
  const prerequisites = (phase: Phase<C>) =>
    phases
      .filter((other) => other !== phase && isSelected(other.name, phase.after ?? []))
      .map((other) => {
        const run = runs.get(other.name);
        if (!run) throw new Error(`phase "${phase.name}" comes before "${other.name}" that it needs`);
        return run;
      });
  for (const phase of phases) {
    const run = Promise.all(prerequisites(phase)).then(async () => {
      if (failure || options.signal.aborted) return;
      if (!isActive(phase)) {
        if (!only) emit({ type: 'phase-skipped', phase: phase.name });
        return;
      }
      try {
        await runPhase(phase, options);
      } catch (error) {
        failure ??= { error };
        emit({ type: 'phase-failed', phase: phase.name, message: formatError(error) });
      }
    });
    runs.set(phase.name, run);
    if (options.preview) await run;
  }
  await Promise.all(runs.values());
  if (failure) throw failure.error;
  options.signal.throwIfAborted();
}

async function runPhase<C>(phase: Phase<C>, options: RunOptions<C>): Promise<void> {
  const { context, emit } = options;
  const startedAt = performance.now();
  emit({ type: 'phase-started', phase: phase.name, summary: phase.summary });
  const reason = phase.idle?.(context);
  const done: Action[] = [];
  try {
    if (reason === undefined) {
      const actions = await look(phase, options, (tell) => phase.plan(context, tell));
      done.push(...(await runActions(phase, actions, options)));
    }
    if (done.length > 0 && !options.preview) await phase.verify?.(context, done);
  } catch (error) {
    await cleanUp(phase, options).catch((second) =>
      emit({ type: 'note', level: 'warning', message: formatError(second) }),
    );
    throw await rollBack(phase, error, options);
  }
  done.push(...(await cleanUp(phase, options)));
  const durationMs = performance.now() - startedAt;
  // To wait is no change, but something was to be done.
  const changes = done.filter((action) => action.kind !== 'wait').length;
  const state = reason === undefined ? (phase.unchanged ?? 'Already there') : `Nothing to do: ${reason}`;
  emit({
    type: 'phase-done',
    phase: phase.name,
    durationMs,
    changes,
    ...(done.length === 0 ? { state } : {}),
  });
}

/** Looks, which is told of when it takes long, and is left alone when the signal comes: it changes nothing. */
async function look<C, T>(
  phase: Phase<C>,
  { emit, signal, progressMs = PROGRESS_MS }: RunOptions<C>,
  work: (tell: (at: string) => void) => Promise<T>,
): Promise<T> {
  const startedAt = performance.now();
  let at = '';
  const timer = setInterval(() => {
    const elapsedMs = Math.round(performance.now() - startedAt);
    const subject = at === '' ? phase.summary : `${phase.summary}: ${at}`;
    const message = `still looking: ${subject} (${Math.round(elapsedMs / 1000)} s)`;
    emit({ type: 'progress', phase: phase.name, message, elapsedMs });
  }, progressMs);
  try {
    const result = work((text) => {
      at = text;
    });
    return await untilAborted(result, signal);
  } finally {
    clearInterval(timer);
  }
}

/** Puts back what a phase that failed has changed; returns what is to be thrown. */
async function rollBack<C>(phase: Phase<C>, error: unknown, options: RunOptions<C>): Promise<unknown> {
  if (!phase.rollBack || options.signal.aborted || options.preview) return error;
  const { emit } = options;
  try {
    const actions = await phase.rollBack(options.context);
    if (actions.length === 0) return error;
    emit({ type: 'note', level: 'warning', message: `Rolling back: ${formatError(error)}` });
    await runActions(phase, actions, options);
    emit({ type: 'note', level: 'info', message: 'Rolled back: everything is as it was before' });
    return error;
  } catch (second) {
    return new TkadmError(
      'ROLLBACK_FAILED',
      `${formatError(error)}; and what was before could not be brought back: ${formatError(second)}`,
      {
        cause: new AggregateError([error, second]),
        hint: 'Mend what is said above and run the same command again',
      },
    );
  }
}

/** What a phase leaves for its end is done after an interruption too. */
async function cleanUp<C>(phase: Phase<C>, options: RunOptions<C>): Promise<readonly Action[]> {
  const actions = (await phase.cleanUp?.(options.context)) ?? [];
  return runActions(phase, actions, { ...options, signal: new AbortController().signal });
}

/** Returns the actions that had something to do. */
async function runActions<C>(
  phase: Phase<C>,
  actions: readonly Action[],
  options: RunOptions<C>,
): Promise<readonly Action[]> {
  const done: Action[] = [];
  for (const action of actions) {
    options.signal.throwIfAborted();
    const isDone = await look(phase, options, (tell) => {
      tell(formatAction(action));
      return options.isDone(action);
    });
    if (isDone) continue;
    done.push(action);
    await runAction(phase.name, action, options);
  }
  return done;
}

async function runAction<C>(
  phase: string,
  action: Action,
  { emit, perform, preview }: RunOptions<C>,
): Promise<void> {
  if (!preview) {
    emit({ type: 'action', phase, action, isDryRun: false });
    return perform(action, (message, times) => emit({ type: 'progress', phase, message, ...times }), phase);
  }
  const text = await preview(action);
  emit({ type: 'action', phase, action, isDryRun: true, ...(text === undefined ? {} : { preview: text }) });
}

/** @throws UNSUPPORTED for a phase that is known and cannot be run. */
export function refusePhases<C>(phases: readonly Phase<C>[], only: readonly string[]): void {
  const refused = phases.find((phase) => phase.refusal !== undefined && isSelected(phase.name, only));
  if (!refused) return;
  const name = only.includes(refused.name) ? refused.name : groupOf(refused.name);
  throw new TkadmError('UNSUPPORTED', `Cannot run phase "${name}": ${refused.refusal}`);
}
