import { createHash } from 'node:crypto';

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
