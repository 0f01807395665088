import { createHash } from 'node:crypto';

/**
 * UID and `kubernetes.io/config.hash` of a static pod: MD5 over the node, the manifest's path and its content, in
 * hexadecimal. An upgrade computes with the new version what the old agent will say: it never changes.
 */
export function hashStaticPod(
  object: unknown,
  { path, nodeName }: { readonly path: string; readonly nodeName: string },
): string {
  const hash = createHash('md5');
  hash.update(`host:${nodeName}\nfile:${path}\n`);
  hash.update(JSON.stringify(object));
  return hash.digest('hex');
}
