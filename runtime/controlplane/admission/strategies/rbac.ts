import { isDeepStrictEqual } from 'node:util';
import type * as rbac from 'kubernetes-types/rbac/v1.d.ts';
import type { KubeObject } from '../../../api/kinds.ts';
import { compactRules, formatRule, uncoveredRules } from '../../auth/rbac/rules.ts';
import type { PolicyRule, RuleAuthorizer } from '../../auth/types.ts';
import { notFound, objectOf, refuse, refuseInvalid } from '../refusals.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../types.ts';

const GROUP = 'rbac.authorization.k8s.io';
const ROLES = ['roles', 'clusterroles'];
const BINDINGS = ['rolebindings', 'clusterrolebindings'];
const FULL_AUTHORITY: readonly PolicyRule[] = [
  { verbs: ['*'], apiGroups: ['*'], resources: ['*'] },
  { verbs: ['*'], nonResourceURLs: ['*'] },
];

/**
 * Nobody grants what he has not: the rules of a role, or of the role that a binding refers to, must be covered by
 * the writer's own, unless he may `escalate` the role or `bind` it. A binding's roleRef never changes.
 */
export function createRbacStrategy({ authorizer }: { readonly authorizer: RuleAuthorizer }): AdmissionPlugin {
  return {
    name: 'RbacStrategy',
    admit(request) {
      if (isRbacWrite(request, BINDINGS)) setBindingDefaults(objectOf<rbac.RoleBinding>(request));
    },
    async validate(request) {
      if (isRbacWrite(request, ROLES)) await checkRole(request, authorizer);
      if (isRbacWrite(request, BINDINGS)) await checkBinding(request, authorizer);
    },
  };
}

function isRbacWrite(request: AdmissionRequest, resources: readonly string[]): boolean {
  const { operation, resource } = request;
  if (operation !== 'CREATE' && operation !== 'UPDATE') return false;
  return resource.group === GROUP && resources.includes(resource.plural);
}

function setBindingDefaults(binding: rbac.RoleBinding): void {
  binding.roleRef.apiGroup ||= GROUP;
  for (const subject of binding.subjects ?? []) {
    if (subject.kind !== 'ServiceAccount') subject.apiGroup ||= GROUP;
  }
}

async function checkRole(request: AdmissionRequest, authorizer: RuleAuthorizer): Promise<void> {
  if (isOnlyBookkeeping(request)) return;
  const role = objectOf<rbac.ClusterRole>(request);
  const name = request.name || role.metadata?.name || '';
  if (await isAllowed(request, authorizer, { verb: 'escalate', resource: request.resource.plural, name }))
    return;
  checkEscalation(request, authorizer, role.rules ?? []);
  const isAggregated = (role.aggregationRule?.clusterRoleSelectors?.length ?? 0) > 0;
  if (!isAggregated) return;
  const owned = authorizer.policyRulesFor(request.user, request.namespace);
  if (uncoveredRules(owned, FULL_AUTHORITY).length > 0) {
    throw refuse(request, 'must have cluster-admin privileges to use an aggregationRule');
  }
}

async function checkBinding(request: AdmissionRequest, authorizer: RuleAuthorizer): Promise<void> {
  const { roleRef } = objectOf<rbac.RoleBinding>(request);
  const old = (request.oldObject as rbac.RoleBinding | undefined)?.roleRef;
  if (old && !isDeepStrictEqual({ ...old }, { ...roleRef })) {
    const message = `Invalid value: ${JSON.stringify(roleRef)}: cannot change roleRef`;
    throw refuseInvalid(request, [{ field: 'roleRef', message }]);
  }
  if (isOnlyBookkeeping(request)) return;
  const resource = roleRef.kind === 'Role' ? 'roles' : 'clusterroles';
  if (await isAllowed(request, authorizer, { verb: 'bind', resource, name: roleRef.name })) return;
  const rules = authorizer.roleRules(roleRef, request.namespace);
  if (!rules) throw notFound(resource, roleRef.name, GROUP);
  checkEscalation(request, authorizer, rules);
}

async function isAllowed(
  request: AdmissionRequest,
  authorizer: RuleAuthorizer,
  wanted: { readonly verb: string; readonly resource: string; readonly name: string },
): Promise<boolean> {
  const decision = await authorizer.authorize({
    ...wanted,
    kind: 'resource',
    user: request.user,
    group: GROUP,
    version: '*',
    subresource: '',
    namespace: request.namespace,
  });
  return decision.isAllowed;
}

function checkEscalation(
  request: AdmissionRequest,
  authorizer: RuleAuthorizer,
  wanted: readonly PolicyRule[],
): void {
  const missing = uncoveredRules(authorizer.policyRulesFor(request.user, request.namespace), wanted);
  if (missing.length === 0) return;
  const groups = request.user.groups.map((group) => JSON.stringify(group)).join(' ');
  const rules = compactRules(missing).map(formatRule).toSorted().join('\n');
  throw refuse(
    request,
    `user "${request.user.name}" (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${rules}`,
  );
}

/** An update that touches only what garbage collection needs to let the object go. */
function isOnlyBookkeeping(request: AdmissionRequest): boolean {
  const { object, oldObject } = request;
  return (
    request.operation === 'UPDATE' &&
    isDeepStrictEqual(withoutBookkeeping(object), withoutBookkeeping(oldObject))
  );
}

function withoutBookkeeping(object: KubeObject | undefined): unknown {
  if (!object) return undefined;
  const {
    finalizers: _f,
    ownerReferences: _o,
    managedFields: _m,
    resourceVersion: _r,
    generation: _g,
    ...metadata
  } = object.metadata ?? {};
  return JSON.parse(JSON.stringify({ ...object, metadata }));
}
