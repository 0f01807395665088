import type { Change } from './change.ts';
import { BRIDGES, CGROUPS, OWN_PARAMETERS, ROUTE_PROTOCOL, STATE_DIRS, TABLES } from './own.ts';
import { SECTIONS, type Section, type Snapshot, UNUSED_MODULE } from './snapshot.ts';

/** One thing in which a machine is not as it was. */
export interface Difference {
  readonly section: Section;
  /** A path, an interface, a table. */
  readonly name: string;
  /** undefined: it was not there. */
  readonly before?: string | undefined;
  /** undefined: it is not there. */
  readonly after?: string | undefined;
}

/** All in which two looks at a machine differ; a side that one of them lacks is not compared. */
export function compareSnapshots(before: Snapshot, after: Snapshot): readonly Difference[] {
  return SECTIONS.flatMap((section) => {
    const [old, now] = [before.sections[section], after.sections[section]];
    if (!old || !now) return [];
    const names = [...new Set([...Object.keys(old), ...Object.keys(now)])].sort();
    return names
      .filter((name) => old[name] !== now[name] && !isMomentary(section, [old[name], now[name]]))
      .map((name) => ({ section, name, before: old[name], after: now[name] }));
  });
}

/** Kernel parameters come with modules and interfaces, which are compared by themselves; modules are used or not. */
function isMomentary(section: Section, [before, after]: readonly (string | undefined)[]): boolean {
  if (section === 'kernel modules') return before !== undefined && after !== undefined;
  return section === 'kernel parameters' && before === undefined;
}

/** True for what tkadm has made or changed, and a reset must therefore put back; all else is somebody else's. */
export function isOwnDifference(
  { section, name, before, after }: Difference,
  changes: readonly Change[],
): boolean {
  const isThere = after !== undefined;
  switch (section) {
    case 'files':
      return changes.some((change) => change.kind === 'file' && change.path === name);
    case 'mounts':
      return isThere && STATE_DIRS.some((directory) => name.startsWith(`${directory}/`));
    case 'links':
      return isThere && BRIDGES.some((bridge) => name === bridge);
    case 'addresses':
      return isThere && BRIDGES.some((bridge) => name.startsWith(`${bridge} `));
    case 'routes':
      return (
        isThere &&
        (name.includes(`protocol ${ROUTE_PROTOCOL}`) || BRIDGES.some((it) => name.includes(`dev ${it}`)))
      );
    case 'nftables':
      return isThere && TABLES.some((table) => name === `ip ${table}`);
    case 'kernel parameters':
      return (
        OWN_PARAMETERS.includes(name) ||
        changes.some((change) => change.kind === 'kernel-parameter' && change.path === name)
      );
    case 'kernel modules':
      return before === undefined && after === UNUSED_MODULE;
    case 'cgroups':
      return isThere && CGROUPS.some((own) => name.split('/').includes(own));
    case 'packages':
      return changes.some((change) => change.kind === 'packages' && change.added?.includes(name));
    case 'swap':
      return changes.some((change) => change.kind === 'swap' && name in change.before);
    case 'processes':
      return isThere;
    default:
      return false;
  }
}

/** "+ files /etc/x (file 600 0:0)": one line; digests say nothing to people. */
export function formatDifference({ section, name, before, after }: Difference): string {
  const shown = (state: string) => state.replace(/ ?\b[0-9a-f]{64}\b/, '');
  if (before === undefined) return `+ ${section}: ${name}${parenthesis(shown(after ?? ''))}`;
  if (after === undefined) return `- ${section}: ${name}${parenthesis(shown(before))}`;
  const [from, to] = [shown(before), shown(after)];
  return `~ ${section}: ${name} (${from === to ? 'other content' : `${from} → ${to}`})`;
}

function parenthesis(text: string): string {
  return text === '' ? '' : ` (${text})`;
}
