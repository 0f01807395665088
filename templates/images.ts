import type { ClusterInput, EngineInput } from './input.ts';

/** Images whose version is not the cluster's (kubeadm 1.36). */
export const IMAGE_TAGS = { etcd: '3.6.8-0', coredns: 'v1.14.2', pause: '3.10.2' } as const;

const DEFAULT_REPOSITORY = 'registry.k8s.io';

/** Programs that this package has itself. */
const EMBEDDED: readonly string[] = [
  'kube-apiserver',
  'kube-controller-manager',
  'kube-scheduler',
  'kube-proxy',
  'coredns',
];

export type ImageComponent =
  | 'kube-apiserver'
  | 'kube-controller-manager'
  | 'kube-scheduler'
  | 'kube-proxy'
  | 'coredns'
  | 'etcd'
  | 'pause';

export interface ImageInput {
  readonly cluster: Pick<ClusterInput, 'kubernetesVersion' | 'imageRepository' | 'etcd' | 'dns'>;
  readonly tkadm: EngineInput;
}

/** The image of a component: "tkadm.local/kube-apiserver:v1.36.2", "registry.k8s.io/etcd:3.6.8-0". */
export function formatImage(component: ImageComponent, { cluster, tkadm }: ImageInput): string {
  const versionTag = cluster.kubernetesVersion.replaceAll('+', '_');
  if (tkadm.engine === 'embedded' && EMBEDDED.includes(component)) {
    return `${tkadm.imageRepository}/${component}:${versionTag}`;
  }
  switch (component) {
    case 'etcd': {
      const { imageRepository, imageTag } = cluster.etcd.local ?? {};
      return `${imageRepository ?? cluster.imageRepository}/etcd:${imageTag ?? IMAGE_TAGS.etcd}`;
    }
    case 'coredns': {
      const repository = cluster.dns.imageRepository ?? defaultDnsRepository(cluster.imageRepository);
      return `${repository}/coredns:${cluster.dns.imageTag ?? IMAGE_TAGS.coredns}`;
    }
    case 'pause':
      return `${cluster.imageRepository}/pause:${IMAGE_TAGS.pause}`;
    default:
      return `${cluster.imageRepository}/${component}:${versionTag}`;
  }
}

/** True for an image that comes with the node bundle: no registry has it. */
export function isBundledImage(image: string, { tkadm }: Pick<ImageInput, 'tkadm'>): boolean {
  return tkadm.engine === 'embedded' && image.startsWith(`${tkadm.imageRepository}/`);
}

/** The default registry alone has CoreDNS one level deeper. */
function defaultDnsRepository(repository: string): string {
  return repository === DEFAULT_REPOSITORY ? `${repository}/coredns` : repository;
}

/** Every image that a control-plane node needs, in the order of `config images list`. */
export function listImages(
  input: ImageInput & {
    readonly cluster: {
      readonly dns: { readonly disabled: boolean };
      readonly proxy: { readonly disabled: boolean };
    };
  },
): readonly string[] {
  const { cluster, tkadm } = input;
  const components: ImageComponent[] = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'];
  if (!cluster.proxy.disabled) components.push('kube-proxy');
  if (!cluster.dns.disabled) components.push('coredns');
  if (tkadm.engine === 'upstream') components.push('pause');
  if (tkadm.store === 'etcd' && !cluster.etcd.external) components.push('etcd');
  return components.map((component) => formatImage(component, input));
}
