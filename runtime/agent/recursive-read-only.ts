import type { CriClient } from '../cri/client.ts';
import type { Container } from './pod.ts';

type VolumeMount = NonNullable<Container['volumeMounts']>[number] & { readonly recursiveReadOnly?: string };

/** True when a container leaves it to the node whether its mounts are read-only all the way down. */
export function asksIfPossible(container: Container): boolean {
  return (container.volumeMounts ?? []).some(
    (mount: VolumeMount) => mount.recursiveReadOnly === 'IfPossible',
  );
}

/** Whether the runtime handler can (CRI RuntimeHandlerFeatures). */
export async function canMountRecursively(cri: CriClient, handler: string): Promise<boolean> {
  const { runtimeHandlers } = await cri.status({});
  return runtimeHandlers.find(({ name }) => name === handler)?.features?.recursiveReadOnlyMounts ?? false;
}

/** Kubernetes' four answers as CRI's two: only mounts that are read-only and private can be. */
export function isRecursiveReadOnly(mount: VolumeMount, canRecursively: boolean): boolean {
  if (mount.recursiveReadOnly === 'Enabled') return true;
  const isPlain = (mount.readOnly ?? false) && (mount.mountPropagation ?? 'None') === 'None';
  return mount.recursiveReadOnly === 'IfPossible' && isPlain && canRecursively;
}
