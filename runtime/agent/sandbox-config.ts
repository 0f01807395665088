import type { InitOf } from '../base/protobuf.ts';
import type { PodSandboxConfig } from '../cri/messages/sandbox.ts';
import type { DnsSettings } from './dns.ts';
import { buildPodResources } from './linux-resources.ts';
import { type AgentPod, podCgroup } from './pod.ts';
import { LABELS } from './runtime-state.ts';
import { buildSandboxSecurity } from './security.ts';
import type { IdRange } from './user-namespaces.ts';

export interface SandboxConfigOptions {
  readonly attempt: number;
  readonly dns: DnsSettings;
  readonly logDirectory: string;
  readonly nodeHostname: string;
  readonly clusterDomain: string;
  readonly podPidsLimit: number;
  /** The ids of a pod with a user namespace. */
  readonly idRange?: IdRange | undefined;
}

const MAX_HOSTNAME = 63;

/** The CRI description of a pod's sandbox. */
export function buildSandboxConfig(
  pod: AgentPod,
  options: SandboxConfigOptions,
): InitOf<typeof PodSandboxConfig> {
  const { name, namespace, uid } = pod.metadata;
  return {
    metadata: { name, namespace, uid, attempt: options.attempt },
    hostname: pod.spec.hostNetwork ? options.nodeHostname : podHostname(pod, options.clusterDomain),
    logDirectory: options.logDirectory,
    dnsConfig: {
      servers: [...options.dns.servers],
      searches: [...options.dns.searches],
      options: [...options.dns.options],
    },
    portMappings: pod.spec.hostNetwork ? [] : buildPortMappings(pod),
    labels: {
      ...pod.metadata.labels,
      [LABELS.podName]: name,
      [LABELS.podNamespace]: namespace,
      [LABELS.podUid]: uid,
    },
    annotations: { ...pod.metadata.annotations },
    linux: {
      cgroupParent: podCgroup(pod),
      securityContext: buildSandboxSecurity(pod, options.idRange),
      sysctls: Object.fromEntries(
        (pod.spec.securityContext?.sysctls ?? []).map((sysctl) => [sysctl.name, sysctl.value]),
      ),
      resources: buildPodResources(pod, options.podPidsLimit),
    },
  };
}

/** The name that a pod's processes see: spec.hostname or the pod's name, cut to 63 characters. */
function podHostname(pod: AgentPod, clusterDomain: string): string {
  const short = truncate(pod.spec.hostname || pod.metadata.name);
  if (pod.spec.setHostnameAsFQDN && pod.spec.subdomain && clusterDomain) {
    return `${short}.${podDomain(pod, clusterDomain)}`;
  }
  return short;
}

/** "subdomain.namespace.svc.cluster.local", or undefined without a subdomain. */
function podDomain(pod: AgentPod, clusterDomain: string): string | undefined {
  if (!pod.spec.subdomain || !clusterDomain) return undefined;
  return `${pod.spec.subdomain}.${pod.metadata.namespace}.svc.${clusterDomain}`;
}

function truncate(name: string): string {
  return name.slice(0, MAX_HOSTNAME).replace(/[-.]+$/, '');
}

function buildPortMappings(pod: AgentPod) {
  const containers = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
  return containers.flatMap((container) =>
    (container.ports ?? [])
      .filter((port) => port.hostPort)
      .map((port) => ({
        protocol: (port.protocol ?? 'TCP') as 'TCP' | 'UDP' | 'SCTP',
        containerPort: port.containerPort,
        hostPort: port.hostPort ?? 0,
        hostIp: port.hostIP ?? '',
      })),
  );
}

/** The content of a pod's /etc/hosts. */
export function buildHostsFile(
  pod: AgentPod,
  options: { readonly ips: readonly string[]; readonly clusterDomain: string; readonly hostFile: string },
): string {
  const aliases = (pod.spec.hostAliases ?? []).map(
    ({ ip, hostnames }) => `${ip}\t${(hostnames ?? []).join('\t')}`,
  );
  const aliasText = aliases.length > 0 ? `\n# Entries added by HostAliases.\n${aliases.join('\n')}\n` : '';
  if (pod.spec.hostNetwork) {
    return `# Kubernetes-managed hosts file (host network).\n${options.hostFile}${aliasText}`;
  }
  const hostname = podHostname({ ...pod, spec: { ...pod.spec, setHostnameAsFQDN: false } }, '');
  const domain = podDomain(pod, options.clusterDomain);
  const names = domain ? `${hostname}.${domain}\t${hostname}` : hostname;
  return `# Kubernetes-managed hosts file.
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::0\tip6-localnet
fe00::0\tip6-mcastprefix
fe00::1\tip6-allnodes
fe00::2\tip6-allrouters
${options.ips.map((ip) => `${ip}\t${names}\n`).join('')}${aliasText}`;
}
