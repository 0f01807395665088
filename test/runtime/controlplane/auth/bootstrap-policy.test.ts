import type * as rbac from 'kubernetes-types/rbac/v1.d.ts';
import t from 'tap';
import { buildBootstrapPolicy } from '../../../../runtime/controlplane/auth/bootstrap-policy/policy.ts';

const VERBS = new Set(
  '* approve bind create delete deletecollection escalate get impersonate list patch proxy sign update watch'.split(
    ' ',
  ),
);

t.test('buildBootstrapPolicy() has unique names and closed references', (t) => {
  const objects = buildBootstrapPolicy();
  const keys = objects.map(({ kind, metadata }) => `${kind}/${metadata?.namespace ?? ''}/${metadata?.name}`);
  t.equal(new Set(keys).size, keys.length, 'unique');
  for (const object of objects) {
    t.equal(object.metadata?.labels?.['kubernetes.io/bootstrapping'], 'rbac-defaults');
    if (object.kind?.endsWith('Binding')) {
      const { roleRef } = object as rbac.RoleBinding;
      const namespace = roleRef.kind === 'Role' ? (object.metadata?.namespace ?? '') : '';
      t.ok(
        keys.includes(`${roleRef.kind}/${namespace}/${roleRef.name}`),
        `${object.metadata?.name} → ${roleRef.name}`,
      );
    } else {
      for (const rule of (object as rbac.ClusterRole).rules ?? []) {
        t.ok(
          rule.verbs.every((verb) => VERBS.has(verb)),
          `${object.metadata?.name} ${rule.verbs}`,
        );
        t.ok([...(rule.resources ?? []), ...(rule.nonResourceURLs ?? [])].every(Boolean), 'no empty entry');
      }
    }
  }
  t.end();
});

t.test('buildBootstrapPolicy() keeps what kubeadm and kubelets rely on', (t) => {
  const names = buildBootstrapPolicy().map(({ kind, metadata }) => `${kind}/${metadata?.name}`);
  for (const name of [
    'ClusterRole/cluster-admin',
    'ClusterRole/system:node-bootstrapper',
    'ClusterRole/system:node-proxier',
    'ClusterRole/system:kubelet-api-admin',
    'ClusterRole/system:certificates.k8s.io:certificatesigningrequests:nodeclient',
    'ClusterRole/system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
    'ClusterRoleBinding/system:controller:service-account-controller',
    'RoleBinding/system::leader-locking-kube-scheduler',
  ]) {
    t.ok(names.includes(name), name);
  }
  t.end();
});
