import type { PolicyRule } from '../types.ts';

/**
 * One rule in short form: verbs, API groups, resources and resource names, each a list with spaces between; the
 * core group is written "core". Of two entries: verbs and non-resource URLs.
 */
export type RuleRow =
  | readonly [verbs: string, urls: string]
  | readonly [verbs: string, groups: string, resources: string]
  | readonly [verbs: string, groups: string, resources: string, names: string];

export const READ = 'get list watch';
export const WRITE = 'create delete deletecollection patch update';
export const READ_WRITE = 'create delete deletecollection get list patch update watch';
export const EVENTS: RuleRow = ['create patch update', 'core events.k8s.io', 'events'];

/** Written out as RBAC has it. */
export function toPolicyRule(row: RuleRow): PolicyRule {
  const verbs = row[0].split(' ');
  if (row.length === 2) return { verbs, nonResourceURLs: row[1].split(' ') };
  return {
    verbs,
    apiGroups: row[1].split(' ').map((group) => (group === 'core' ? '' : group)),
    resources: row[2].split(' '),
    ...(row.length === 4 ? { resourceNames: row[3].split(' ') } : {}),
  };
}
