import { findResourceByKind, parseApiVersion } from '../resources.ts';
import { getObject, getStrings } from '../schema/access.ts';
import { typeOfKind } from '../schema/registry.ts';
import type { JsonObject } from '../schema/types.ts';
import { validateBinding, validateRole, validateSigningRequest } from './access-control.ts';
import {
  validateClaim,
  validateDefinition,
  validateEvent,
  validateIngress,
  validateLease,
  validateLimitRange,
  validateNetworkPolicy,
  validateNode,
  validatePriorityClass,
  validateQuota,
  validateRuntimeClass,
  validateStorageClass,
  validateVolume,
  validateWebhooks,
} from './cluster.ts';
import { validateConfigMap, validateSecret } from './config.ts';
import { type FieldError, type Findings, invalid } from './field-error.ts';
import { validateMetadata, validateMetadataUpdate } from './metadata.ts';
import { validatePod } from './pod.ts';
import { validateEndpointSlice, validateEndpoints, validateService } from './service.ts';
import {
  validateAutoscaler,
  validateBudget,
  validateControllerRevision,
  validateCronJob,
  validateDaemonSet,
  validateDeployment,
  validateJob,
  validatePodTemplateObject,
  validateReplicaSet,
  validateReplicationController,
  validateStatefulSet,
} from './workloads.ts';

type Validator = (object: JsonObject, old: JsonObject | undefined) => Findings;

function* validateNamespace(object: JsonObject): Findings {
  for (const finalizer of getStrings(getObject(object, 'spec'), 'finalizers'))
    if (finalizer !== 'kubernetes' && !finalizer.includes('/'))
      yield invalid(
        'spec.finalizers',
        finalizer,
        'name is neither a standard finalizer name nor is it fully qualified',
      );
}

/** What each kind is checked for besides its ObjectMeta, by "apiVersion/Kind". */
const VALIDATORS: Readonly<Record<string, Validator>> = {
  'v1/ConfigMap': validateConfigMap,
  'v1/Endpoints': validateEndpoints,
  'v1/Event': validateEvent,
  'v1/LimitRange': validateLimitRange,
  'v1/Namespace': validateNamespace,
  'v1/Node': validateNode,
  'v1/PersistentVolume': validateVolume,
  'v1/PersistentVolumeClaim': validateClaim,
  'v1/Pod': validatePod,
  'v1/PodTemplate': validatePodTemplateObject,
  'v1/ReplicationController': validateReplicationController,
  'v1/ResourceQuota': validateQuota,
  'v1/Secret': validateSecret,
  'v1/Service': validateService,
  'apps/v1/ControllerRevision': validateControllerRevision,
  'apps/v1/DaemonSet': validateDaemonSet,
  'apps/v1/Deployment': validateDeployment,
  'apps/v1/ReplicaSet': validateReplicaSet,
  'apps/v1/StatefulSet': validateStatefulSet,
  'batch/v1/CronJob': validateCronJob,
  'batch/v1/Job': validateJob,
  'autoscaling/v1/HorizontalPodAutoscaler': validateAutoscaler,
  'autoscaling/v2/HorizontalPodAutoscaler': validateAutoscaler,
  'policy/v1/PodDisruptionBudget': validateBudget,
  'networking.k8s.io/v1/Ingress': validateIngress,
  'networking.k8s.io/v1/NetworkPolicy': validateNetworkPolicy,
  'discovery.k8s.io/v1/EndpointSlice': validateEndpointSlice,
  'coordination.k8s.io/v1/Lease': validateLease,
  'rbac.authorization.k8s.io/v1/ClusterRole': validateRole,
  'rbac.authorization.k8s.io/v1/ClusterRoleBinding': validateBinding,
  'rbac.authorization.k8s.io/v1/Role': validateRole,
  'rbac.authorization.k8s.io/v1/RoleBinding': validateBinding,
  'certificates.k8s.io/v1/CertificateSigningRequest': validateSigningRequest,
  'scheduling.k8s.io/v1/PriorityClass': validatePriorityClass,
  'storage.k8s.io/v1/StorageClass': validateStorageClass,
  'node.k8s.io/v1/RuntimeClass': validateRuntimeClass,
  'apiextensions.k8s.io/v1/CustomResourceDefinition': validateDefinition,
  'admissionregistration.k8s.io/v1/MutatingWebhookConfiguration': validateWebhooks,
  'admissionregistration.k8s.io/v1/ValidatingWebhookConfiguration': validateWebhooks,
};

function isNamespaced(apiVersion: string, kind: string, object: JsonObject): boolean {
  const row = findResourceByKind(apiVersion, kind);
  return row ? row.namespaced : getObject(object, 'metadata')?.['namespace'] !== undefined;
}

/** Kinds that are requests, without metadata of their own. */
function hasMetadata(apiVersion: string, kind: string): boolean {
  const row = findResourceByKind(apiVersion, kind);
  return row ? row.verbs.includes('get') : typeOfKind(apiVersion, kind) === undefined;
}

/**
 * What is wrong with an object whose defaults are set; [] when it may be stored. With `oldObject`, the stored
 * state, also what may not change. Kinds that the tables lack are checked for their ObjectMeta only.
 */
export function validateObject(
  apiVersion: string,
  kind: string,
  object: JsonObject,
  oldObject?: JsonObject,
): FieldError[] {
  const { group } = parseApiVersion(apiVersion);
  const errors: FieldError[] = [];
  if (hasMetadata(apiVersion, kind)) {
    const namespaced = isNamespaced(apiVersion, kind, object);
    errors.push(...validateMetadata(object, { group, kind, namespaced }));
    if (oldObject) errors.push(...validateMetadataUpdate(object, oldObject));
  }
  const validator = VALIDATORS[`${apiVersion}/${kind}`];
  if (validator) errors.push(...validator(object, oldObject));
  return errors;
}

export { type FieldError, formatInvalid } from './field-error.ts';
