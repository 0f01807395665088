/** Types of rbac.v1; parse.ts has the grammar of a line. */
export const RBAC_TYPES = `
AggregationRule
  clusterRoleSelectors 1 [meta.v1.LabelSelector] atomic

ClusterRole kind
  aggregationRule 3 AggregationRule
  metadata 1 meta.v1.ObjectMeta
  rules 2 [PolicyRule] atomic

ClusterRoleBinding kind
  metadata 1 meta.v1.ObjectMeta
  roleRef! 3 RoleRef
  subjects 2 [Subject] atomic

ClusterRoleBindingList kind
  items! 2 [ClusterRoleBinding]
  metadata 1 meta.v1.ListMeta

ClusterRoleList kind
  items! 2 [ClusterRole]
  metadata 1 meta.v1.ListMeta

PolicyRule
  apiGroups 2 [string] atomic
  nonResourceURLs 5 [string] atomic
  resourceNames 4 [string] atomic
  resources 3 [string] atomic
  verbs! 1 [string] atomic

Role kind
  metadata 1 meta.v1.ObjectMeta
  rules 2 [PolicyRule] atomic

RoleBinding kind
  metadata 1 meta.v1.ObjectMeta
  roleRef! 3 RoleRef
  subjects 2 [Subject] atomic

RoleBindingList kind
  items! 2 [RoleBinding]
  metadata 1 meta.v1.ListMeta

RoleList kind
  items! 2 [Role]
  metadata 1 meta.v1.ListMeta

RoleRef atomic
  apiGroup 1 string
  kind! 2 string
  name! 3 string

Subject atomic
  apiGroup 2 string
  kind! 1 string
  name! 3 string
  namespace 4 string
`;
