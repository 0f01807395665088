import type { PersistentVolume, Pod, PodSpec, Volume } from 'kubernetes-types/core/v1.d.ts';

/** Names of the objects in its own namespace that a pod needs at its node. */
export interface PodReferences {
  readonly serviceAccount: string;
  readonly secrets: ReadonlySet<string>;
  readonly configMaps: ReadonlySet<string>;
  readonly claims: ReadonlySet<string>;
  readonly resourceClaims: ReadonlySet<string>;
}

/** Everything that the pod's volumes, environment and image pulls refer to. */
export function collectPodReferences(pod: Pod): PodReferences {
  const secrets = new Set<string>();
  const configMaps = new Set<string>();
  const claims = new Set<string>();
  const add = (set: Set<string>, name: string | undefined) => {
    if (name) set.add(name);
  };
  for (const { name } of pod.spec?.imagePullSecrets ?? []) add(secrets, name);
  for (const volume of pod.spec?.volumes ?? []) {
    for (const name of volumeSecrets(volume)) add(secrets, name);
    add(configMaps, volume.configMap?.name);
    add(claims, volume.persistentVolumeClaim?.claimName);
    if (volume.ephemeral) add(claims, `${pod.metadata?.name}-${volume.name}`);
    for (const source of volume.projected?.sources ?? []) {
      add(secrets, source.secret?.name);
      add(configMaps, source.configMap?.name);
    }
  }
  for (const container of podContainers(pod.spec)) {
    for (const { secretRef, configMapRef } of container.envFrom ?? []) {
      add(secrets, secretRef?.name);
      add(configMaps, configMapRef?.name);
    }
    for (const { valueFrom } of container.env ?? []) {
      add(secrets, valueFrom?.secretKeyRef?.name);
      add(configMaps, valueFrom?.configMapKeyRef?.name);
    }
  }
  return {
    serviceAccount: pod.spec?.serviceAccountName ?? '',
    secrets,
    configMaps,
    claims,
    resourceClaims: collectResourceClaims(pod),
  };
}

/** Containers of every sort. */
export function podContainers(
  spec: PodSpec | undefined,
): readonly NonNullable<PodSpec['containers'] | PodSpec['ephemeralContainers']>[number][] {
  return [...(spec?.initContainers ?? []), ...(spec?.containers ?? []), ...(spec?.ephemeralContainers ?? [])];
}

function collectResourceClaims(pod: Pod): ReadonlySet<string> {
  const spec = pod.spec as { resourceClaims?: readonly { resourceClaimName?: string }[] } | undefined;
  const status = pod.status as
    | { resourceClaimStatuses?: readonly { resourceClaimName?: string }[] }
    | undefined;
  const entries = [...(spec?.resourceClaims ?? []), ...(status?.resourceClaimStatuses ?? [])];
  return new Set(entries.flatMap(({ resourceClaimName }) => resourceClaimName ?? []));
}

function volumeSecrets(volume: Volume): readonly (string | undefined)[] {
  return [
    volume.secret?.secretName,
    volume.azureFile?.secretName,
    volume.cephfs?.secretRef?.name,
    volume.cinder?.secretRef?.name,
    volume.csi?.nodePublishSecretRef?.name,
    volume.flexVolume?.secretRef?.name,
    volume.iscsi?.secretRef?.name,
    volume.rbd?.secretRef?.name,
    volume.scaleIO?.secretRef?.name,
    volume.storageos?.secretRef?.name,
  ];
}

/** Secrets that a volume's driver needs at the node, as "namespace/name". */
export function collectVolumeSecrets(volume: PersistentVolume): readonly string[] {
  const spec = volume.spec;
  const claimNamespace = spec?.claimRef?.namespace ?? '';
  const references = [
    spec?.csi?.nodePublishSecretRef,
    spec?.csi?.nodeStageSecretRef,
    spec?.csi?.nodeExpandSecretRef,
    spec?.cephfs?.secretRef,
    spec?.cinder?.secretRef,
    spec?.flexVolume?.secretRef,
    spec?.iscsi?.secretRef,
    spec?.rbd?.secretRef,
    spec?.scaleIO?.secretRef,
    spec?.azureFile && { name: spec.azureFile.secretName, namespace: spec.azureFile.secretNamespace },
  ];
  return references.flatMap((reference) =>
    reference?.name ? [`${reference.namespace ?? claimNamespace}/${reference.name}`] : [],
  );
}
