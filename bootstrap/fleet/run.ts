import { formatError, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { MachineReporter } from '../render/fleet.ts';
import type { HostResult } from '../render/fleet-result.ts';
import { maskSecrets } from '../render/mask.ts';
import type { Member } from './member.ts';
import { Slots } from './slots.ts';

/** What a pipeline says of its machine at the end. */
export type MemberEnd = Pick<HostResult, 'node' | 'outcome' | 'changes'>;

export interface FleetRunOptions {
  readonly reporter: { readonly machine: (host: string) => MachineReporter };
  /** How many machines are worked on at one time. */
  readonly concurrency: number;
  readonly signal: AbortSignal;
  /** The only machine's failure is told by the command line. */
  readonly isSaidLater?: boolean;
}

/** Works on every member for itself: one that fails or is slow holds up no other. Never throws. */
export function runMembers<M extends Pick<Member, 'name'>>(
  members: readonly M[],
  { reporter, concurrency, signal, isSaidLater = false }: FleetRunOptions,
  work: (member: M, machine: MachineReporter) => Promise<MemberEnd>,
): Promise<readonly HostResult[]> {
  const slots = new Slots(concurrency);
  return Promise.all(
    members.map((member) =>
      slots.run(async () => {
        const startedAt = performance.now();
        const { machine, step } = followSteps(reporter.machine(member.name));
        const end = await Promise.resolve()
          .then(() => {
            signal.throwIfAborted();
            return work(member, machine);
          })
          .catch((error) => ({ error: explain(error, { signal, step: step() }) }));
        const result = { host: member.name, durationMs: performance.now() - startedAt, ...end };
        machine.ended(result, isSaidLater);
        return result;
      }),
    ),
  );
}

/** The reporter, and what it was told last. */
function followSteps(machine: MachineReporter) {
  let step = '';
  return {
    step: () => step,
    machine: {
      ...machine,
      progress: (text: string) => {
        step = text;
        machine.progress(text);
      },
      event: (event: Parameters<MachineReporter['event']>[0]) => {
        if (event.type === 'action') step = event.summary ?? step;
        machine.event(event);
      },
    } satisfies MachineReporter,
  };
}

function explain(
  error: unknown,
  { signal, step }: { readonly signal: AbortSignal; readonly step: string },
): Error {
  if (signal.aborted) {
    const state =
      step === '' ? 'nothing was begun' : `it was at "${step}"; the same command goes on from there`;
    return new TkadmError('INTERRUPTED', `Interrupted: ${state}`);
  }
  return isTkadmError(error) ? error : new Error(maskSecrets(formatError(error)));
}

/** The results' failures in one error; the only machine's own when there is one. */
export function failureOf(
  results: readonly HostResult[],
  { code, verb }: { readonly code: 'JOIN_FAILED' | 'APPLY_FAILED'; readonly verb: string },
): Error | undefined {
  const failed = results.filter(({ error }) => error);
  if (failed.length === 0) return undefined;
  if (results.length === 1) return failed[0]!.error;
  return new TkadmError(code, `Cannot ${verb} ${failed.length} of ${results.length} machines`, {
    cause: failed[0]!.error,
    hint: 'Mend what is said above and run the same command again',
    details: {
      hosts: results.map(({ host, node, outcome, error }) => ({
        host,
        ...(error
          ? { ok: false, code: isTkadmError(error) ? error.code : 'INTERNAL', message: error.message }
          : { ok: true, node, outcome }),
      })),
    },
  });
}
