import { EVENTS, READ, type RuleRow } from './rule-table.ts';

export interface NamespaceRoleRow {
  readonly namespace: 'kube-system' | 'kube-public';
  readonly name: string;
  readonly rules: readonly RuleRow[];
  /** Who the RoleBinding names. */
  readonly users?: readonly string[];
  /** Service accounts of kube-system. */
  readonly serviceAccounts?: readonly string[];
  /** Name of the RoleBinding where it is not that of the role. */
  readonly bindingName?: string;
}

/** kube-apiserver's default Roles with their RoleBindings (bootstrappolicy, 1.36). */
export const NAMESPACE_ROLE_ROWS: readonly NamespaceRoleRow[] = [
  {
    namespace: 'kube-system',
    name: 'extension-apiserver-authentication-reader',
    rules: [[READ, 'core', 'configmaps', 'extension-apiserver-authentication']],
    users: ['system:kube-controller-manager', 'system:kube-scheduler'],
    bindingName: 'system::extension-apiserver-authentication-reader',
  },
  {
    namespace: 'kube-system',
    name: 'system:controller:bootstrap-signer',
    rules: [[READ, 'core', 'secrets']],
    serviceAccounts: ['bootstrap-signer'],
  },
  {
    namespace: 'kube-system',
    name: 'system:controller:cloud-provider',
    rules: [['create get list watch', 'core', 'configmaps']],
    serviceAccounts: ['cloud-provider'],
  },
  {
    namespace: 'kube-system',
    name: 'system:controller:token-cleaner',
    rules: [['delete get list watch', 'core', 'secrets'], EVENTS],
    serviceAccounts: ['token-cleaner'],
  },
  {
    namespace: 'kube-system',
    name: 'system::leader-locking-kube-controller-manager',
    rules: [
      ['watch', 'core', 'configmaps'],
      ['get update', 'core', 'configmaps', 'kube-controller-manager'],
    ],
    users: ['system:kube-controller-manager'],
    serviceAccounts: ['kube-controller-manager'],
  },
  {
    namespace: 'kube-system',
    name: 'system::leader-locking-kube-scheduler',
    rules: [
      ['watch', 'core', 'configmaps'],
      ['get update', 'core', 'configmaps', 'kube-scheduler'],
    ],
    users: ['system:kube-scheduler'],
    serviceAccounts: ['kube-scheduler'],
  },
  {
    namespace: 'kube-public',
    name: 'system:controller:bootstrap-signer',
    rules: [[READ, 'core', 'configmaps'], ['update', 'core', 'configmaps', 'cluster-info'], EVENTS],
    serviceAccounts: ['bootstrap-signer'],
  },
];
