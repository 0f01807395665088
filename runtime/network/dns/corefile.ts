import { TkadmError } from '../../base/errors.ts';

/** A plugin line of a Corefile with the lines of its block. */
export interface PluginLine {
  readonly name: string;
  readonly args: readonly string[];
  readonly block: readonly (readonly string[])[];
}

export interface ServerBlock {
  /** "." or "example.com", lower case, without port. */
  readonly zone: string;
  readonly port: number;
  readonly plugins: readonly PluginLine[];
}

/** What the server does, from the blocks' plugins. */
export interface DnsConfig {
  readonly port: number;
  /** Cluster domain, "cluster.local". */
  readonly clusterDomain: string;
  readonly ttlSeconds: number;
  /** Answer 1-2-3-4.ns.pod.DOMAIN without asking whether the pod is there. */
  readonly answersPods: boolean;
  readonly healthPort: number | undefined;
  readonly lameDuckMs: number;
  readonly readyPort: number | undefined;
  readonly metricsAddress: string | undefined;
  /** Addresses "1.1.1.1:53", or paths of resolv.conf files. */
  readonly forwardTo: readonly string[];
  readonly cacheSeconds: number;
  readonly logsErrors: boolean;
  readonly shuffles: boolean;
  /** Time between two looks at the Corefile; undefined without `reload`. */
  readonly reloadMs: number | undefined;
}

/** Plugin → the options of its block that this server has; any other is refused. */
const PLUGINS: Readonly<Record<string, readonly string[]>> = {
  errors: [],
  health: ['lameduck'],
  ready: [],
  kubernetes: ['pods', 'ttl', 'fallthrough'],
  prometheus: [],
  forward: ['max_concurrent'],
  cache: ['disable'],
  loop: [],
  reload: [],
  loadbalance: [],
};

/**
 * Parses a Corefile (CoreDNS manual, "Configuration").
 * @throws COREFILE_INVALID with the line.
 */
export function parseCorefile(text: string): readonly ServerBlock[] {
  const tokens = text.split('\n').map((line, index) => ({ words: splitWords(line), line: index + 1 }));
  const blocks: ServerBlock[] = [];
  let current: { zone: string; port: number; plugins: PluginLine[] } | undefined;
  let plugin: { name: string; args: string[]; block: string[][] } | undefined;
  for (const { words, line } of tokens) {
    if (words.length === 0) continue;
    const opens = words.at(-1) === '{';
    if (words[0] === '}' && words.length === 1) {
      if (plugin) plugin = undefined;
      else if (current) {
        blocks.push(current);
        current = undefined;
      } else throw invalid(line, 'a "}" that closes nothing');
    } else if (!current) {
      if (!opens || words.length !== 2)
        throw invalid(line, `a server block that does not begin with "ZONE {"`);
      current = { ...parseZone(words[0]!), plugins: [] };
    } else if (plugin) {
      if (!PLUGINS[plugin.name]?.includes(words[0]!))
        throw invalid(line, `the option "${words[0]}" of "${plugin.name}", which is not supported`);
      if (words[0] === 'pods' && words[1] === 'verified')
        throw invalid(line, 'the option "pods verified", which is not supported');
      plugin.block.push(words);
    } else {
      const entry = { name: words[0]!, args: words.slice(1, opens ? -1 : undefined), block: [] };
      if (!PLUGINS[entry.name]) throw invalid(line, `the plugin "${entry.name}", which is not supported`);
      current.plugins.push(entry);
      if (opens) plugin = entry;
    }
  }
  if (current) throw invalid(tokens.length, 'a block that is not closed');
  return blocks;
}

/** The settings of the one server that answers everything. @throws COREFILE_INVALID when there are several blocks. */
export function resolveDnsConfig(blocks: readonly ServerBlock[]): DnsConfig {
  const [block] = blocks;
  if (!block || blocks.length > 1 || block.zone !== '.') {
    throw new TkadmError(
      'COREFILE_INVALID',
      `Cannot use the Corefile: only one server block, for ".", is supported`,
    );
  }
  const find = (name: string) => block.plugins.find((row) => row.name === name);
  const kubernetes = find('kubernetes');
  const option = (row: PluginLine | undefined, name: string) =>
    row?.block.find((words) => words[0] === name)?.slice(1);
  const health = find('health');
  const ready = find('ready');
  const prometheus = find('prometheus');
  const forward = find('forward');
  const reload = find('reload');
  return {
    port: block.port,
    clusterDomain: kubernetes?.args.find((zone) => !zone.endsWith('.arpa')) ?? 'cluster.local',
    ttlSeconds: Number(option(kubernetes, 'ttl')?.[0] ?? 5),
    answersPods: option(kubernetes, 'pods')?.[0] === 'insecure',
    healthPort: health ? portOf(health.args[0], 8080) : undefined,
    lameDuckMs: parseSeconds(option(health, 'lameduck')?.[0]) * 1000,
    readyPort: ready ? portOf(ready.args[0], 8181) : undefined,
    metricsAddress: prometheus ? (prometheus.args[0] ?? 'localhost:9153') : undefined,
    forwardTo: forward?.args.slice(1) ?? [],
    cacheSeconds: find('cache') ? Number(find('cache')?.args[0] ?? 3600) : 0,
    logsErrors: find('errors') !== undefined,
    shuffles: find('loadbalance') !== undefined,
    reloadMs: reload ? parseSeconds(reload.args[0] ?? '30s') * 1000 || undefined : undefined,
  };
}

function splitWords(line: string): string[] {
  const comment = line.indexOf('#');
  return (comment < 0 ? line : line.slice(0, comment)).trim().split(/\s+/).filter(Boolean);
}

function parseZone(text: string): { zone: string; port: number } {
  const [, zone = '.', port] = /^(?:dns:\/\/)?(.*?)(?::(\d+))?$/.exec(text) ?? [];
  return { zone: zone === '' ? '.' : zone.toLowerCase(), port: Number(port ?? 53) };
}

function portOf(address: string | undefined, fallback: number): number {
  return Number(/:(\d+)$/.exec(address ?? '')?.[1] ?? fallback);
}

function parseSeconds(text: string | undefined): number {
  const [, value = '0', unit = 's'] = /^(\d+)(ms|s|m)$/.exec(text ?? '') ?? [];
  return Number(value) * { ms: 0.001, s: 1, m: 60 }[unit as 'ms' | 's' | 'm'];
}

function invalid(line: number, state: string): TkadmError {
  return new TkadmError('COREFILE_INVALID', `Cannot use the Corefile: line ${line} has ${state}`);
}
