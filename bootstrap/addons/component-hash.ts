import { createHash } from 'node:crypto';
import type { KubeObject } from '../../runtime/api/kinds.ts';

const ANNOTATION = 'kubeadm.kubernetes.io/component-config.hash';

/**
 * The annotation that marks a generated configuration: the hash of the data's values in the order of their
 * keys. An upgrade replaces what still has its hash and keeps what a user changed.
 */
export function hashAnnotation(data: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const hash = createHash('sha256');
  for (const key of Object.keys(data).sort()) hash.update(data[key]!);
  return { [ANNOTATION]: `sha256:${hash.digest('hex')}` };
}

/** True for a ConfigMap that carries the hash of its own data: nobody has changed it. */
export function isGenerated(object: KubeObject): boolean {
  const { data } = object as { readonly data?: Readonly<Record<string, string>> };
  const found = object.metadata?.annotations?.[ANNOTATION];
  return found !== undefined && data !== undefined && hashAnnotation(data)[ANNOTATION] === found;
}
