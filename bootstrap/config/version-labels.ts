import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';

/** Names that stand for a version in the network: "stable", "latest-1.36", "ci/latest". */
const LABEL = /^(?:(?:ci|release)\/)?(?:stable|latest)(?:-1(?:\.(\d+))?)?$|^(?:ci|release)\//;
const OWN_MINOR = KUBERNETES_VERSION.split('.')[1]!;

export interface ResolvedVersion {
  /** "v1.36.2", or the text itself when it names no version. */
  readonly version: string;
  /** Why the version is another than was written. */
  readonly note?: string;
}

/**
 * The version that a text names: "1.36.2" → "v1.36.2". A label is never looked up in the network: one that may mean
 * the version of this package does, as kubeadm's do when it is offline.
 */
export function resolveVersion(text: string | undefined): ResolvedVersion {
  if (text === undefined || text === '') return { version: KUBERNETES_VERSION };
  const label = LABEL.exec(text);
  if (!label) return { version: /^\d/.test(text) ? `v${text}` : text };
  if (label[1] !== undefined && label[1] !== OWN_MINOR) return { version: text };
  const note = `"${text}" is not looked up in the network: ${KUBERNETES_VERSION}, the version of this package, is used`;
  return { version: KUBERNETES_VERSION, note };
}

/** True for a text of the form of a label. */
export function isVersionLabel(text: string): boolean {
  return LABEL.test(text);
}
