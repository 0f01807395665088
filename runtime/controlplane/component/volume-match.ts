import type { PersistentVolume, PersistentVolumeClaim } from 'kubernetes-types/core/v1.d.ts';
import { isEmptySelector, matchesLabelSelector } from '../../api/label-selectors.ts';
import { quantityToNumber } from '../../api/quantity.ts';

/** The smallest free volume that satisfies the claim; one reserved for it goes before all. */
export function findVolume(
  claim: PersistentVolumeClaim,
  volumes: readonly PersistentVolume[],
): PersistentVolume | undefined {
  const reserved = volumes.find((volume) => isReservedFor(volume, claim));
  if (reserved) return reserved;
  return volumes
    .filter((volume) => !volume.spec?.claimRef && isSuitable(volume, claim))
    .sort((a, b) => capacityOf(a) - capacityOf(b))[0];
}

/** Whether the volume's claimRef names this claim (with its uid, or none yet). */
export function isReservedFor({ spec }: PersistentVolume, { metadata }: PersistentVolumeClaim): boolean {
  const reference = spec?.claimRef;
  return (
    reference?.name === metadata?.name &&
    reference?.namespace === metadata?.namespace &&
    (!reference?.uid || reference.uid === metadata?.uid)
  );
}

function isSuitable(volume: PersistentVolume, { spec }: PersistentVolumeClaim): boolean {
  const modes = volume.spec?.accessModes ?? [];
  return (
    !volume.metadata?.deletionTimestamp &&
    (volume.status?.phase === undefined ||
      volume.status.phase === 'Available' ||
      volume.status.phase === 'Pending') &&
    (volume.spec?.storageClassName ?? '') === (spec?.storageClassName ?? '') &&
    (volume.spec?.volumeMode ?? 'Filesystem') === (spec?.volumeMode ?? 'Filesystem') &&
    (spec?.accessModes ?? []).every((mode) => modes.includes(mode)) &&
    capacityOf(volume) >= quantityToNumber(spec?.resources?.requests?.['storage']) &&
    (isEmptySelector(spec?.selector) || matchesLabelSelector(spec?.selector, volume.metadata?.labels))
  );
}

function capacityOf({ spec }: PersistentVolume): number {
  return quantityToNumber(spec?.capacity?.['storage']);
}
