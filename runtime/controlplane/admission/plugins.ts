import { TkadmError } from '../../base/errors.ts';
import { alwaysPullImages } from './plugins/always-pull-images.ts';
import {
  certificateSubjectRestriction,
  createCertificateApproval,
  createCertificateSigning,
} from './plugins/certificates.ts';
import { createDefaultIngressClass, createDefaultStorageClass } from './plugins/default-classes.ts';
import { defaultTolerationSeconds } from './plugins/default-toleration-seconds.ts';
import { createLimitRanger } from './plugins/limit-ranger.ts';
import { createNamespaceLifecycle } from './plugins/namespace-lifecycle.ts';
import { createNodeRestriction } from './plugins/node-restriction.ts';
import { createPersistentVolumeClaimResize } from './plugins/persistent-volume-claim-resize.ts';
import { createPodSecurity } from './plugins/pod-security.ts';
import { createPodTopologyLabels } from './plugins/pod-topology-labels.ts';
import { createPriority } from './plugins/priority.ts';
import { createResourceQuota } from './plugins/resource-quota.ts';
import { createRuntimeClass } from './plugins/runtime-class.ts';
import { createServiceAccountPlugin } from './plugins/service-account.ts';
import { storageObjectInUseProtection } from './plugins/storage-object-in-use-protection.ts';
import { taintNodesByCondition } from './plugins/taint-nodes-by-condition.ts';
import { createUnsupportedExtension } from './plugins/unsupported-extensions.ts';
import type { AdmissionOptions, AdmissionPlugin } from './types.ts';

interface PluginRow {
  readonly name: string;
  readonly isDefault: boolean;
  readonly create: (options: AdmissionOptions) => AdmissionPlugin;
}

/** In upstream's order (`kubeapiserver/options/plugins.go`). */
export const PLUGIN_ROWS: readonly PluginRow[] = [
  { name: 'NamespaceLifecycle', isDefault: true, create: createNamespaceLifecycle },
  { name: 'LimitRanger', isDefault: true, create: createLimitRanger },
  { name: 'ServiceAccount', isDefault: true, create: createServiceAccountPlugin },
  { name: 'NodeRestriction', isDefault: false, create: createNodeRestriction },
  { name: 'TaintNodesByCondition', isDefault: true, create: () => taintNodesByCondition },
  { name: 'AlwaysPullImages', isDefault: false, create: () => alwaysPullImages },
  { name: 'PodSecurity', isDefault: true, create: createPodSecurity },
  { name: 'Priority', isDefault: true, create: createPriority },
  { name: 'DefaultTolerationSeconds', isDefault: true, create: () => defaultTolerationSeconds },
  { name: 'DefaultStorageClass', isDefault: true, create: createDefaultStorageClass },
  { name: 'StorageObjectInUseProtection', isDefault: true, create: () => storageObjectInUseProtection },
  { name: 'PersistentVolumeClaimResize', isDefault: true, create: createPersistentVolumeClaimResize },
  { name: 'RuntimeClass', isDefault: true, create: createRuntimeClass },
  { name: 'PodTopologyLabels', isDefault: true, create: createPodTopologyLabels },
  { name: 'CertificateApproval', isDefault: true, create: createCertificateApproval },
  { name: 'CertificateSigning', isDefault: true, create: createCertificateSigning },
  { name: 'CertificateSubjectRestriction', isDefault: true, create: () => certificateSubjectRestriction },
  { name: 'DefaultIngressClass', isDefault: true, create: createDefaultIngressClass },
  {
    name: 'MutatingAdmissionPolicy',
    isDefault: true,
    create: () => createUnsupportedExtension('MutatingAdmissionPolicy'),
  },
  {
    name: 'MutatingAdmissionWebhook',
    isDefault: true,
    create: () => createUnsupportedExtension('MutatingAdmissionWebhook'),
  },
  {
    name: 'ValidatingAdmissionPolicy',
    isDefault: true,
    create: () => createUnsupportedExtension('ValidatingAdmissionPolicy'),
  },
  {
    name: 'ValidatingAdmissionWebhook',
    isDefault: true,
    create: () => createUnsupportedExtension('ValidatingAdmissionWebhook'),
  },
  { name: 'ResourceQuota', isDefault: true, create: createResourceQuota },
];

/**
 * The plugins that are on: the defaults and `enabled` without `disabled`, in upstream's order.
 * @throws UNSUPPORTED for a plugin that is not in the table
 */
export function createAdmissionPlugins(options: AdmissionOptions): readonly AdmissionPlugin[] {
  const { enabled = [], disabled = [] } = options;
  const unknown = [...enabled, ...disabled].find((name) => !PLUGIN_ROWS.some((row) => row.name === name));
  if (unknown !== undefined) {
    throw new TkadmError('UNSUPPORTED', `Cannot use the admission plugin "${unknown}": not supported`, {
      hint: `The plugins are ${PLUGIN_ROWS.map(({ name }) => name).join(', ')}`,
    });
  }
  return PLUGIN_ROWS.filter(
    ({ name, isDefault }) => (isDefault || enabled.includes(name)) && !disabled.includes(name),
  ).map(({ create }) => create(options));
}
