import { CERTIFICATES, type CertificateRow } from '../../pki/certificates.ts';
import type { Host } from '../../runtime/base/host.ts';
import { KUBECONFIGS, type KubeconfigRow } from '../../templates/kubeconfig.ts';
import { hasLocalEtcd } from '../../templates/manifests/manifests.ts';
import type { CertsConfig } from './certs-config.ts';

/** Who reads a renewed file; the components do while they run. */
const READERS: Readonly<Record<string, string>> = {
  apiserver: 'kube-apiserver',
  'apiserver-kubelet-client': 'kube-apiserver',
  'front-proxy-client': 'kube-apiserver',
  'apiserver-etcd-client': 'kube-apiserver',
  'etcd-server': 'etcd',
  'etcd-peer': 'etcd',
  'etcd-healthcheck-client': 'etcdctl',
  'controller-manager.conf': 'kube-controller-manager',
  'scheduler.conf': 'kube-scheduler',
  'admin.conf': 'kubectl',
  'super-admin.conf': 'kubectl',
};

/** A certificate that `certs renew` can name: a leaf's files, or a kubeconfig with its client certificate. */
export type CertsTarget = {
  readonly name: string;
  readonly path: string;
  readonly caName: string;
  readonly reader: string;
} & ({ readonly certificate: CertificateRow } | { readonly kubeconfig: KubeconfigRow });

/** The names that `certs renew` takes, sorted. kubelet.conf is not one: the agent renews its own certificate. */
export const RENEWABLE_NAMES: readonly string[] = Object.keys(READERS).sort();

/** Every target of a machine, by name; those of an etcd only where there is one. */
export async function listTargets(host: Host, config: CertsConfig): Promise<readonly CertsTarget[]> {
  const { certificatesDir, kubernetesDir } = config;
  const usesEtcd =
    hasLocalEtcd(config.config) || (await host.stat(`${certificatesDir}/etcd/ca.crt`)) !== undefined;
  const leaves = CERTIFICATES.flatMap((row: CertificateRow): CertsTarget[] =>
    row.issuer === undefined || (row.isEtcd && !usesEtcd)
      ? []
      : [
          {
            name: row.name,
            path: `${certificatesDir}/${row.baseName}.crt`,
            caName: row.issuer,
            reader: READERS[row.name]!,
            certificate: row,
          },
        ],
  );
  const files = KUBECONFIGS.filter((row) => row.name !== 'kubelet').map(
    (row): CertsTarget => ({
      name: row.fileName,
      path: `${kubernetesDir}/${row.fileName}`,
      caName: 'ca',
      reader: READERS[row.fileName]!,
      kubeconfig: row,
    }),
  );
  return [...leaves, ...files].sort((a, b) => (a.name < b.name ? -1 : 1));
}
