import { KUBE_PROXY_SCHEMA, KUBELET_SCHEMA } from './component-schemas.ts';
import { CLUSTER_SCHEMA } from './fleet-schema.ts';
import type { DocumentKindName } from './kinds.ts';
import {
  anything,
  duration,
  fields,
  flag,
  integer,
  list,
  map,
  object,
  type Schema,
  taints,
  text,
} from './schema-parts.ts';

/** Arguments as v1beta4 writes them; v1beta3 has a mapping. */
const nameValues = list({ ...object({ name: text, value: text }), required: ['name'] });
const envVars = list({
  ...object({ name: text, value: text, valueFrom: map(anything) }),
  required: ['name'],
});
const volumes = list(object({ name: text, hostPath: text, mountPath: text, readOnly: flag, pathType: text }));
const component = { extraArgs: nameValues, extraVolumes: volumes, extraEnvs: envVars };
const nodeRegistration = object({
  ...fields(text, 'name criSocket imagePullPolicy'),
  taints,
  kubeletExtraArgs: nameValues,
  ignorePreflightErrors: list(text),
  imagePullSerial: flag,
});
const localAPIEndpoint = object({ advertiseAddress: text, bindPort: integer });
const patches = object({ directory: text });
const timeouts = object(
  fields(
    duration,
    `controlPlaneComponentHealthCheck kubeletHealthCheck kubernetesAPICall etcdAPICall tlsBootstrap discovery
    upgradeManifests`,
  ),
);
const upgradeNode = {
  ...fields(flag, 'certificateRenewal dryRun etcdUpgrade imagePullSerial'),
  ignorePreflightErrors: list(text),
  patches,
  skipPhases: list(text),
  imagePullPolicy: text,
};

const bootstrapTokens = list(
  object({
    ...fields(text, 'token description expires'),
    ttl: duration,
    usages: list(text),
    groups: list(text),
  }),
);
const discovery = {
  bootstrapToken: object({
    ...fields(text, 'token apiServerEndpoint'),
    caCertHashes: list(text),
    unsafeSkipCAVerification: flag,
  }),
  file: object({ kubeConfigPath: text }),
  tlsBootstrapToken: text,
};
const externalEtcd = { endpoints: list(text), ...fields(text, 'caFile certFile keyFile') };

/** The schema of each kind of document, without apiVersion and kind; unset fields are absent, not null. */
export const SCHEMAS = {
  InitConfiguration: object({
    bootstrapTokens,
    dryRun: flag,
    nodeRegistration,
    localAPIEndpoint,
    certificateKey: text,
    skipPhases: list(text),
    patches,
    timeouts,
  }),
  ClusterConfiguration: object({
    ...fields(
      text,
      'kubernetesVersion clusterName controlPlaneEndpoint certificatesDir imageRepository encryptionAlgorithm',
    ),
    networking: object(fields(text, 'serviceSubnet podSubnet dnsDomain')),
    apiServer: object({ ...component, certSANs: list(text) }),
    controllerManager: object(component),
    scheduler: object(component),
    etcd: object({
      local: object({
        ...fields(text, 'imageRepository imageTag dataDir'),
        extraArgs: nameValues,
        extraEnvs: envVars,
        serverCertSANs: list(text),
        peerCertSANs: list(text),
      }),
      external: object({ ...externalEtcd, httpEndpoints: list(text) }),
    }),
    dns: object({ imageRepository: text, imageTag: text, disabled: flag }),
    proxy: object({ disabled: flag }),
    featureGates: map(flag),
    certificateValidityPeriod: duration,
    caCertificateValidityPeriod: duration,
  }),
  JoinConfiguration: object({
    dryRun: flag,
    nodeRegistration,
    caCertPath: text,
    discovery: object(discovery),
    controlPlane: object({ localAPIEndpoint, certificateKey: text }),
    skipPhases: list(text),
    patches,
    timeouts,
  }),
  ResetConfiguration: object({
    ...fields(flag, 'cleanupTmpDir dryRun force'),
    ...fields(text, 'certificatesDir criSocket'),
    ...fields(list(text), 'ignorePreflightErrors skipPhases unmountFlags'),
    timeouts,
  }),
  UpgradeConfiguration: object({
    apply: object({
      ...upgradeNode,
      kubernetesVersion: text,
      ...fields(flag, 'allowExperimentalUpgrades allowRCUpgrades forceUpgrade printConfig'),
    }),
    node: object(upgradeNode),
    plan: object({
      kubernetesVersion: text,
      ...fields(flag, 'allowExperimentalUpgrades allowRCUpgrades dryRun etcdUpgrade printConfig'),
      ignorePreflightErrors: list(text),
    }),
    diff: object({ kubernetesVersion: text, contextLines: integer }),
    timeouts,
  }),
  KubeletConfiguration: KUBELET_SCHEMA,
  KubeProxyConfiguration: KUBE_PROXY_SCHEMA,
  TkadmConfiguration: object({
    engine: { type: 'string', enum: ['embedded', 'upstream'] },
    store: { type: 'string', enum: ['embedded', 'etcd'] },
    imageRepository: text,
  }),
  Cluster: CLUSTER_SCHEMA,
} as const satisfies Record<DocumentKindName, Schema>;

const oldComponent = { extraArgs: map(text), extraVolumes: volumes };
const oldNodeRegistration = object({
  ...fields(text, 'name criSocket imagePullPolicy'),
  taints,
  kubeletExtraArgs: map(text),
  ignorePreflightErrors: list(text),
});

/** Schemas of versions that are converted after reading, by version. */
export const OLD_SCHEMAS: Readonly<
  Record<string, Readonly<Partial<Record<DocumentKindName, Schema>>> | undefined>
> = {
  v1beta3: {
    InitConfiguration: object({
      bootstrapTokens,
      nodeRegistration: oldNodeRegistration,
      localAPIEndpoint,
      certificateKey: text,
      skipPhases: list(text),
      patches,
    }),
    ClusterConfiguration: object({
      ...fields(text, 'kubernetesVersion clusterName controlPlaneEndpoint certificatesDir imageRepository'),
      networking: object(fields(text, 'serviceSubnet podSubnet dnsDomain')),
      apiServer: object({ ...oldComponent, certSANs: list(text), timeoutForControlPlane: duration }),
      controllerManager: object(oldComponent),
      scheduler: object(oldComponent),
      etcd: object({
        local: object({
          ...fields(text, 'imageRepository imageTag dataDir'),
          extraArgs: map(text),
          serverCertSANs: list(text),
          peerCertSANs: list(text),
        }),
        external: object(externalEtcd),
      }),
      dns: object(fields(text, 'imageRepository imageTag')),
      featureGates: map(flag),
    }),
    JoinConfiguration: object({
      nodeRegistration: oldNodeRegistration,
      caCertPath: text,
      discovery: object({ ...discovery, timeout: duration }),
      controlPlane: object({ localAPIEndpoint, certificateKey: text }),
      skipPhases: list(text),
      patches,
    }),
  },
};
