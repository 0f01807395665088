import type { AgentPod } from './pod.ts';

/** The lines of resolv.conf(5) that a pod is given. */
export interface DnsSettings {
  readonly servers: readonly string[];
  readonly searches: readonly string[];
  readonly options: readonly string[];
}

export interface DnsContext {
  readonly clusterDns: readonly string[];
  readonly clusterDomain: string;
  /** The host's resolv.conf (or what `resolvConf` names). */
  readonly host: DnsSettings;
}

const MAX_SERVERS = 3;
const MAX_SEARCHES = 32;
const MAX_SEARCH_CHARACTERS = 2048;

/** Parses resolv.conf(5); the last `search` line counts. */
export function parseResolvConf(text: string): DnsSettings {
  const servers: string[] = [];
  let searches: string[] = [];
  let options: string[] = [];
  for (const line of text.split('\n')) {
    const [keyword, ...values] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'nameserver' && values[0]) servers.push(values[0]);
    if (keyword === 'search')
      searches = values.map((value) => (value === '.' ? '.' : value.replace(/\.$/, '')));
    if (keyword === 'options') options = values;
  }
  return { servers, searches, options };
}

/** A pod's resolver settings by dnsPolicy and dnsConfig, cut to the limits of the resolver. */
export function buildDnsSettings(pod: AgentPod, context: DnsContext): DnsSettings {
  const base = chooseBase(pod, context);
  const config = pod.spec.dnsConfig;
  if (!config) return limit(base);
  return limit({
    servers: unique([...base.servers, ...(config.nameservers ?? [])]),
    searches: unique([...base.searches, ...(config.searches ?? [])]),
    options: mergeOptions(base.options, config.options ?? []),
  });
}

function chooseBase(pod: AgentPod, { clusterDns, clusterDomain, host }: DnsContext): DnsSettings {
  const policy = pod.spec.dnsPolicy ?? 'ClusterFirst';
  if (policy === 'None') return { servers: [], searches: [], options: [] };
  const isCluster =
    policy === 'ClusterFirstWithHostNet' || (policy === 'ClusterFirst' && !pod.spec.hostNetwork);
  if (!isCluster || clusterDns.length === 0) {
    return host.servers.length > 0 ? host : { ...host, servers: ['127.0.0.1'], searches: ['.'] };
  }
  const own = clusterDomain
    ? [`${pod.metadata.namespace}.svc.${clusterDomain}`, `svc.${clusterDomain}`, clusterDomain]
    : [];
  return {
    servers: clusterDns,
    searches: unique([...own, ...host.searches]),
    options: ['ndots:5'],
  };
}

function mergeOptions(
  base: readonly string[],
  own: readonly { readonly name?: string; readonly value?: string }[],
): string[] {
  const merged = new Map<string, string>();
  for (const option of base) merged.set(option.split(':')[0]!, option);
  for (const { name = '', value } of own) merged.set(name, value ? `${name}:${value}` : name);
  return [...merged.values()];
}

function limit(settings: DnsSettings): DnsSettings {
  const searches = settings.searches.slice(0, MAX_SEARCHES);
  while (searches.join(' ').length > MAX_SEARCH_CHARACTERS) searches.pop();
  return { ...settings, servers: settings.servers.slice(0, MAX_SERVERS), searches };
}

function unique(values: readonly string[]): string[] {
  return [...new Set(values)];
}
