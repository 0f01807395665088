import type { KubeObject } from '../../api/kinds.ts';

/** What the objects that the server itself creates depend on. */
export interface SystemObjectOptions {
  /** Of all API servers of the cluster, of one IP family. */
  readonly serverAddresses: readonly string[];
  readonly securePort: number;
  readonly serviceCidrs: readonly string[];
  readonly kubernetesServiceIp: string;
  readonly clientCaPem: string | undefined;
  readonly requestHeader:
    | {
        readonly caPem: string;
        readonly allowedNames: readonly string[];
        readonly extraPrefixes: readonly string[];
        readonly groupHeaders: readonly string[];
        readonly usernameHeaders: readonly string[];
      }
    | undefined;
}

/** An object of the server's own; `keepsRight` also repairs what others changed. */
export interface SystemObject {
  readonly object: KubeObject & Record<string, unknown>;
  readonly keepsRight: boolean;
}

const KUBERNETES = { name: 'kubernetes', namespace: 'default' } as const;
const NAMESPACES = ['default', 'kube-system', 'kube-public', 'kube-node-lease'];
const PRIORITIES = [
  [
    'system-cluster-critical',
    2_000_000_000,
    'Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.',
  ],
  [
    'system-node-critical',
    2_000_001_000,
    'Used for system critical pods that must not be moved from their current node.',
  ],
] as const;

/** The namespaces that always exist. */
export function buildSystemNamespaces(): readonly SystemObject[] {
  return NAMESPACES.map((name) => ({
    object: { apiVersion: 'v1', kind: 'Namespace', metadata: { name } },
    keepsRight: false,
  }));
}

/** What kube-apiserver creates when it starts, beside the namespaces and the RBAC policy. */
export function buildSystemObjects(options: SystemObjectOptions): readonly SystemObject[] {
  const { securePort, serviceCidrs } = options;
  return [
    ...PRIORITIES.map(([name, value, description]) => ({
      object: {
        apiVersion: 'scheduling.k8s.io/v1',
        kind: 'PriorityClass',
        metadata: { name },
        value,
        description,
      },
      keepsRight: false,
    })),
    {
      object: {
        apiVersion: 'networking.k8s.io/v1',
        kind: 'ServiceCIDR',
        metadata: { name: 'kubernetes' },
        spec: { cidrs: serviceCidrs },
      },
      keepsRight: false,
    },
    {
      object: {
        apiVersion: 'v1',
        kind: 'Service',
        metadata: { ...KUBERNETES, labels: { component: 'apiserver', provider: 'kubernetes' } },
        spec: {
          type: 'ClusterIP',
          clusterIP: options.kubernetesServiceIp,
          clusterIPs: [options.kubernetesServiceIp],
          ipFamilies: [addressTypeOf(options)],
          ipFamilyPolicy: 'SingleStack',
          ports: [{ name: 'https', port: 443, protocol: 'TCP', targetPort: securePort }],
          sessionAffinity: 'None',
        },
      },
      keepsRight: false,
    },
    ...buildServerEndpoints(options),
    { object: buildAuthenticationConfigMap(options), keepsRight: true },
  ];
}

/** Where Service default/kubernetes leads. */
export function buildServerEndpoints(
  options: Pick<SystemObjectOptions, 'serverAddresses' | 'securePort'>,
): readonly SystemObject[] {
  const { serverAddresses, securePort } = options;
  const ports = [{ name: 'https', port: securePort, protocol: 'TCP' }];
  return [
    {
      object: {
        apiVersion: 'v1',
        kind: 'Endpoints',
        metadata: { ...KUBERNETES, labels: { 'endpointslice.kubernetes.io/skip-mirror': 'true' } },
        subsets: [{ addresses: serverAddresses.map((ip) => ({ ip })), ports }],
      },
      keepsRight: true,
    },
    {
      object: {
        apiVersion: 'discovery.k8s.io/v1',
        kind: 'EndpointSlice',
        metadata: { ...KUBERNETES, labels: { 'kubernetes.io/service-name': 'kubernetes' } },
        addressType: addressTypeOf(options),
        endpoints: serverAddresses.map((address) => ({ addresses: [address], conditions: { ready: true } })),
        ports,
      },
      keepsRight: true,
    },
  ];
}

function addressTypeOf({ serverAddresses }: Pick<SystemObjectOptions, 'serverAddresses'>): 'IPv4' | 'IPv6' {
  return serverAddresses[0]?.includes(':') ? 'IPv6' : 'IPv4';
}

function buildAuthenticationConfigMap(options: SystemObjectOptions): SystemObject['object'] {
  const { clientCaPem, requestHeader } = options;
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: { name: 'extension-apiserver-authentication', namespace: 'kube-system' },
    data: {
      ...(clientCaPem ? { 'client-ca-file': clientCaPem } : {}),
      ...(requestHeader
        ? {
            'requestheader-allowed-names': JSON.stringify(requestHeader.allowedNames),
            'requestheader-client-ca-file': requestHeader.caPem,
            'requestheader-extra-headers-prefix': JSON.stringify(requestHeader.extraPrefixes),
            'requestheader-group-headers': JSON.stringify(requestHeader.groupHeaders),
            'requestheader-username-headers': JSON.stringify(requestHeader.usernameHeaders),
          }
        : {}),
    },
  };
}
