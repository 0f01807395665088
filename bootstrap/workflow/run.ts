import { formatError, TkadmError } from '../../runtime/base/errors.ts';
import type { Action } from './action.ts';
import type { WorkflowEvent } from './event.ts';
import { groupOf, isSelected, type Phase } from './phase.ts';

export interface RunOptions<C> {
  readonly phases: readonly Phase<C>[];
  readonly context: C;
  readonly perform: (action: Action) => Promise<void>;
  readonly emit: (event: WorkflowEvent) => void;
  readonly signal: AbortSignal;
  /** Names of phases or groups to leave out. */
  readonly skip?: readonly string[];
  /** Only these phases or groups. */
  readonly only?: readonly string[];
  /** Plan and tell, change nothing; `planned` gets each action so that later phases see its effect. */
  readonly isDryRun?: boolean;
  readonly planned?: (action: Action) => Promise<void>;
}

/**
 * Runs phases as soon as those they come after are done, several at a time. The first failure stops
 * everything that has not begun; it is thrown when what was under way has ended.
 * @throws PHASE_UNKNOWN for a name in `skip` or `only` that no phase has.
 */
export async function runPhases<C>(options: RunOptions<C>): Promise<void> {
  const { phases, skip = [], only, emit } = options;
  checkNames(phases, [...skip, ...(only ?? [])]);
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
  }
  await Promise.all(runs.values());
  if (failure) throw failure.error;
  options.signal.throwIfAborted();
}

async function runPhase<C>(phase: Phase<C>, options: RunOptions<C>): Promise<void> {
  const { context, perform, emit, signal, isDryRun = false } = options;
  const startedAt = performance.now();
  emit({ type: 'phase-started', phase: phase.name, summary: phase.summary });
  const actions = await phase.plan(context);
  for (const action of actions) {
    signal.throwIfAborted();
    emit({ type: 'action', phase: phase.name, action, isDryRun });
    await (isDryRun ? options.planned?.(action) : perform(action));
  }
  emit({
    type: 'phase-done',
    phase: phase.name,
    durationMs: performance.now() - startedAt,
    changes: actions.length,
  });
}

function checkNames<C>(phases: readonly Phase<C>[], names: readonly string[]): void {
  const known = new Set(phases.flatMap((phase) => [phase.name, groupOf(phase.name)]));
  const unknown = names.find((name) => !known.has(name));
  if (unknown === undefined) return;
  throw new TkadmError(
    'PHASE_UNKNOWN',
    `Cannot find phase "${unknown}": the phases are ${[...known].join(', ')}`,
  );
}
