import type { AccessAttributes, Decision, PolicyRule, UserInfo } from '../types.ts';
import type { BoundRole, RbacIndex } from './index.ts';
import { ruleAllows } from './rules.ts';

/** The first binding with a rule that allows the request; the reason names binding, role and subject. */
export function authorizeByRbac(index: RbacIndex, attributes: AccessAttributes): Decision {
  const namespace = attributes.kind === 'resource' ? attributes.namespace : '';
  const missing: string[] = [];
  for (const bound of index.bindingsFor(attributes.user, namespace)) {
    const rules = index.rulesOf(bound);
    if (!rules) missing.push(describeMissing(bound));
    else if (rules.some((rule) => ruleAllows(rule, attributes))) {
      const { kind, name } = bound.roleRef;
      return {
        isAllowed: true,
        reason: `RBAC: allowed by ${bound.binding} of ${kind} "${name}" to ${bound.subject}`,
      };
    }
  }
  if (missing.length === 0) return { isAllowed: false, reason: '' };
  const unique = [...new Set(missing)];
  return { isAllowed: false, reason: `RBAC: ${unique.length > 1 ? `[${unique.join(', ')}]` : unique[0]}` };
}

/** Every rule that holds for the user in this namespace ("": cluster-wide ones alone). */
export function rbacRulesFor(
  index: RbacIndex,
  user: UserInfo,
  namespace: string,
): { readonly rules: readonly PolicyRule[]; readonly errors: readonly string[] } {
  const rules: PolicyRule[] = [];
  const errors: string[] = [];
  for (const bound of index.bindingsFor(user, namespace)) {
    const found = index.rulesOf(bound);
    if (found) rules.push(...found);
    else errors.push(describeMissing(bound));
  }
  return { rules, errors };
}

function describeMissing({ roleRef }: BoundRole): string {
  return `${roleRef.kind.toLowerCase()}.rbac.authorization.k8s.io "${roleRef.name}" not found`;
}
