import type { ClusterRole, PolicyRule } from 'kubernetes-types/rbac/v1.d.ts';
import { CLUSTER_ROLES } from '../../api/kinds.ts';
import { matchesLabelSelector } from '../../api/label-selectors.ts';
import { update } from '../component/action.ts';
import { compareText, isSameJson } from '../component/objects.ts';
import { type Controller, type ReconcileResult, SETTLED, watch } from './controller.ts';

/** Fills the rules of aggregated ClusterRoles with those of the roles that they select. */
export function createClusterRoleAggregation(): Controller {
  return {
    name: 'clusterrole-aggregation-controller',
    watches: [
      watch(CLUSTER_ROLES, (_, view) =>
        view.list(CLUSTER_ROLES).flatMap((role) => (role.aggregationRule ? [role.metadata?.name ?? ''] : [])),
      ),
    ],
    reconcile(key, { view }): ReconcileResult {
      const role = view.get(CLUSTER_ROLES, key);
      const selectors = role?.aggregationRule?.clusterRoleSelectors;
      if (!role || !selectors) return SETTLED;
      const sources = view
        .list(CLUSTER_ROLES)
        .filter((other) => other !== role && !other.metadata?.deletionTimestamp)
        .filter(({ metadata }) =>
          selectors.some((selector) => matchesLabelSelector(selector, metadata?.labels)),
        )
        .sort((a, b) => compareText(a.metadata?.name ?? '', b.metadata?.name ?? ''));
      const rules = collectRules(sources);
      return isSameJson(rules, role.rules ?? [])
        ? SETTLED
        : { actions: [update(CLUSTER_ROLES, { ...role, rules })] };
    },
  };
}

function collectRules(sources: readonly ClusterRole[]): PolicyRule[] {
  const rules: PolicyRule[] = [];
  for (const rule of sources.flatMap((source) => source.rules ?? [])) {
    if (!rules.some((known) => isSameJson(known, rule))) rules.push(rule);
  }
  return rules;
}
