import type { KeyAlgorithm } from '../../pki/keys.ts';

/** A command-line argument or an environment variable; a name may occur more than once in a list. */
export interface NameValue {
  readonly name: string;
  readonly value: string;
}

export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: 'NoSchedule' | 'PreferNoSchedule' | 'NoExecute';
}

/** An environment variable of a control-plane container (core/v1 EnvVar). */
export interface EnvVar {
  readonly name: string;
  readonly value?: string;
  readonly valueFrom?: Readonly<Record<string, unknown>>;
}

/** A directory or file of the host in a control-plane container. */
export interface HostPathMount {
  readonly name: string;
  readonly hostPath: string;
  readonly mountPath: string;
  readonly readOnly?: boolean;
  readonly pathType?: string;
}

export interface NodeRegistration {
  /** The Node's name, lower case. */
  readonly name: string;
  /** "unix:///run/tkadm/runtime.sock" */
  readonly criSocket: string;
  /** What the Node gets; [] means none. */
  readonly taints: readonly Taint[];
  readonly kubeletExtraArgs: readonly NameValue[];
  readonly ignorePreflightErrors: readonly string[];
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSerial: boolean;
}

export interface LocalApiEndpoint {
  readonly advertiseAddress: string;
  readonly bindPort: number;
}

export interface BootstrapTokenConfig {
  /** "abcdef.0123456789abcdef" */
  readonly token: string;
  readonly description?: string;
  /** Nobody has chosen this token: it is random. */
  readonly isGenerated?: true;
  /** Go duration; "0s" means for ever. Without `expires` only. */
  readonly ttl?: string;
  /** RFC 3339 time. Without `ttl` only. */
  readonly expires?: string;
  readonly usages: readonly string[];
  readonly groups: readonly string[];
}

/** How long each step may take, in milliseconds. */
export interface Timeouts {
  readonly controlPlaneComponentHealthCheckMs: number;
  readonly kubeletHealthCheckMs: number;
  readonly kubernetesAPICallMs: number;
  readonly etcdAPICallMs: number;
  readonly tlsBootstrapMs: number;
  readonly discoveryMs: number;
  readonly upgradeManifestsMs: number;
}

/** The parts that apiServer, controllerManager and scheduler have in common. */
export interface ControlPlaneComponent {
  readonly extraArgs: readonly NameValue[];
  readonly extraVolumes: readonly HostPathMount[];
  readonly extraEnvs: readonly EnvVar[];
}

export interface ApiServerConfig extends ControlPlaneComponent {
  readonly certSANs: readonly string[];
}

export interface LocalEtcd {
  readonly imageRepository?: string;
  readonly imageTag?: string;
  readonly dataDir: string;
  readonly extraArgs: readonly NameValue[];
  readonly extraEnvs: readonly EnvVar[];
  readonly serverCertSANs: readonly string[];
  readonly peerCertSANs: readonly string[];
}

export interface ExternalEtcd {
  readonly endpoints: readonly string[];
  readonly httpEndpoints?: readonly string[];
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** What all control-plane nodes share; uploaded as the ConfigMap kube-system/kubeadm-config. */
export interface ClusterConfiguration {
  /** "v1.36.2" */
  readonly kubernetesVersion: string;
  readonly clusterName: string;
  readonly controlPlaneEndpoint?: string;
  readonly certificatesDir: string;
  readonly imageRepository: string;
  readonly networking: {
    readonly serviceSubnet: string;
    /** Comma-separated, one range per family; absent: the pod network chooses. */
    readonly podSubnet?: string;
    readonly dnsDomain: string;
  };
  readonly apiServer: ApiServerConfig;
  readonly controllerManager: ControlPlaneComponent;
  readonly scheduler: ControlPlaneComponent;
  /** Exactly one of the two. */
  readonly etcd: { readonly local?: LocalEtcd; readonly external?: ExternalEtcd };
  readonly dns: { readonly imageRepository?: string; readonly imageTag?: string; readonly disabled: boolean };
  readonly proxy: { readonly disabled: boolean };
  readonly featureGates: Readonly<Record<string, boolean>>;
  readonly encryptionAlgorithm: KeyAlgorithm;
  /** Go durations. */
  readonly certificateValidityPeriod: string;
  readonly caCertificateValidityPeriod: string;
}

/** A document whose fields are another program's; defaults of ours are filled in. */
export type ComponentDocument = Readonly<Record<string, unknown>>;

/** tkadm's own document, `apiVersion: tkadm.io/v1alpha1`, `kind: TkadmConfiguration`. */
export interface TkadmConfiguration {
  /** Which programs make the cluster: those of this package, or the images of registry.k8s.io. */
  readonly engine: 'embedded' | 'upstream';
  /** Where the embedded API server keeps its objects; the upstream engine has etcd alone. */
  readonly store: 'embedded' | 'etcd';
  /** Repository of the embedded programs' images. */
  readonly imageRepository: string;
}

/** Fields of every command's configuration. */
interface CommonConfig {
  readonly isDryRun: boolean;
  readonly skipPhases: readonly string[];
  readonly patchesDirectory?: string;
  readonly timeouts: Timeouts;
  readonly tkadm: TkadmConfiguration;
}

export interface InitConfig extends CommonConfig {
  readonly kind: 'InitConfiguration';
  readonly nodeRegistration: NodeRegistration;
  readonly localAPIEndpoint: LocalApiEndpoint;
  readonly bootstrapTokens: readonly BootstrapTokenConfig[];
  /** 32 bytes in hexadecimal. */
  readonly certificateKey?: string;
  readonly cluster: ClusterConfiguration;
  readonly kubelet: ComponentDocument;
  readonly kubeProxy: ComponentDocument;
  /** Whether the user gave the document; such a one survives upgrades. */
  readonly userSupplied: { readonly kubelet: boolean; readonly kubeProxy: boolean };
}

export interface BootstrapTokenDiscovery {
  readonly token: string;
  readonly apiServerEndpoint: string;
  readonly caCertHashes: readonly string[];
  readonly unsafeSkipCAVerification: boolean;
}

export interface JoinConfig extends CommonConfig {
  readonly kind: 'JoinConfiguration';
  readonly nodeRegistration: NodeRegistration;
  readonly caCertPath: string;
  /** Exactly one of bootstrapToken and file. */
  readonly discovery: {
    readonly bootstrapToken?: BootstrapTokenDiscovery;
    readonly file?: { readonly kubeConfigPath: string };
    readonly tlsBootstrapToken?: string;
  };
  /** Set when the node becomes a control-plane node. */
  readonly controlPlane?: { readonly localAPIEndpoint: LocalApiEndpoint; readonly certificateKey?: string };
}

export interface ResetConfig extends CommonConfig {
  readonly kind: 'ResetConfiguration';
  readonly criSocket: string;
  /** Absent: what the cluster's configuration says. */
  readonly certificatesDir?: string;
  readonly isForced: boolean;
  readonly shouldCleanTmpDir: boolean;
  readonly ignorePreflightErrors: readonly string[];
  readonly unmountFlags: readonly string[];
}

/** Options of `upgrade apply` and `upgrade node`. */
export interface UpgradeStep {
  readonly kubernetesVersion?: string;
  readonly allowExperimentalUpgrades: boolean;
  readonly allowRCUpgrades: boolean;
  readonly certificateRenewal: boolean;
  readonly etcdUpgrade: boolean;
  readonly forceUpgrade: boolean;
  readonly dryRun: boolean;
  readonly printConfig: boolean;
  readonly ignorePreflightErrors: readonly string[];
  readonly skipPhases: readonly string[];
  readonly patchesDirectory?: string;
  readonly imagePullPolicy: 'Always' | 'IfNotPresent' | 'Never';
  readonly imagePullSerial: boolean;
}

export interface UpgradeConfig extends CommonConfig {
  readonly kind: 'UpgradeConfiguration';
  readonly apply: UpgradeStep;
  readonly node: UpgradeStep;
  readonly plan: UpgradeStep;
  readonly diff: { readonly kubernetesVersion?: string; readonly contextLines: number };
}

/** The loaded configuration of each kind. */
export interface ConfigOfKind {
  readonly InitConfiguration: InitConfig;
  readonly JoinConfiguration: JoinConfig;
  readonly ResetConfiguration: ResetConfig;
  readonly UpgradeConfiguration: UpgradeConfig;
}

export type ConfigKind = keyof ConfigOfKind;

/** What the machine says, where the documents do not. */
export interface MachineDefaults {
  readonly hostname: string;
  /** The address of the interface of the default route. */
  readonly advertiseAddress: string;
  /** In its place when the first range of Services is of IPv6. */
  readonly advertiseAddressIpv6?: string | undefined;
  /** Name servers' file when systemd-resolved runs: "/run/systemd/resolve/resolv.conf". */
  readonly resolvConf?: string | undefined;
  /** Paths of the sockets of other container runtimes that are there. */
  readonly criSockets?: readonly string[] | undefined;
}
