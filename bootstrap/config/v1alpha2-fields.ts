import { KUBERNETES_VERSION } from '../../runtime/base/version.ts';
import { isMapping } from './fields.ts';
import type { DocumentKindName } from './kinds.ts';
import { toArgumentList } from './migrate.ts';
import { isDeployable } from './validate.ts';
import { describeRetiredGate, isFeatureGate } from './validate-gates.ts';
import { resolveVersion } from './version-labels.ts';

/** A converted value; without one the field is dropped, for the reason in `note`. */
interface Converted {
  readonly value?: unknown;
  readonly note?: string;
}

/** Where a field of kubeadm.k8s.io/v1alpha2 has gone. */
export type OldField =
  | {
      /** Dotted path. */
      readonly from: string;
      readonly to: DocumentKindName;
      /** Default: as it was; "" means the whole document. */
      readonly path?: string;
      readonly convert?: (value: unknown) => Converted;
      /** A switch without which the field has no meaning. */
      readonly needs?: string;
    }
  | { readonly from: string; readonly dropped: string };

const INIT = 'InitConfiguration';
const CLUSTER = 'ClusterConfiguration';
const JOIN = 'JoinConfiguration';

const toArguments = (value: unknown): Converted => ({ value: toArgumentList(value) });

/** `writable` has become its opposite, `readOnly`. */
const toVolumes = (value: unknown): Converted => ({
  value: Array.isArray(value)
    ? value.map((item) => {
        if (!isMapping(item)) return item;
        const { writable, ...volume } = item;
        return { ...volume, readOnly: writable !== true };
      })
    : value,
});

function nodeFields(to: DocumentKindName): readonly OldField[] {
  return [
    { from: 'nodeRegistration.name', to },
    { from: 'nodeRegistration.criSocket', to, convert: convertSocket },
    { from: 'nodeRegistration.taints', to, convert: convertTaints },
    { from: 'nodeRegistration.kubeletExtraArgs', to, convert: toArguments },
  ];
}

function componentFields(old: string, name: string): readonly OldField[] {
  return [
    { from: `${old}ExtraArgs`, to: CLUSTER, path: `${name}.extraArgs`, convert: toArguments },
    { from: `${old}ExtraVolumes`, to: CLUSTER, path: `${name}.extraVolumes`, convert: toVolumes },
  ];
}

/** Every field of a MasterConfiguration. */
export const MASTER_FIELDS: readonly OldField[] = [
  { from: 'bootstrapTokens', to: INIT },
  ...nodeFields(INIT),
  { from: 'api.advertiseAddress', to: INIT, path: 'localAPIEndpoint.advertiseAddress' },
  { from: 'api.bindPort', to: INIT, path: 'localAPIEndpoint.bindPort' },
  { from: 'api.controlPlaneEndpoint', to: CLUSTER, path: 'controlPlaneEndpoint' },
  { from: 'kubeProxy.config', to: 'KubeProxyConfiguration', path: '' },
  { from: 'kubeletConfiguration.baseConfig', to: 'KubeletConfiguration', path: '' },
  {
    from: 'etcd.local.image',
    dropped: 'etcd.local.imageRepository and imageTag name the image now; the version brings its own',
  },
  ...['dataDir', 'serverCertSANs', 'peerCertSANs'].map(
    (name): OldField => ({ from: `etcd.local.${name}`, to: CLUSTER }),
  ),
  { from: 'etcd.local.extraArgs', to: CLUSTER, convert: toArguments },
  ...['endpoints', 'caFile', 'certFile', 'keyFile'].map(
    (name): OldField => ({ from: `etcd.external.${name}`, to: CLUSTER }),
  ),
  ...['serviceSubnet', 'podSubnet', 'dnsDomain'].map(
    (name): OldField => ({ from: `networking.${name}`, to: CLUSTER }),
  ),
  { from: 'kubernetesVersion', to: CLUSTER, convert: convertVersion },
  ...componentFields('apiServer', 'apiServer'),
  ...componentFields('controllerManager', 'controllerManager'),
  ...componentFields('scheduler', 'scheduler'),
  { from: 'apiServerCertSANs', to: CLUSTER, path: 'apiServer.certSANs' },
  { from: 'certificatesDir', to: CLUSTER },
  { from: 'imageRepository', to: CLUSTER, convert: convertRepository },
  {
    from: 'unifiedControlPlaneImage',
    dropped: 'one image for all components is not made any more; imageRepository names their repository',
  },
  ...['path', 'logDir', 'logMaxAge'].map(
    (name): OldField => ({
      from: `auditPolicy.${name}`,
      dropped:
        'write apiServer.extraArgs audit-policy-file, audit-log-path and audit-log-maxage, and a volume for them',
    }),
  ),
  { from: 'featureGates', to: CLUSTER, convert: convertGates },
  { from: 'clusterName', to: CLUSTER },
];

const BOOTSTRAP = 'discovery.bootstrapToken';

/** Every field of a NodeConfiguration. `token` is for both purposes, the two others for one each. */
export const NODE_FIELDS: readonly OldField[] = [
  ...nodeFields(JOIN),
  { from: 'caCertPath', to: JOIN },
  { from: 'discoveryFile', to: JOIN, path: 'discovery.file.kubeConfigPath' },
  { from: 'token', to: JOIN, path: `${BOOTSTRAP}.token` },
  { from: 'discoveryToken', to: JOIN, path: `${BOOTSTRAP}.token` },
  { from: 'tlsBootstrapToken', to: JOIN, path: 'discovery.tlsBootstrapToken' },
  {
    from: 'discoveryTokenAPIServers',
    to: JOIN,
    path: `${BOOTSTRAP}.apiServerEndpoint`,
    convert: convertServers,
  },
  { from: 'discoveryTokenCACertHashes', to: JOIN, path: `${BOOTSTRAP}.caCertHashes` },
  {
    from: 'discoveryTokenUnsafeSkipCAVerification',
    to: JOIN,
    path: `${BOOTSTRAP}.unsafeSkipCAVerification`,
    convert: (value) => (value === false ? { note: 'dropped: it is the default' } : { value }),
  },
  { from: 'discoveryTimeout', to: JOIN, path: 'timeouts.discovery' },
  { from: 'controlPlane', to: JOIN, convert: convertSwitch },
  ...['advertiseAddress', 'bindPort'].map(
    (name): OldField => ({
      from: name,
      to: JOIN,
      path: `controlPlane.localAPIEndpoint.${name}`,
      needs: 'controlPlane',
    }),
  ),
  { from: 'clusterName', dropped: 'a node reads the name from the cluster' },
  { from: 'featureGates', dropped: "they are the cluster's alone now" },
];

function convertSwitch(value: unknown): Converted {
  return value === true ? { value: {} } : { note: 'dropped: it is the default' };
}

function convertSocket(value: unknown): Converted {
  return String(value).includes('dockershim')
    ? { note: 'dropped: Kubernetes has no dockershim since 1.24; the runtime of this package is used' }
    : { value };
}

function convertTaints(value: unknown): Converted {
  const old = 'node-role.kubernetes.io/master';
  if (!Array.isArray(value) || !value.some((taint) => isMapping(taint) && taint['key'] === old)) {
    return { value };
  }
  return {
    value: value.map((taint) =>
      isMapping(taint) && taint['key'] === old
        ? { ...taint, key: 'node-role.kubernetes.io/control-plane' }
        : taint,
    ),
    note: `the key "${old}" has become "node-role.kubernetes.io/control-plane"`,
  };
}

function convertVersion(value: unknown): Converted {
  const { version } = resolveVersion(String(value));
  if (isDeployable(version)) return { value: version };
  return {
    note: `dropped: "${String(value)}" cannot be deployed any more; the default is ${KUBERNETES_VERSION}`,
  };
}

function convertRepository(value: unknown): Converted {
  return /^(k8s\.gcr\.io|gcr\.io\/google_containers)$/.test(String(value))
    ? { note: `dropped: "${String(value)}" is frozen; the default is registry.k8s.io` }
    : { value };
}

function convertGates(value: unknown): Converted {
  if (!isMapping(value)) return { value };
  const kept = Object.entries(value).filter(([name]) => isFeatureGate(name));
  const notes = Object.keys(value)
    .filter((name) => !isFeatureGate(name))
    .map((name) => `"${name}" is dropped: ${describeRetiredGate(name) ?? 'no such gate is known'}`);
  return {
    ...(kept.length > 0 ? { value: Object.fromEntries(kept) } : {}),
    ...(notes.length > 0 ? { note: notes.join('; ') } : {}),
  };
}

function convertServers(value: unknown): Converted {
  if (!Array.isArray(value)) return { value };
  const [first, ...others] = value as readonly unknown[];
  return {
    value: first,
    ...(others.length > 0 ? { note: `only the first is kept; dropped: ${others.join(', ')}` } : {}),
  };
}
