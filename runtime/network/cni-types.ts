/** The parts of the CNI specification 1.0 that tkadm's plugin uses. */
export interface BridgeConfig {
  readonly cniVersion: string;
  readonly name: string;
  readonly type: 'tkadm-bridge';
  /** Name of the bridge, at most 15 characters. */
  readonly bridge: string;
  /** This node's pod addresses, "10.244.1.0/24". */
  readonly podCIDR: string;
  /** All pods' addresses: traffic to these keeps its source address. */
  readonly clusterCIDR?: string;
  readonly mtu?: number;
  /** nftables table of its rules, "tkadm-bridge" when not given: each bridge with rules needs its own. */
  readonly table?: string;
  readonly runtimeConfig?: { readonly portMappings?: readonly PortMapping[] };
}

export interface PortMapping {
  readonly hostPort: number;
  readonly containerPort: number;
  readonly protocol: string;
  readonly hostIP?: string;
}

/** One invocation: the CNI_* environment variables. */
export interface CniArguments {
  readonly containerId: string;
  /** Path of the network namespace, "/proc/123/ns/net". */
  readonly netns: string | undefined;
  readonly interfaceName: string;
}

/** Success result of ADD (CNI specification §5). */
export interface CniResult {
  readonly cniVersion: string;
  readonly interfaces: readonly { readonly name: string; readonly mac?: string; readonly sandbox?: string }[];
  readonly ips: readonly {
    readonly address: string;
    readonly gateway?: string;
    readonly interface?: number;
  }[];
  readonly routes: readonly { readonly dst: string; readonly gw?: string }[];
  readonly dns: Readonly<Record<string, never>>;
}
