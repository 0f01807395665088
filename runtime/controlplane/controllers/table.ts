import { TkadmError } from '../../base/errors.ts';
import { createBootstrapSigner, createTokenCleaner } from './bootstrap-token.ts';
import { createCsrApprover, createCsrCleaner, createCsrSigner } from './certificate-signing.ts';
import { createClusterRoleAggregation } from './cluster-role-aggregation.ts';
import type { Controller } from './controller.ts';
import { createCronJobController } from './cron-job.ts';
import { createDaemonSetController } from './daemon-set.ts';
import { createDeploymentController } from './deployment.ts';
import { createDisruptionController } from './disruption.ts';
import { createEndpointSliceController } from './endpoint-slice.ts';
import { createEndpointsController } from './endpoints.ts';
import { createGarbageCollector } from './garbage-collector.ts';
import { createJobController } from './job.ts';
import { createNamespaceController } from './namespace.ts';
import { createNodeIpamController } from './node-ipam.ts';
import { createNodeLifecycleController } from './node-lifecycle.ts';
import { createPodGarbageCollector } from './pod-gc.ts';
import { createReplicaSetController } from './replica-set.ts';
import { createReplicationController } from './replication-controller.ts';
import { createResourceQuotaController } from './resource-quota.ts';
import { createRootCaPublisher, createServiceAccountController } from './service-account.ts';
import { createServiceAccountTokenController } from './service-account-token.ts';
import type { ControllerSettings } from './settings.ts';
import { createStatefulSetController } from './stateful-set.ts';
import { createTaintEvictionController } from './taint-eviction.ts';
import { createTtlAfterFinished } from './ttl-after-finished.ts';
import { createVolumeBinder } from './volume-binder.ts';
import { createClaimProtection, createVolumeProtection } from './volume-protection.ts';

/** One entry of `--controllers`. */
export interface ControllerRow {
  /** Upstream's name. */
  readonly name: string;
  /** Older names that upstream still takes. */
  readonly aliases?: readonly string[];
  readonly isDefault: boolean;
  /** Account in kube-system that it acts as; without one the component's own identity. */
  readonly serviceAccount?: string;
  /** The controller, or undefined when the settings give it nothing to work with. */
  readonly create: (settings: ControllerSettings) => Controller | undefined;
}

/** The controllers of kube-controller-manager, in the order in which they start. */
export const CONTROLLERS: readonly ControllerRow[] = [
  {
    name: 'serviceaccount-controller',
    serviceAccount: 'service-account-controller',
    aliases: ['serviceaccount'],
    isDefault: true,
    create: createServiceAccountController,
  },
  {
    name: 'root-ca-certificate-publisher-controller',
    serviceAccount: 'root-ca-cert-publisher',
    aliases: ['root-ca-cert-publisher'],
    isDefault: true,
    create: ({ rootCaPem }) => (rootCaPem ? createRootCaPublisher(rootCaPem) : undefined),
  },
  {
    name: 'node-ipam-controller',
    serviceAccount: 'node-controller',
    aliases: ['nodeipam'],
    isDefault: true,
    create: ({ nodeIpam }) => (nodeIpam ? createNodeIpamController(nodeIpam) : undefined),
  },
  {
    name: 'node-lifecycle-controller',
    serviceAccount: 'node-controller',
    aliases: ['nodelifecycle'],
    isDefault: true,
    create: ({ nodeGracePeriodMs }) => createNodeLifecycleController({ gracePeriodMs: nodeGracePeriodMs }),
  },
  {
    name: 'taint-eviction-controller',
    serviceAccount: 'node-controller',
    isDefault: true,
    create: createTaintEvictionController,
  },
  {
    name: 'certificatesigningrequest-approving-controller',
    serviceAccount: 'certificate-controller',
    aliases: ['csrapproving'],
    isDefault: true,
    create: createCsrApprover,
  },
  {
    name: 'certificatesigningrequest-signing-controller',
    serviceAccount: 'certificate-controller',
    aliases: ['csrsigning'],
    isDefault: true,
    create: ({ signing }) => (signing ? createCsrSigner(signing) : undefined),
  },
  {
    name: 'certificatesigningrequest-cleaner-controller',
    serviceAccount: 'certificate-controller',
    aliases: ['csrcleaner'],
    isDefault: true,
    create: createCsrCleaner,
  },
  {
    name: 'bootstrap-signer-controller',
    serviceAccount: 'bootstrap-signer',
    aliases: ['bootstrapsigner'],
    isDefault: false,
    create: createBootstrapSigner,
  },
  {
    name: 'token-cleaner-controller',
    serviceAccount: 'token-cleaner',
    aliases: ['tokencleaner'],
    isDefault: false,
    create: createTokenCleaner,
  },
  {
    name: 'deployment-controller',
    serviceAccount: 'deployment-controller',
    aliases: ['deployment'],
    isDefault: true,
    create: createDeploymentController,
  },
  {
    name: 'replicaset-controller',
    serviceAccount: 'replicaset-controller',
    aliases: ['replicaset'],
    isDefault: true,
    create: createReplicaSetController,
  },
  {
    name: 'daemonset-controller',
    serviceAccount: 'daemon-set-controller',
    aliases: ['daemonset'],
    isDefault: true,
    create: createDaemonSetController,
  },
  {
    name: 'endpoints-controller',
    serviceAccount: 'endpoint-controller',
    aliases: ['endpoint'],
    isDefault: true,
    create: createEndpointsController,
  },
  {
    name: 'endpointslice-controller',
    serviceAccount: 'endpointslice-controller',
    aliases: ['endpointslice'],
    isDefault: true,
    create: createEndpointSliceController,
  },
  {
    name: 'job-controller',
    serviceAccount: 'job-controller',
    aliases: ['job'],
    isDefault: true,
    create: createJobController,
  },
  {
    name: 'cronjob-controller',
    serviceAccount: 'cronjob-controller',
    aliases: ['cronjob'],
    isDefault: true,
    create: createCronJobController,
  },
  {
    name: 'statefulset-controller',
    serviceAccount: 'statefulset-controller',
    aliases: ['statefulset'],
    isDefault: true,
    create: createStatefulSetController,
  },
  {
    name: 'replicationcontroller-controller',
    serviceAccount: 'replication-controller',
    aliases: ['replicationcontroller'],
    isDefault: true,
    create: createReplicationController,
  },
  {
    name: 'disruption-controller',
    serviceAccount: 'disruption-controller',
    aliases: ['disruption'],
    isDefault: true,
    create: createDisruptionController,
  },
  {
    name: 'resourcequota-controller',
    serviceAccount: 'resourcequota-controller',
    aliases: ['resourcequota'],
    isDefault: true,
    create: createResourceQuotaController,
  },
  {
    name: 'pod-garbage-collector-controller',
    serviceAccount: 'pod-garbage-collector',
    aliases: ['podgc'],
    isDefault: true,
    create: ({ terminatedPodThreshold }) => createPodGarbageCollector(terminatedPodThreshold),
  },
  {
    name: 'serviceaccount-token-controller',
    aliases: ['serviceaccount-token'],
    isDefault: true,
    create: ({ serviceAccountKeyPem, rootCaPem }) =>
      serviceAccountKeyPem
        ? createServiceAccountTokenController({ keyPem: serviceAccountKeyPem, rootCaPem })
        : undefined,
  },
  {
    name: 'clusterrole-aggregation-controller',
    serviceAccount: 'clusterrole-aggregation-controller',
    aliases: ['clusterrole-aggregation'],
    isDefault: true,
    create: createClusterRoleAggregation,
  },
  {
    name: 'ttl-after-finished-controller',
    serviceAccount: 'ttl-after-finished-controller',
    aliases: ['ttl-after-finished'],
    isDefault: true,
    create: createTtlAfterFinished,
  },
  {
    name: 'persistentvolumeclaim-protection-controller',
    serviceAccount: 'pvc-protection-controller',
    aliases: ['pvc-protection'],
    isDefault: true,
    create: createClaimProtection,
  },
  {
    name: 'persistentvolume-protection-controller',
    serviceAccount: 'pv-protection-controller',
    aliases: ['pv-protection'],
    isDefault: true,
    create: createVolumeProtection,
  },
  {
    name: 'persistentvolume-binder-controller',
    serviceAccount: 'persistent-volume-binder',
    aliases: ['persistentvolume-binder'],
    isDefault: true,
    create: createVolumeBinder,
  },
  {
    name: 'namespace-controller',
    serviceAccount: 'namespace-controller',
    aliases: ['namespace'],
    isDefault: true,
    create: createNamespaceController,
  },
  {
    name: 'garbage-collector-controller',
    serviceAccount: 'generic-garbage-collector',
    aliases: ['garbagecollector'],
    isDefault: true,
    create: () => createGarbageCollector(),
  },
];

/** Upstream's controllers that tkadm does not have: "-name" is fine, "name" is refused. */
export const UNSUPPORTED_CONTROLLERS: readonly string[] = [
  'horizontal-pod-autoscaler-controller',
  'horizontalpodautoscaling',
  'endpointslice-mirroring-controller',
  'endpointslicemirroring',
  'ttl-controller',
  'ttl',
  'service-cidr-controller',
  'validatingadmissionpolicy-status-controller',
  'persistentvolume-attach-detach-controller',
  'attachdetach',
  'persistentvolume-expander-controller',
  'persistentvolume-expander',
  'ephemeral-volume-controller',
  'ephemeral-volume',
  'cloud-node-lifecycle-controller',
  'service-lb-controller',
  'node-route-controller',
  'resourceclaim-controller',
  'storage-version-migrator-controller',
];

/**
 * The rows that `--controllers` asks for: "*", "name", "-name"; the first entry for a name counts.
 * @throws UNSUPPORTED naming an entry that is no controller.
 */
export function selectControllers(entries: readonly string[]): readonly ControllerRow[] {
  for (const entry of entries) {
    const name = entry.replace(/^-/, '');
    const isKnown = entry === '*' || CONTROLLERS.some((row) => namesOf(row).includes(name));
    if (isKnown || (entry.startsWith('-') && UNSUPPORTED_CONTROLLERS.includes(name))) continue;
    throw new TkadmError('UNSUPPORTED', `Cannot use flag "--controllers": there is no controller "${name}"`);
  }
  return CONTROLLERS.filter((row) => {
    const names = namesOf(row);
    const entry = entries.find((text) => names.includes(text.replace(/^-/, '')));
    if (entry !== undefined) return !entry.startsWith('-');
    return entries.includes('*') && row.isDefault;
  });
}

function namesOf({ name, aliases = [] }: ControllerRow): readonly string[] {
  return [name, ...aliases];
}
