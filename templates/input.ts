/** A command-line argument or an environment variable. */
export interface NameValue {
  readonly name: string;
  readonly value: string;
}

/** Settings that every control-plane component may get from the user. */
export interface ComponentInput {
  readonly extraArgs: readonly NameValue[];
  readonly extraVolumes: readonly {
    readonly name: string;
    readonly hostPath: string;
    readonly mountPath: string;
    readonly readOnly?: boolean;
    readonly pathType?: string;
  }[];
  readonly extraEnvs: readonly {
    readonly name: string;
    readonly value?: string;
    readonly valueFrom?: Readonly<Record<string, unknown>>;
  }[];
}

/** The cluster's configuration, as far as templates read it. */
export interface ClusterInput {
  readonly kubernetesVersion: string;
  readonly clusterName: string;
  readonly controlPlaneEndpoint?: string | undefined;
  readonly certificatesDir: string;
  readonly imageRepository: string;
  readonly networking: {
    readonly serviceSubnet: string;
    readonly podSubnet?: string | undefined;
    readonly dnsDomain: string;
  };
  readonly apiServer: ComponentInput;
  readonly controllerManager: ComponentInput;
  readonly scheduler: ComponentInput;
  readonly etcd: {
    readonly local?:
      | {
          readonly imageRepository?: string | undefined;
          readonly imageTag?: string | undefined;
          readonly dataDir: string;
          readonly extraArgs: readonly NameValue[];
          readonly extraEnvs: ComponentInput['extraEnvs'];
        }
      | undefined;
    readonly external?:
      | {
          readonly endpoints: readonly string[];
          readonly caFile: string;
          readonly certFile: string;
          readonly keyFile: string;
        }
      | undefined;
  };
  readonly dns: { readonly imageRepository?: string | undefined; readonly imageTag?: string | undefined };
}

/** Which programs make the cluster. */
export interface EngineInput {
  readonly engine: 'embedded' | 'upstream';
  readonly store: 'embedded' | 'etcd';
  /** Repository of the embedded programs' images. */
  readonly imageRepository: string;
}

/** What the files of a control-plane node depend on; the loaded configuration of init fits. */
export interface ControlPlaneInput {
  readonly nodeRegistration: { readonly name: string };
  readonly localAPIEndpoint: { readonly advertiseAddress: string; readonly bindPort: number };
  readonly cluster: ClusterInput;
  readonly tkadm: EngineInput;
  readonly timeouts: { readonly controlPlaneComponentHealthCheckMs: number };
}

/** What the machine decides about its manifests. */
export interface HostFacts {
  /** Directories of CA_DIRECTORIES that are there. */
  readonly caDirectories: readonly string[];
  /** Proxy variables of the installer's environment. */
  readonly proxyEnvs: readonly NameValue[];
  /** The CA's key is kept elsewhere, so that the controller manager signs nothing. */
  readonly isExternalCa: boolean;
  /** Digest of the node bundle that the embedded programs come from: another one is another pod. */
  readonly bundleId?: string | undefined;
  /** Members of an etcd cluster that the node joins: name → peer URL. */
  readonly etcdMembers?: readonly { readonly name: string; readonly peerUrl: string }[] | undefined;
}

/** Where distributions keep CA bundles, beside /etc/ssl/certs. */
export const CA_DIRECTORIES = [
  '/etc/pki/ca-trust',
  '/etc/pki/tls/certs',
  '/etc/ca-certificates',
  '/usr/share/ca-certificates',
  '/usr/local/share/ca-certificates',
] as const;

/** The proxy variables of an environment, in any case, sorted by name. */
export function selectProxyEnvs(env: Readonly<Record<string, string | undefined>>): readonly NameValue[] {
  return Object.entries(env)
    .filter(([name, value]) => name.toLowerCase().endsWith('_proxy') && value)
    .map(([name, value]) => ({ name, value: value! }))
    .sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Looks at a machine for what its manifests depend on. */
export async function readHostFacts(
  host: {
    stat(path: string): Promise<{ readonly kind: string } | undefined>;
  },
  options: {
    readonly certificatesDir: string;
    readonly env: Readonly<Record<string, string | undefined>>;
    readonly bundleId?: string | undefined;
  },
): Promise<HostFacts> {
  const { certificatesDir, env, bundleId } = options;
  const [caCert, caKey, ...found] = await Promise.all(
    [`${certificatesDir}/ca.crt`, `${certificatesDir}/ca.key`, ...CA_DIRECTORIES].map((path) =>
      host.stat(path),
    ),
  );
  return {
    caDirectories: CA_DIRECTORIES.filter((_, i) => found[i] !== undefined),
    proxyEnvs: selectProxyEnvs(env),
    isExternalCa: caCert !== undefined && caKey === undefined,
    ...(bundleId === undefined ? {} : { bundleId }),
  };
}
