/** The directories and sockets of a node, as in kubeadm's layout, and tkadm's own beside them. */
export const PATHS = {
  kubernetes: '/etc/kubernetes',
  pki: '/etc/kubernetes/pki',
  manifests: '/etc/kubernetes/manifests',
  kubelet: '/var/lib/kubelet',
  podLogs: '/var/log/pods',
  containerLogs: '/var/log/containers',
  cniConfig: '/etc/cni/net.d',
  cniBin: '/opt/cni/bin',
  state: '/var/lib/tkadm',
  images: '/var/lib/tkadm/images',
  containers: '/var/lib/tkadm/containers',
  store: '/var/lib/tkadm/store',
  journal: '/var/lib/tkadm/journal',
  bundle: '/var/lib/tkadm/bundle',
  logs: '/var/log/tkadm',
  run: '/run/tkadm',
  runtimeSocket: '/run/tkadm/runtime.sock',
  imageSocket: '/run/tkadm/images.sock',
  ctrSocket: '/run/tkadm/ctr.sock',
} as const;

/** Sockets of other container runtimes, in the order in which kubeadm looks for them. */
export const OTHER_CRI_SOCKETS = [
  '/var/run/containerd/containerd.sock',
  '/var/run/crio/crio.sock',
  '/var/run/cri-dockerd.sock',
] as const;

/** Image names of the embedded components are this repository + component + ":" + Kubernetes version. */
export const EMBEDDED_IMAGE_REPOSITORY = 'tkadm.local';
