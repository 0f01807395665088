import type { ObjectReader } from '../store/reader.ts';
import { MASTERS_GROUP, nodeNameOf } from './names.ts';
import { authorizeNode } from './node/authorizer.ts';
import { createNodeGraph } from './node/graph.ts';
import { authorizeByRbac, rbacRulesFor } from './rbac/authorizer.ts';
import { createRbacIndex } from './rbac/index.ts';
import type { AccessAttributes, Decision, PolicyRule, RuleAuthorizer, SubjectRules } from './types.ts';

const EVERYTHING: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];

/** `--authorization-mode`; the other modes of upstream (ABAC, Webhook, AlwaysDeny) are not supported. */
export const AUTHORIZATION_MODES = ['AlwaysAllow', 'Node', 'RBAC'] as const;

export interface AuthorizerOptions {
  readonly reader: ObjectReader;
  /** Asked in this order; the first that allows decides. */
  readonly modes: readonly (typeof AUTHORIZATION_MODES)[number][];
}

/** Members of system:masters may do everything; the others what one of the modes allows. */
export function createAuthorizer({ reader, modes }: AuthorizerOptions): RuleAuthorizer {
  const index = createRbacIndex(reader);
  const graph = createNodeGraph(reader);
  const byMode = {
    AlwaysAllow: () => ({ isAllowed: true, reason: '' }),
    Node: (attributes) => authorizeNode({ graph, reader }, attributes),
    RBAC: (attributes) => authorizeByRbac(index, attributes),
  } satisfies Record<AuthorizerOptions['modes'][number], (a: AccessAttributes) => Decision | undefined>;

  return {
    authorize(attributes) {
      if (attributes.user.groups.includes(MASTERS_GROUP)) return { isAllowed: true, reason: '' };
      const reasons: string[] = [];
      for (const mode of modes) {
        const decision = byMode[mode](attributes);
        if (decision?.isAllowed) return decision;
        if (decision?.reason) reasons.push(decision.reason);
      }
      return { isAllowed: false, reason: reasons.join(', ') };
    },
    policyRulesFor(user, namespace) {
      if (user.groups.includes(MASTERS_GROUP) || modes.includes('AlwaysAllow')) return EVERYTHING;
      return rbacRulesFor(index, user, namespace).rules;
    },
    roleRules: (roleRef, namespace) => index.rulesOf({ roleRef, namespace }),
    rulesFor(user, namespace) {
      const isAll = user.groups.includes(MASTERS_GROUP) || modes.includes('AlwaysAllow');
      const found = rbacRulesFor(index, user, namespace);
      const isNode = modes.includes('Node') && nodeNameOf(user) !== undefined;
      return splitRules(isAll ? EVERYTHING : found.rules, [
        ...found.errors,
        ...(isNode ? ['node authorizer does not support user rule resolution'] : []),
      ]);
    },
    close() {
      index.close();
      graph.close();
    },
  };
}

function splitRules(rules: readonly PolicyRule[], errors: readonly string[]): SubjectRules {
  return {
    resourceRules: rules.filter((rule) => rule.resources?.length),
    nonResourceRules: rules.filter((rule) => rule.nonResourceURLs?.length),
    isIncomplete: errors.length > 0,
    evaluationError: errors.length > 0 ? errors.join(', ') : undefined,
  };
}
