import type { PersistentVolume, PersistentVolumeClaim } from 'kubernetes-types/core/v1.d.ts';
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES } from '../../api/kinds.ts';
import { event, remove, update, updateStatus } from '../component/action.ts';
import type { View } from '../component/view.ts';
import { findVolume, isReservedFor } from '../component/volume-match.ts';
import {
  type Controller,
  type ReconcileContext,
  type ReconcileResult,
  SETTLED,
  watch,
  watchSelf,
} from './controller.ts';

const BIND_COMPLETED = 'pv.kubernetes.io/bind-completed';
const BOUND_BY_CONTROLLER = 'pv.kubernetes.io/bound-by-controller';
const PROVISIONED_BY = 'pv.kubernetes.io/provisioned-by';
const PROVISIONER = 'volume.kubernetes.io/storage-provisioner';
const VOLUME = 'volume ';

/** Binds claims to the volumes there are; volumes are made by hand or by an external provisioner. */
export function createVolumeBinder(): Controller {
  return {
    name: 'persistentvolume-binder-controller',
    watches: [
      watchSelf(PERSISTENT_VOLUME_CLAIMS),
      watch(PERSISTENT_VOLUMES, ({ key, object }, view) => [VOLUME + key, ...claimsFor(object, view)]),
      watch(STORAGE_CLASSES, (_, view) =>
        view
          .list(PERSISTENT_VOLUME_CLAIMS)
          .filter((claim) => !claim.spec?.volumeName)
          .map(({ metadata }) => `${metadata?.namespace}/${metadata?.name}`),
      ),
      watch(PERSISTENT_VOLUME_CLAIMS, ({ object }) =>
        object.spec?.volumeName ? [VOLUME + object.spec.volumeName] : [],
      ),
    ],
    // One at a time, so that no volume is given away twice.
    workers: 1,
    reconcile: (key, context) =>
      key.startsWith(VOLUME)
        ? reconcileVolume(key.slice(VOLUME.length), context)
        : reconcileClaim(key, context),
  };
}

/** Claims that a change of the volume may help: the one it names, or all that wait. */
function claimsFor({ spec }: PersistentVolume, view: View): string[] {
  if (spec?.claimRef) return [`${spec.claimRef.namespace}/${spec.claimRef.name}`];
  return view
    .list(PERSISTENT_VOLUME_CLAIMS)
    .filter((claim) => !claim.spec?.volumeName)
    .map(({ metadata }) => `${metadata?.namespace}/${metadata?.name}`);
}

function reconcileClaim(key: string, { view }: ReconcileContext): ReconcileResult {
  const claim = view.get(PERSISTENT_VOLUME_CLAIMS, key);
  if (!claim?.spec || claim.metadata?.deletionTimestamp) return SETTLED;
  const { volumeName } = claim.spec;
  if (volumeName) {
    const volume = view.get(PERSISTENT_VOLUMES, volumeName);
    if (!volume || (volume.spec?.claimRef && !isReservedFor(volume, claim)))
      return { actions: markLost(claim) };
    return bind(claim, volume);
  }
  const volumes = view.list(PERSISTENT_VOLUMES);
  const reserved = volumes.find((volume) => volume.spec?.claimRef && isReservedFor(volume, claim));
  if (reserved) return bind(claim, reserved);
  const storageClass = view.get(STORAGE_CLASSES, claim.spec.storageClassName ?? '');
  const isDelayed = storageClass?.volumeBindingMode === 'WaitForFirstConsumer';
  const hasNode = claim.metadata?.annotations?.['volume.kubernetes.io/selected-node'] !== undefined;
  if (isDelayed && !hasNode) return SETTLED;
  const found = isDelayed ? undefined : findVolume(claim, volumes);
  if (found) return bind(claim, found);
  const provisioner = storageClass?.provisioner;
  if (!provisioner || provisioner === 'kubernetes.io/no-provisioner') return SETTLED;
  if (claim.metadata?.annotations?.[PROVISIONER] === provisioner) return SETTLED;
  const annotations = { ...claim.metadata?.annotations, [PROVISIONER]: provisioner };
  const message = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator.`;
  return {
    actions: [
      update(PERSISTENT_VOLUME_CLAIMS, { ...claim, metadata: { ...claim.metadata, annotations } }),
      event(PERSISTENT_VOLUME_CLAIMS, claim, 'Normal', 'ExternalProvisioning', message),
    ],
  };
}

function markLost(claim: PersistentVolumeClaim): ReconcileResult['actions'] {
  const wasBound = claim.metadata?.annotations?.[BIND_COMPLETED] !== undefined;
  if (!wasBound || claim.status?.phase === 'Lost') return [];
  return [
    updateStatus(PERSISTENT_VOLUME_CLAIMS, { ...claim, status: { ...claim.status, phase: 'Lost' } }),
    event(
      PERSISTENT_VOLUME_CLAIMS,
      claim,
      'Warning',
      'ClaimLost',
      'Bound claim has lost its PersistentVolume. Data on the volume is lost!',
    ),
  ];
}

/** The next of four steps: volume names claim, volume Bound, claim names volume, claim Bound. */
function bind(claim: PersistentVolumeClaim, volume: PersistentVolume): ReconcileResult {
  const { name = '', namespace = '', uid = '', resourceVersion = '' } = claim.metadata ?? {};
  if (volume.spec?.claimRef?.uid !== uid) {
    const claimRef = {
      apiVersion: 'v1',
      kind: 'PersistentVolumeClaim',
      name,
      namespace,
      uid,
      resourceVersion,
    };
    const annotations = { ...volume.metadata?.annotations, [BOUND_BY_CONTROLLER]: 'yes' };
    const metadata = { ...volume.metadata, ...(volume.spec?.claimRef ? {} : { annotations }) };
    return {
      actions: [update(PERSISTENT_VOLUMES, { ...volume, metadata, spec: { ...volume.spec, claimRef } })],
    };
  }
  const volumeName = volume.metadata?.name ?? '';
  if (claim.spec?.volumeName !== volumeName || !claim.metadata?.annotations?.[BIND_COMPLETED]) {
    const annotations = {
      ...claim.metadata?.annotations,
      [BIND_COMPLETED]: 'yes',
      ...(claim.spec?.volumeName ? {} : { [BOUND_BY_CONTROLLER]: 'yes' }),
    };
    const metadata = { ...claim.metadata, annotations };
    const spec = { ...claim.spec, volumeName };
    return { actions: [update(PERSISTENT_VOLUME_CLAIMS, { ...claim, metadata, spec })] };
  }
  if (claim.status?.phase === 'Bound') return SETTLED;
  const status = {
    ...claim.status,
    phase: 'Bound',
    accessModes: volume.spec?.accessModes ?? [],
    capacity: volume.spec?.capacity ?? {},
  };
  return { actions: [updateStatus(PERSISTENT_VOLUME_CLAIMS, { ...claim, status })] };
}

/** Phase of the volume by its claim; a released one is kept or deleted as its policy says. */
function reconcileVolume(name: string, { view }: ReconcileContext): ReconcileResult {
  const volume = view.get(PERSISTENT_VOLUMES, name);
  if (!volume || volume.metadata?.deletionTimestamp) return SETTLED;
  const reference = volume.spec?.claimRef;
  const claim = reference && view.get(PERSISTENT_VOLUME_CLAIMS, `${reference.namespace}/${reference.name}`);
  const isOwn = claim && (!reference.uid || claim.metadata?.uid === reference.uid);
  const phase = !reference?.uid ? 'Available' : isOwn ? 'Bound' : 'Released';
  const actions =
    volume.status?.phase === phase
      ? []
      : [updateStatus(PERSISTENT_VOLUMES, { ...volume, status: { ...volume.status, phase } })];
  // What a provisioner made is the provisioner's to delete.
  const isProvisioned = volume.metadata?.annotations?.[PROVISIONED_BY] !== undefined;
  if (phase === 'Released' && volume.spec?.persistentVolumeReclaimPolicy === 'Delete' && !isProvisioned) {
    return { actions: [...actions, remove(PERSISTENT_VOLUMES, volume)] };
  }
  return { actions };
}
