import { TkadmError } from '../../runtime/base/errors.ts';
import { findSimilar } from '../../runtime/base/similar.ts';
import type { Action } from './action.ts';

/**
 * One step of a command. `plan` looks at the host and the cluster and returns what is missing; `[]` when
 * the effect is there. A name is `group` or `group/part`, as kubeadm's.
 */
export interface Phase<C> {
  readonly name: string;
  readonly summary: string;
  /** Phases, or whole groups, whose effect this one needs. */
  readonly after?: readonly string[];
  /** `tell` says what is looked at just now, should it take long. */
  plan(context: C, tell?: (at: string) => void): Promise<readonly Action[]>;
  /** Looks, once actions were done, whether they had the effect that the phases after it need; throws when not. */
  verify?(context: C, done: readonly Action[]): Promise<void>;
  /** What must be done however the phase ends, also when it fails. */
  cleanUp?(context: C): Promise<readonly Action[]>;
  /** What puts things back as they were when the phase has failed; not after an interruption. */
  rollBack?(context: C): Promise<readonly Action[]>;
  /** Why there is nothing to do whatever is found, such as "the embedded store needs no etcd"; undefined: plan. */
  idle?(context: C): string | undefined;
  /** What it means when there is nothing to change; default: "Already there". */
  readonly unchanged?: string;
  /** Of a phase that is known and cannot be run: why. A whole run passes over it; naming it alone is refused. */
  readonly refusal?: string;
}

/** "certs/ca" → "certs" */
export function groupOf(name: string): string {
  return name.split('/')[0]!;
}

/** True when `selector` names this phase or its group. */
export function isSelected(name: string, selectors: readonly string[]): boolean {
  return selectors.includes(name) || selectors.includes(groupOf(name));
}

/** @throws PHASE_UNKNOWN for the first name that is no phase and no group, with the nearest ones. */
export function checkPhaseNames(
  phases: readonly { readonly name: string }[],
  names: readonly string[],
): void {
  const known = [...new Set(phases.flatMap((phase) => [groupOf(phase.name), phase.name]))];
  const unknown = names.find((name) => !known.includes(name));
  if (unknown === undefined) return;
  const siblings = known.filter((name) => name.startsWith(`${groupOf(unknown)}/`));
  const valid = siblings.length > 0 ? siblings : known;
  const parts = known.filter((name) => name.endsWith(`/${unknown}`));
  const similar = parts.length > 0 ? parts : [findSimilar(unknown, known)].filter(Boolean);
  throw new TkadmError(
    'PHASE_UNKNOWN',
    `Cannot use phase "${unknown}": invalid phase name; valid ones are ${valid.join(', ')}`,
    similar.length > 0 ? { hint: `did you mean ${similar.map((name) => `"${name}"`).join(' or ')}?` } : {},
  );
}
