import type * as apps from 'kubernetes-types/apps/v1.d.ts';
import type * as batch from 'kubernetes-types/batch/v1.d.ts';
import type * as certificates from 'kubernetes-types/certificates/v1.d.ts';
import type * as coordination from 'kubernetes-types/coordination/v1.d.ts';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import type * as discovery from 'kubernetes-types/discovery/v1.d.ts';
import type * as meta from 'kubernetes-types/meta/v1.d.ts';
import type * as node from 'kubernetes-types/node/v1.d.ts';
import type * as policy from 'kubernetes-types/policy/v1.d.ts';
import type * as rbac from 'kubernetes-types/rbac/v1.d.ts';
import type * as scheduling from 'kubernetes-types/scheduling/v1.d.ts';
import type * as storage from 'kubernetes-types/storage/v1.d.ts';
import { findResourceByKind, type ResourceRow } from './resources.ts';

/** What every API object has; `metadata.name` is set on all that the server returned. */
export interface KubeObject {
  apiVersion?: string;
  kind?: string;
  metadata?: meta.ObjectMeta;
}

/** A resource whose objects are typed as T; the type exists at compile time only. */
export interface Kind<T extends KubeObject> extends ResourceRow {
  readonly objectType?: T;
}

/** The row of the resource table as a typed handle for the client and informers. */
export function kindOf<T extends KubeObject>(apiVersion: string, kind: string): Kind<T> {
  const row = findResourceByKind(apiVersion, kind);
  if (!row) throw new Error(`no resource serves ${apiVersion} ${kind}`);
  return row;
}

export const CONFIG_MAPS = kindOf<core.ConfigMap>('v1', 'ConfigMap');
export const ENDPOINTS = kindOf<core.Endpoints>('v1', 'Endpoints');
export const EVENTS = kindOf<core.Event>('v1', 'Event');
export const LIMIT_RANGES = kindOf<core.LimitRange>('v1', 'LimitRange');
export const NAMESPACES = kindOf<core.Namespace>('v1', 'Namespace');
export const NODES = kindOf<core.Node>('v1', 'Node');
export const PERSISTENT_VOLUMES = kindOf<core.PersistentVolume>('v1', 'PersistentVolume');
export const PERSISTENT_VOLUME_CLAIMS = kindOf<core.PersistentVolumeClaim>('v1', 'PersistentVolumeClaim');
export const PODS = kindOf<core.Pod>('v1', 'Pod');
export const REPLICATION_CONTROLLERS = kindOf<core.ReplicationController>('v1', 'ReplicationController');
export const RESOURCE_QUOTAS = kindOf<core.ResourceQuota>('v1', 'ResourceQuota');
export const SECRETS = kindOf<core.Secret>('v1', 'Secret');
export const SERVICES = kindOf<core.Service>('v1', 'Service');
export const SERVICE_ACCOUNTS = kindOf<core.ServiceAccount>('v1', 'ServiceAccount');
export const CONTROLLER_REVISIONS = kindOf<apps.ControllerRevision>('apps/v1', 'ControllerRevision');
export const DAEMON_SETS = kindOf<apps.DaemonSet>('apps/v1', 'DaemonSet');
export const DEPLOYMENTS = kindOf<apps.Deployment>('apps/v1', 'Deployment');
export const REPLICA_SETS = kindOf<apps.ReplicaSet>('apps/v1', 'ReplicaSet');
export const STATEFUL_SETS = kindOf<apps.StatefulSet>('apps/v1', 'StatefulSet');
export const CRON_JOBS = kindOf<batch.CronJob>('batch/v1', 'CronJob');
export const JOBS = kindOf<batch.Job>('batch/v1', 'Job');
export const CERTIFICATE_SIGNING_REQUESTS = kindOf<certificates.CertificateSigningRequest>(
  'certificates.k8s.io/v1',
  'CertificateSigningRequest',
);
export const LEASES = kindOf<coordination.Lease>('coordination.k8s.io/v1', 'Lease');
export const ENDPOINT_SLICES = kindOf<discovery.EndpointSlice>('discovery.k8s.io/v1', 'EndpointSlice');
export const RUNTIME_CLASSES = kindOf<node.RuntimeClass>('node.k8s.io/v1', 'RuntimeClass');
export const POD_DISRUPTION_BUDGETS = kindOf<policy.PodDisruptionBudget>('policy/v1', 'PodDisruptionBudget');
export const CLUSTER_ROLES = kindOf<rbac.ClusterRole>('rbac.authorization.k8s.io/v1', 'ClusterRole');
export const CLUSTER_ROLE_BINDINGS = kindOf<rbac.ClusterRoleBinding>(
  'rbac.authorization.k8s.io/v1',
  'ClusterRoleBinding',
);
export const ROLES = kindOf<rbac.Role>('rbac.authorization.k8s.io/v1', 'Role');
export const ROLE_BINDINGS = kindOf<rbac.RoleBinding>('rbac.authorization.k8s.io/v1', 'RoleBinding');
export const PRIORITY_CLASSES = kindOf<scheduling.PriorityClass>('scheduling.k8s.io/v1', 'PriorityClass');
export const STORAGE_CLASSES = kindOf<storage.StorageClass>('storage.k8s.io/v1', 'StorageClass');
