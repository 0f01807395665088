/** A kind of document that may stand in a configuration file. */
export interface DocumentKind {
  readonly kind: string;
  readonly group: string;
  /** The version that is read as it is. */
  readonly version: string;
  /** Versions that are read with a warning, after conversion. */
  readonly deprecatedVersions?: readonly string[];
}

/** Every kind of document, with its versions. */
export const DOCUMENT_KINDS = [
  { kind: 'InitConfiguration', group: 'kubeadm.k8s.io', version: 'v1beta4', deprecatedVersions: ['v1beta3'] },
  {
    kind: 'ClusterConfiguration',
    group: 'kubeadm.k8s.io',
    version: 'v1beta4',
    deprecatedVersions: ['v1beta3'],
  },
  { kind: 'JoinConfiguration', group: 'kubeadm.k8s.io', version: 'v1beta4', deprecatedVersions: ['v1beta3'] },
  { kind: 'ResetConfiguration', group: 'kubeadm.k8s.io', version: 'v1beta4' },
  { kind: 'UpgradeConfiguration', group: 'kubeadm.k8s.io', version: 'v1beta4' },
  { kind: 'KubeletConfiguration', group: 'kubelet.config.k8s.io', version: 'v1beta1' },
  { kind: 'KubeProxyConfiguration', group: 'kubeproxy.config.k8s.io', version: 'v1alpha1' },
  { kind: 'TkadmConfiguration', group: 'tkadm.io', version: 'v1alpha1' },
  { kind: 'Cluster', group: 'tkadm.io', version: 'v1alpha1' },
] as const satisfies readonly DocumentKind[];

export type DocumentKindName = (typeof DOCUMENT_KINDS)[number]['kind'];

/** Kinds of versions that are no longer read, which `config migrate` knows: "version/kind". */
export const MIGRATED_KINDS = ['v1alpha2/MasterConfiguration', 'v1alpha2/NodeConfiguration'] as const;

export type MigratedKind = (typeof MIGRATED_KINDS)[number];

/** The last kubeadm release that can migrate each version of its API that is no longer read. */
export const REMOVED_VERSIONS: Readonly<Record<string, string>> = {
  v1alpha1: 'v1.11',
  v1alpha2: 'v1.12',
  v1alpha3: 'v1.14',
  v1beta1: 'v1.15',
  v1beta2: 'v1.22',
};

/** "kubeadm.k8s.io/v1beta4" */
export function apiVersionOf(kind: DocumentKindName): string {
  const row = DOCUMENT_KINDS.find((candidate) => candidate.kind === kind)!;
  return `${row.group}/${row.version}`;
}
