import { dirname } from 'node:path';
import { CA_DIRECTORIES, type ControlPlaneInput, type HostFacts } from '../input.ts';
import { directoryMount, type Mount } from './pod.ts';

const CA_BUNDLES = '/etc/ssl/certs';

/** The host's CA bundles. */
export function caMounts({ caDirectories }: HostFacts): readonly Mount[] {
  return [
    directoryMount('ca-certs', CA_BUNDLES),
    ...caDirectories.map((path) => directoryMount(path.slice(1).replaceAll('/', '-'), path)),
  ];
}

/**
 * The directories of an external etcd's client files; one inside another, below the pki directory or among the
 * host's CA bundles, which are mounted anyway, is left out.
 */
export function externalEtcdMounts({ cluster }: ControlPlaneInput): readonly Mount[] {
  const { external } = cluster.etcd;
  if (!external) return [];
  const files = [external.caFile, external.certFile, external.keyFile].filter((file) => file !== '');
  const directories = [...new Set(files.map((file) => dirname(file)))].sort();
  const mounted = [cluster.certificatesDir, CA_BUNDLES, ...CA_DIRECTORIES];
  const isInside = (path: string, parent: string) => path === parent || path.startsWith(`${parent}/`);
  return directories
    .filter((path) => !mounted.some((parent) => isInside(path, parent)))
    .filter((path) => !directories.some((other) => other !== path && isInside(path, other)))
    .map((path, i) => directoryMount(`etcd-certs-${i}`, path));
}

/** The kubeconfig of a component, a file. */
export function kubeconfigMount(path: string): Mount {
  return { name: 'kubeconfig', hostPath: path, isReadOnly: true, pathType: 'FileOrCreate' };
}
