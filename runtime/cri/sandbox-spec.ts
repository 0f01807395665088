import type { IdMappings } from '../container/id-mappings.ts';
import type { OciResources, OciSpec } from '../container/oci-spec.ts';
import { PAUSE_SECCOMP } from '../container/pause.ts';
import { buildDefaultSeccomp } from '../container/seccomp/default-profile.ts';
import { cgroupPath, OCI_VERSION } from './container-spec.ts';
import type { DNSConfig, LinuxSandboxSecurityContext, PodSandboxConfig } from './messages/sandbox.ts';
import { buildResources } from './resources.ts';
import { readUserNamespace } from './user-namespaces.ts';

/** The user and group of the usual pause image. */
const PAUSE_ID = 65_535;
/** The last to go, as with the kubelet. */
const PAUSE_OOM_SCORE = -998;

/** Parameters of a pod's own network: any user may bind low ports and send pings, as with containerd 2. */
function buildNetworkSysctls(mappings: IdMappings | undefined): Readonly<Record<string, string>> {
  const { containerID = 0, size = 2 ** 31 } = mappings?.gidMappings[0] ?? {};
  return {
    'net.ipv4.ip_unprivileged_port_start': '0',
    // Only ids that the user namespace has.
    'net.ipv4.ping_group_range': `${containerID} ${containerID + size - 1}`,
  };
}

/** Who makes the pause container. */
export interface SandboxRuntime {
  readonly isForeign: boolean;
  /** The lowest oom_score_adj that can be given. */
  readonly minOomScore: number;
}

/** The OCI runtime-spec of a sandbox's pause container, which holds the pod's namespaces. */
export function buildSandboxSpec(
  id: string,
  config: PodSandboxConfig,
  { isForeign, minOomScore }: SandboxRuntime = { isForeign: false, minOomScore: PAUSE_OOM_SCORE },
): OciSpec {
  const mappings = readUserNamespace(config.linux?.securityContext?.namespaceOptions);
  const options = config.linux?.securityContext?.namespaceOptions;
  const isHostNetwork = options?.network === 'NODE';
  return {
    ociVersion: OCI_VERSION,
    process: {
      args: ['/pause'],
      cwd: '/',
      env: ['PATH=/'],
      user: buildUser(config.linux?.securityContext),
      capabilities: {},
      noNewPrivileges: true,
      oomScoreAdj: Math.max(minOomScore, PAUSE_OOM_SCORE),
    },
    root: { path: 'rootfs', readonly: true },
    ...(!isHostNetwork && { hostname: config.hostname }),
    mounts: [{ destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] }],
    annotations: config.annotations,
    linux: {
      namespaces: [
        { type: 'mount' },
        ...(isHostNetwork ? [] : [{ type: 'network' } as const, { type: 'uts' } as const]),
        ...(options?.ipc === 'NODE' ? [] : [{ type: 'ipc' } as const]),
        ...(options?.pid === 'NODE' ? [] : [{ type: 'pid' } as const]),
        ...(mappings === undefined ? [] : [{ type: 'user' } as const]),
      ],
      ...mappings,
      cgroupsPath: cgroupPath(config.linux?.cgroupParent ?? '', id),
      resources: { ...buildResources(config.linux?.overhead), cpu: { shares: 2 } },
      // What another runtime does between the filter and the program needs more calls than the program.
      seccomp: isForeign ? buildDefaultSeccomp([]) : PAUSE_SECCOMP,
      sysctl: { ...(isHostNetwork ? {} : buildNetworkSysctls(mappings)), ...config.linux?.sysctls },
    },
  };
}

/** The one that is asked for, else nobody in particular, as in the usual pause image. */
function buildUser(security: LinuxSandboxSecurityContext | undefined) {
  const { runAsUser, runAsGroup, supplementalGroups = [] } = security ?? {};
  const uid = runAsUser?.value ?? PAUSE_ID;
  return { uid, gid: runAsGroup?.value ?? (runAsUser ? 0 : PAUSE_ID), additionalGids: supplementalGroups };
}

/**
 * Limits and shares of the pod's own cgroup, `cgroupParent`: CPU is shared between pods by them. undefined without a
 * parent or without resources; a kubelet has then written what it wants there.
 */
export function buildPodCgroup(config: PodSandboxConfig): OciResources | undefined {
  const { cgroupParent = '', resources } = config.linux ?? {};
  return cgroupParent === '' || resources === undefined ? undefined : buildResources(resources);
}

/** The text of resolv.conf(5); undefined when the host's is to be used. */
export function formatResolvConf(dns: DNSConfig | undefined): string | undefined {
  if (dns === undefined) return undefined;
  const { servers, searches, options } = dns;
  if (servers.length + searches.length + options.length === 0) return undefined;
  const lines = [
    ...servers.map((server) => `nameserver ${server}`),
    ...(searches.length > 0 ? [`search ${searches.join(' ')}`] : []),
    ...(options.length > 0 ? [`options ${options.join(' ')}`] : []),
  ];
  return `${lines.join('\n')}\n`;
}

/** The variables for CNI plugins that know Kubernetes. */
export function buildCniArgs(id: string, config: PodSandboxConfig): string {
  const { namespace = '', name = '', uid = '' } = config.metadata ?? {};
  return [
    'IgnoreUnknown=1',
    `K8S_POD_NAMESPACE=${namespace}`,
    `K8S_POD_NAME=${name}`,
    `K8S_POD_INFRA_CONTAINER_ID=${id}`,
    `K8S_POD_UID=${uid}`,
  ].join(';');
}

/** Capability arguments for CNI plugins (CNI conventions, and the annotations as other runtimes hand them on). */
export function buildCniRuntimeConfig(config: PodSandboxConfig): Readonly<Record<string, unknown>> {
  const portMappings = config.portMappings
    .filter((mapping) => mapping.hostPort > 0)
    .map(({ hostPort, containerPort, protocol, hostIp }) => ({
      hostPort,
      containerPort,
      protocol: protocol.toLowerCase(),
      hostIP: hostIp,
    }));
  const ingressRate = parseBandwidth(config.annotations['kubernetes.io/ingress-bandwidth']);
  const egressRate = parseBandwidth(config.annotations['kubernetes.io/egress-bandwidth']);
  const bandwidth = {
    ...(ingressRate && { ingressRate, ingressBurst: MAX_BURST_BITS }),
    ...(egressRate && { egressRate, egressBurst: MAX_BURST_BITS }),
  };
  const { servers = [], searches = [], options = [] } = config.dnsConfig ?? {};
  return {
    ...(portMappings.length > 0 && { portMappings }),
    ...(Object.keys(bandwidth).length > 0 && { bandwidth }),
    ...(config.dnsConfig && { dns: { servers, searches, options } }),
    cgroupPath: config.linux?.cgroupParent ?? '',
    'io.kubernetes.cri.pod-annotations': config.annotations,
  };
}

/** The bandwidth plugin's limit of a burst, 2 GiB in bits. */
const MAX_BURST_BITS = 2 ** 31 - 1;
const SUFFIXES: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
};

/** A Kubernetes quantity in bits per second, "10M" → 10000000. */
function parseBandwidth(text: string | undefined): number | undefined {
  const match = /^(\d+(?:\.\d+)?)(k|M|G|T|Ki|Mi|Gi|Ti)?$/.exec(text ?? '');
  return match ? Number(match[1]) * (SUFFIXES[match[2] ?? ''] ?? 1) : undefined;
}
