import { NODE_RULES } from './node-rules.ts';
import { EVENTS, READ, READ_WRITE, type RuleRow, WRITE } from './rule-table.ts';

export interface ClusterRoleRow {
  readonly name: string;
  readonly rules: readonly RuleRow[];
  /** Rules of roles labelled `aggregate-to-X` are taken in. */
  readonly aggregates?: 'admin' | 'edit' | 'view';
  /** Labelled so that X takes it in. */
  readonly aggregatedTo?: 'admin' | 'edit' | 'view';
}

const AUTH_DELEGATION: readonly RuleRow[] = [
  ['create', 'authentication.k8s.io', 'tokenreviews'],
  ['create', 'authorization.k8s.io', 'subjectaccessreviews'],
];
const HEALTH_URLS = '/healthz /livez /readyz /version /version/';

/** kube-apiserver's default ClusterRoles without those of the controllers (bootstrappolicy, 1.36). */
export const CLUSTER_ROLE_ROWS: readonly ClusterRoleRow[] = [
  {
    name: 'cluster-admin',
    rules: [
      ['*', '*', '*'],
      ['*', '*'],
    ],
  },
  {
    name: 'system:discovery',
    rules: [['get', `/api /api/* /apis /apis/* /openapi /openapi/* ${HEALTH_URLS}`]],
  },
  {
    name: 'system:monitoring',
    rules: [
      ['get', '/flagz /healthz /healthz/* /livez /livez/* /metrics /metrics/slis /readyz /readyz/* /statusz'],
    ],
  },
  {
    name: 'system:basic-user',
    rules: [
      ['create', 'authorization.k8s.io', 'selfsubjectaccessreviews selfsubjectrulesreviews'],
      ['create', 'authentication.k8s.io', 'selfsubjectreviews'],
    ],
  },
  { name: 'system:public-info-viewer', rules: [['get', HEALTH_URLS]] },
  { name: 'admin', rules: [], aggregates: 'admin' },
  { name: 'edit', rules: [], aggregates: 'edit', aggregatedTo: 'admin' },
  { name: 'view', rules: [], aggregates: 'view', aggregatedTo: 'edit' },
  {
    name: 'system:aggregate-to-admin',
    aggregatedTo: 'admin',
    rules: [
      ['create', 'authorization.k8s.io', 'localsubjectaccessreviews'],
      [READ_WRITE, 'rbac.authorization.k8s.io', 'rolebindings roles'],
    ],
  },
  {
    name: 'system:aggregate-to-edit',
    aggregatedTo: 'edit',
    rules: [
      [READ, 'core', 'pods/attach pods/exec pods/portforward pods/proxy secrets services/proxy'],
      ['impersonate', 'core', 'serviceaccounts'],
      [WRITE, 'core', 'pods pods/attach pods/exec pods/portforward pods/proxy'],
      ['create', 'core', 'pods/eviction'],
      [
        WRITE,
        'core',
        'configmaps events persistentvolumeclaims replicationcontrollers replicationcontrollers/scale secrets serviceaccounts services services/proxy',
      ],
      ['create', 'core', 'serviceaccounts/token'],
      [
        WRITE,
        'apps',
        'daemonsets deployments deployments/rollback deployments/scale replicasets replicasets/scale statefulsets statefulsets/scale',
      ],
      [WRITE, 'autoscaling', 'horizontalpodautoscalers'],
      [WRITE, 'batch', 'cronjobs jobs'],
      [
        WRITE,
        'extensions',
        'daemonsets deployments deployments/rollback deployments/scale ingresses networkpolicies replicasets replicasets/scale replicationcontrollers/scale',
      ],
      [WRITE, 'policy', 'poddisruptionbudgets'],
      [WRITE, 'networking.k8s.io', 'ingresses networkpolicies'],
      [READ_WRITE, 'coordination.k8s.io', 'leases'],
      [WRITE, 'resource.k8s.io', 'resourceclaims resourceclaimtemplates'],
    ],
  },
  {
    name: 'system:aggregate-to-view',
    aggregatedTo: 'view',
    rules: [
      [
        READ,
        'core',
        'configmaps endpoints persistentvolumeclaims persistentvolumeclaims/status pods replicationcontrollers replicationcontrollers/scale serviceaccounts services services/status',
      ],
      [
        READ,
        'core',
        'bindings events limitranges namespaces/status pods/log pods/status replicationcontrollers/status resourcequotas resourcequotas/status',
      ],
      [READ, 'core', 'namespaces'],
      [READ, 'discovery.k8s.io', 'endpointslices'],
      [
        READ,
        'apps',
        'controllerrevisions daemonsets daemonsets/status deployments deployments/scale deployments/status replicasets replicasets/scale replicasets/status statefulsets statefulsets/scale statefulsets/status',
      ],
      [READ, 'autoscaling', 'horizontalpodautoscalers horizontalpodautoscalers/status'],
      [READ, 'batch', 'cronjobs cronjobs/status jobs jobs/status'],
      [
        READ,
        'extensions',
        'daemonsets daemonsets/status deployments deployments/scale deployments/status ingresses ingresses/status networkpolicies replicasets replicasets/scale replicasets/status replicationcontrollers/scale',
      ],
      [READ, 'policy', 'poddisruptionbudgets poddisruptionbudgets/status'],
      [READ, 'networking.k8s.io', 'ingresses ingresses/status networkpolicies'],
      [READ, 'resource.k8s.io', 'resourceclaims resourceclaims/status resourceclaimtemplates'],
    ],
  },
  {
    name: 'system:heapster',
    rules: [
      [READ, 'core', 'events namespaces nodes pods'],
      [READ, 'extensions', 'deployments'],
    ],
  },
  { name: 'system:node', rules: NODE_RULES },
  {
    name: 'system:node-problem-detector',
    rules: [['get', 'core', 'nodes'], ['patch', 'core', 'nodes/status'], EVENTS],
  },
  {
    name: 'system:kubelet-api-admin',
    rules: [
      [READ, 'core', 'nodes'],
      ['proxy', 'core', 'nodes'],
      ['*', 'core', 'nodes/log nodes/metrics nodes/proxy nodes/stats'],
      ['*', 'core', 'nodes/configz nodes/healthz nodes/pods'],
    ],
  },
  {
    name: 'system:node-bootstrapper',
    rules: [['create get list watch', 'certificates.k8s.io', 'certificatesigningrequests']],
  },
  { name: 'system:auth-delegator', rules: AUTH_DELEGATION },
  {
    name: 'system:kube-aggregator',
    rules: [
      [READ, 'core', 'endpoints services'],
      [READ, 'discovery.k8s.io', 'endpointslices'],
    ],
  },
  {
    name: 'system:kube-controller-manager',
    rules: [
      EVENTS,
      ['create', 'coordination.k8s.io', 'leases'],
      ['get update', 'coordination.k8s.io', 'leases', 'kube-controller-manager'],
      ['create', 'core', 'secrets serviceaccounts'],
      ['delete', 'core', 'secrets'],
      ['get', 'core', 'configmaps namespaces secrets serviceaccounts'],
      ['update', 'core', 'secrets serviceaccounts'],
      ...AUTH_DELEGATION,
      ['list watch', '*', '*'],
      ['create', 'core', 'serviceaccounts/token'],
    ],
  },
  {
    name: 'system:kube-dns',
    rules: [['list watch', 'core', 'endpoints services']],
  },
  {
    name: 'system:persistent-volume-provisioner',
    rules: [
      ['create delete get list watch', 'core', 'persistentvolumes'],
      ['get list update watch', 'core', 'persistentvolumeclaims'],
      [READ, 'storage.k8s.io', 'storageclasses'],
      ['watch', 'core', 'events'],
      EVENTS,
    ],
  },
  {
    name: 'system:kube-scheduler',
    rules: [
      EVENTS,
      ['create', 'coordination.k8s.io', 'leases'],
      ['get list update watch', 'coordination.k8s.io', 'leases', 'kube-scheduler'],
      [READ, 'core', 'nodes'],
      ['delete get list watch', 'core', 'pods'],
      ['create', 'core', 'bindings pods/binding'],
      ['patch update', 'core', 'pods/status'],
      [READ, 'core', 'replicationcontrollers services'],
      [READ, 'apps extensions', 'replicasets'],
      [READ, 'apps', 'statefulsets'],
      [READ, 'policy', 'poddisruptionbudgets'],
      [READ, 'core', 'persistentvolumeclaims persistentvolumes'],
      ...AUTH_DELEGATION,
      [READ, 'storage.k8s.io', 'csinodes'],
      [READ, 'core', 'namespaces'],
      [READ, 'storage.k8s.io', 'csidrivers'],
      [READ, 'storage.k8s.io', 'csistoragecapacities'],
      [READ, 'storage.k8s.io', 'volumeattachments'],
      [READ, 'resource.k8s.io', 'deviceclasses'],
      ['get list patch update watch', 'resource.k8s.io', 'resourceclaims'],
      ['get list patch update watch', 'resource.k8s.io', 'resourceclaims/status'],
      ['patch update', 'resource.k8s.io', 'resourceclaims/binding'],
      [READ, 'resource.k8s.io', 'resourceslices'],
    ],
  },
  {
    name: 'system:node-proxier',
    rules: [
      ['list watch', 'core', 'endpoints services'],
      [READ, 'core', 'nodes'],
      EVENTS,
      ['list watch', 'discovery.k8s.io', 'endpointslices'],
      ['list watch', 'networking.k8s.io', 'servicecidrs'],
    ],
  },
  {
    name: 'system:certificates.k8s.io:certificatesigningrequests:nodeclient',
    rules: [['create', 'certificates.k8s.io', 'certificatesigningrequests/nodeclient']],
  },
  {
    name: 'system:certificates.k8s.io:certificatesigningrequests:selfnodeclient',
    rules: [['create', 'certificates.k8s.io', 'certificatesigningrequests/selfnodeclient']],
  },
  ...['legacy-unknown', 'kubelet-serving', 'kube-apiserver-client', 'kube-apiserver-client-kubelet'].map(
    (signer): ClusterRoleRow => ({
      name: `system:certificates.k8s.io:${signer}-approver`,
      rules: [['approve', 'certificates.k8s.io', 'signers', `kubernetes.io/${signer}`]],
    }),
  ),
  {
    name: 'system:volume-scheduler',
    rules: [
      ['get list patch update watch', 'core', 'persistentvolumes'],
      [READ, 'storage.k8s.io', 'storageclasses'],
      ['get list patch update watch', 'core', 'persistentvolumeclaims'],
    ],
  },
  {
    name: 'system:service-account-issuer-discovery',
    rules: [
      [
        'get',
        '/.well-known/openid-configuration /.well-known/openid-configuration/ /openid/v1/jwks /openid/v1/jwks/',
      ],
    ],
  },
];
