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
  plan(context: C): Promise<readonly Action[]>;
}

/** "certs/ca" → "certs" */
export function groupOf(name: string): string {
  return name.split('/')[0]!;
}

/** True when `selector` names this phase or its group. */
export function isSelected(name: string, selectors: readonly string[]): boolean {
  return selectors.includes(name) || selectors.includes(groupOf(name));
}
