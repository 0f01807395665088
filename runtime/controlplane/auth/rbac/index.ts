import type * as rbac from 'kubernetes-types/rbac/v1.d.ts';
import {
  CLUSTER_ROLE_BINDINGS,
  CLUSTER_ROLES,
  type Kind,
  type KubeObject,
  ROLE_BINDINGS,
  ROLES,
} from '../../../api/kinds.ts';
import { matchesLabelSelector } from '../../../api/label-selectors.ts';
import type { ObjectReader } from '../../store/reader.ts';
import { formatServiceAccountUser } from '../names.ts';
import type { PolicyRule, UserInfo } from '../types.ts';

/** One binding as seen by one of its subjects. */
export interface BoundRole {
  /** `ClusterRoleBinding "x"` or `RoleBinding "x/namespace"`. */
  readonly binding: string;
  readonly roleRef: { readonly kind: string; readonly name: string };
  /** "" for a ClusterRoleBinding. */
  readonly namespace: string;
  /** `User "x"`, `Group "x"` or `ServiceAccount "x/namespace"`. */
  readonly subject: string;
}

/** Who is bound to what, kept up to date by the reader's change feed. */
export interface RbacIndex {
  /** Every binding that holds for this user: cluster-wide ones, then those of the namespace unless it is "". */
  bindingsFor(user: UserInfo, namespace: string): Iterable<BoundRole>;
  /** The rules behind a binding; undefined when the role does not exist. */
  rulesOf(bound: Pick<BoundRole, 'roleRef' | 'namespace'>): readonly PolicyRule[] | undefined;
  close(): void;
}

type SubjectKey = string;
type BindingsBySubject = Map<SubjectKey, Map<string, BoundRole>>;

/** Reads all roles and bindings once, then follows the changes one object at a time. */
export function createRbacIndex(reader: ObjectReader): RbacIndex {
  const roles = new Map<string, readonly PolicyRule[]>();
  const clusterRoles = new Map<string, rbac.ClusterRole>();
  const aggregated = new Map<string, readonly PolicyRule[]>();
  const bindings: BindingTable = { byNamespace: new Map(), keysOf: new Map() };

  const subscriptions = [
    follow(reader, ROLES, (role, isThere) => {
      const key = `${role.metadata?.namespace}/${role.metadata?.name}`;
      if (isThere) roles.set(key, role.rules ?? []);
      else roles.delete(key);
    }),
    follow(reader, CLUSTER_ROLES, (role, isThere) => {
      aggregated.clear();
      if (isThere) clusterRoles.set(role.metadata?.name ?? '', role);
      else clusterRoles.delete(role.metadata?.name ?? '');
    }),
    follow(reader, CLUSTER_ROLE_BINDINGS, (binding, isThere) =>
      updateBinding(bindings, '', binding, isThere),
    ),
    follow(reader, ROLE_BINDINGS, (binding, isThere) =>
      updateBinding(bindings, binding.metadata?.namespace ?? '', binding, isThere),
    ),
  ];

  return {
    *bindingsFor(user, namespace) {
      const keys = [`User/${user.name}`, ...user.groups.map((group) => `Group/${group}`)];
      for (const scope of namespace === '' ? [''] : ['', namespace]) {
        const table = bindings.byNamespace.get(scope);
        if (!table) continue;
        for (const key of keys) yield* table.get(key)?.values() ?? [];
      }
    },
    rulesOf({ roleRef, namespace }) {
      if (roleRef.kind === 'Role') return roles.get(`${namespace}/${roleRef.name}`);
      const cached = aggregated.get(roleRef.name);
      if (cached) return cached;
      const role = clusterRoles.get(roleRef.name);
      if (!role) return undefined;
      const rules = effectiveRules(role, clusterRoles, new Set());
      aggregated.set(roleRef.name, rules);
      return rules;
    },
    close() {
      for (const end of subscriptions) end();
    },
  };
}

function follow<T extends KubeObject>(
  reader: ObjectReader,
  kind: Kind<T>,
  apply: (object: T, isThere: boolean) => void,
): () => void {
  for (const object of reader.list(kind)) apply(object, true);
  return reader.subscribe(kind, (object, type) => apply(object, type !== 'DELETED'));
}

interface BindingTable {
  readonly byNamespace: Map<string, BindingsBySubject>;
  /** Binding "namespace/name" → the subject keys under which it is filed. */
  readonly keysOf: Map<string, readonly SubjectKey[]>;
}

function updateBinding(
  { byNamespace, keysOf }: BindingTable,
  namespace: string,
  binding: rbac.RoleBinding | rbac.ClusterRoleBinding,
  isThere: boolean,
): void {
  const name = binding.metadata?.name ?? '';
  const id = `${namespace}/${name}`;
  const table = byNamespace.get(namespace) ?? new Map<SubjectKey, Map<string, BoundRole>>();
  byNamespace.set(namespace, table);
  for (const key of keysOf.get(id) ?? []) {
    table.get(key)?.delete(id);
    if (table.get(key)?.size === 0) table.delete(key);
  }
  keysOf.delete(id);
  if (!isThere) {
    if (table.size === 0) byNamespace.delete(namespace);
    return;
  }
  const title = namespace === '' ? `ClusterRoleBinding "${name}"` : `RoleBinding "${name}/${namespace}"`;
  const filed = (binding.subjects ?? []).map((subject) => {
    const { key, label } = subjectKey(subject, namespace);
    const entries = table.get(key) ?? new Map<string, BoundRole>();
    table.set(key, entries);
    entries.set(id, { binding: title, roleRef: binding.roleRef, namespace, subject: label });
    return key;
  });
  keysOf.set(id, filed);
}

function subjectKey(subject: rbac.Subject, bindingNamespace: string): { key: SubjectKey; label: string } {
  if (subject.kind !== 'ServiceAccount') {
    return { key: `${subject.kind}/${subject.name}`, label: `${subject.kind} "${subject.name}"` };
  }
  const namespace = subject.namespace ?? bindingNamespace;
  return {
    key: `User/${formatServiceAccountUser(namespace, subject.name)}`,
    label: `ServiceAccount "${subject.name}/${namespace}"`,
  };
}

/** Own rules, and of an aggregated role those of every role that its selectors take in. */
function effectiveRules(
  role: rbac.ClusterRole,
  all: ReadonlyMap<string, rbac.ClusterRole>,
  seen: Set<string>,
): readonly PolicyRule[] {
  const selectors = role.aggregationRule?.clusterRoleSelectors;
  if (!selectors?.length) return role.rules ?? [];
  seen.add(role.metadata?.name ?? '');
  const rules: PolicyRule[] = [...(role.rules ?? [])];
  for (const other of all.values()) {
    const name = other.metadata?.name ?? '';
    if (seen.has(name)) continue;
    if (!selectors.some((selector) => matchesLabelSelector(selector, other.metadata?.labels))) continue;
    rules.push(...effectiveRules(other, all, seen));
  }
  return uniqueRules(rules);
}

function uniqueRules(rules: readonly PolicyRule[]): readonly PolicyRule[] {
  return [...new Map(rules.map((rule) => [JSON.stringify(rule), rule])).values()];
}
