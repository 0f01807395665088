import { TkadmError } from '../base/errors.ts';

/** A full image reference: at least one of tag and digest is there. */
export interface ImageReference {
  /** "docker.io", "registry.k8s.io", "localhost:5000", "tkadm.local" */
  readonly registry: string;
  /** "library/busybox" */
  readonly repository: string;
  readonly tag: string | undefined;
  /** "sha256:<64 hex digits>" */
  readonly digest: string | undefined;
}

const DEFAULT_REGISTRY = 'docker.io';
const DEFAULT_TAG = 'latest';
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const REGISTRY =
  /^(?:\[[0-9a-fA-F:]+\]|[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*)(?::\d+)?$/;
/** The digest form of the OCI image-spec that tkadm supports (descriptor.md). */
export const SHA256_DIGEST = /^sha256:[0-9a-f]{64}$/;

/**
 * Parses an image name as Docker does (distribution/reference): "busybox" → docker.io/library/busybox:latest.
 * The first part is a registry when it has a dot or a colon, is "localhost" or has capital letters.
 * @throws IMAGE_REFERENCE_INVALID
 */
export function parseReference(text: string): ImageReference {
  const fail = (state: string) =>
    new TkadmError('IMAGE_REFERENCE_INVALID', `Cannot use image name "${text}": ${state}`);
  const at = text.indexOf('@');
  const digest = at < 0 ? undefined : text.slice(at + 1);
  if (digest !== undefined && !SHA256_DIGEST.test(digest)) throw fail(`"${digest}" is no sha256 digest`);
  const named = at < 0 ? text : text.slice(0, at);
  const colon = named.indexOf(':', named.lastIndexOf('/') + 1);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) throw fail(`"${tag}" is no tag`);
  const { registry, path } = splitRegistry(colon < 0 ? named : named.slice(0, colon));
  if (!REGISTRY.test(registry)) throw fail(`"${registry}" is no registry`);
  if (!path.split('/').every((component) => COMPONENT.test(component))) {
    throw fail(`"${path}" is no repository`);
  }
  const repository = registry === DEFAULT_REGISTRY && !path.includes('/') ? `library/${path}` : path;
  return { registry, repository, tag: tag ?? (digest ? undefined : DEFAULT_TAG), digest };
}

/** The full text: "docker.io/library/busybox:latest", with "@sha256:..." behind when there is a digest. */
export function formatReference(reference: ImageReference): string {
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = reference.digest === undefined ? '' : `@${reference.digest}`;
  return `${reference.registry}/${reference.repository}${tag}${digest}`;
}

/** `formatReference(parseReference(text))`. @throws IMAGE_REFERENCE_INVALID */
export function normalizeReference(text: string): string {
  return formatReference(parseReference(text));
}

function splitRegistry(name: string): { readonly registry: string; readonly path: string } {
  const slash = name.indexOf('/');
  const first = slash < 0 ? '' : name.slice(0, slash);
  const isRegistry = /[.:]/.test(first) || first === 'localhost' || /[A-Z]/.test(first);
  if (!isRegistry) return { registry: DEFAULT_REGISTRY, path: name };
  const registry = first === 'index.docker.io' ? DEFAULT_REGISTRY : first;
  return { registry, path: name.slice(slash + 1) };
}
