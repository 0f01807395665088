import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ApiClient } from '../../api/client.ts';
import { followClientConfig } from '../../api/follow-kubeconfig.ts';
import { Informer } from '../../api/informer.ts';
import { ENDPOINT_SLICES, SERVICES } from '../../api/kinds.ts';
import { loadClientConfig, loadInClusterConfig } from '../../api/kubeconfig.ts';
import { type FlagRow, parseFlags } from '../../base/flags.ts';
import { createLogger, type Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import { VERSION } from '../../base/version.ts';
import { type DnsConfig, parseCorefile, resolveDnsConfig } from './corefile.ts';
import { parseResolvConf, parseUpstream, type Upstream } from './forward.ts';
import { buildRecords, type RecordTable } from './records.ts';
import { Resolver } from './resolver.ts';
import { startDnsServer, startProbeServer } from './server.ts';

/** CoreDNS's flags that this server has, and the kubeconfig that replaces the pod's own identity. */
const FLAGS = [
  { name: 'conf', kind: 'string', default: '/etc/coredns/Corefile', help: 'Corefile' },
  { name: 'dns.port', kind: 'number', help: 'port, instead of the Corefile' },
  { name: 'kubeconfig', kind: 'string', help: 'how to reach the API server (default: the service account)' },
] as const satisfies readonly FlagRow[];

/** Changes that come within this time are taken together. */
const GATHER_MS = 10;

async function main(): Promise<void> {
  process.title = 'coredns';
  const flags = parseFlags(FLAGS, process.argv.slice(2));
  const log = createLogger({
    name: 'coredns',
    write: (line) => process.stderr.write(line),
    now: () => new Date(),
  });
  const text = await readFile(flags.conf, 'utf8');
  const config = resolveDnsConfig(parseCorefile(text));
  const abort = new AbortController();
  const load = () =>
    flags.kubeconfig ? loadClientConfig(flags.kubeconfig) : loadInClusterConfig(process.env);
  const current = await load();
  const client = new ApiClient(current, `coredns/${VERSION}`);
  followClientConfig({
    current,
    load,
    onChange: (fresh) => client.reconfigure(fresh),
    log: log.child('credentials'),
    signal: abort.signal,
  });
  const services = new Informer(client, SERVICES, { signal: abort.signal, log });
  const slices = new Informer(client, ENDPOINT_SLICES, { signal: abort.signal, log });

  let records: RecordTable = new Map();
  const resolver = new Resolver({
    config,
    upstreams: await loadUpstreams(config, log),
    records: () => records,
    now: () => performance.now(),
    random: Math.random,
    onError: (message) => log.error(message),
  });
  let isReady = false;
  let isStale = false;
  const rebuild = async () => {
    if (isStale || !isReady) return;
    isStale = true;
    await sleep(GATHER_MS);
    isStale = false;
    records = buildRecords(services.list(), slices.list(), config.clusterDomain);
    resolver.bump();
  };
  const follow = async (changes: AsyncIterable<unknown>) => {
    for await (const _ of changes) void rebuild();
  };
  void follow(services.changes());
  void follow(slices.changes());

  const port = flags['dns.port'] ?? config.port;
  const close = await startDnsServer(resolver, port, existsSync('/proc/net/if_inet6') ? '::' : '0.0.0.0');
  if (config.healthPort) startProbeServer({ port: config.healthPort, path: '/health' }, () => true);
  if (config.readyPort) startProbeServer({ port: config.readyPort, path: '/ready' }, () => isReady);
  if (config.metricsAddress) {
    const [, host, metricsPort] = /^(.*):(\d+)$/.exec(config.metricsAddress) ?? [];
    startProbeServer({ port: Number(metricsPort ?? 9153), ...(host ? { host } : {}), path: '/metrics' }, () =>
      resolver.metrics(),
    );
  }
  void followCorefile(flags.conf, { config, text, resolver, log });
  for (const name of ['SIGTERM', 'SIGINT'] as const) {
    process.on(name, async () => {
      await sleep(config.lameDuckMs);
      abort.abort();
      close();
      process.exit(0);
    });
  }
  log.info(`Serving DNS on port ${port}`, { version: VERSION });
  await Promise.all([services.synced(), slices.synced()]);
  records = buildRecords(services.list(), slices.list(), config.clusterDomain);
  isReady = true;
  log.info('The records are complete', { services: services.list().length });
}

/** Settings that a running server cannot change. */
const FIXED = ['port', 'clusterDomain', 'healthPort', 'readyPort', 'metricsAddress'] as const;

/** The `reload` plugin: applies a changed Corefile; one that is invalid changes nothing. */
async function followCorefile(
  path: string,
  { config: first, text: firstText, resolver, log }: Following,
): Promise<void> {
  let [config, text] = [first, firstText];
  while (config.reloadMs !== undefined) {
    await sleep(config.reloadMs);
    try {
      const next = await readFile(path, 'utf8');
      if (next === text) continue;
      text = next;
      const wanted = resolveDnsConfig(parseCorefile(next));
      for (const name of FIXED) {
        if (wanted[name] !== first[name]) log.warn(`"${name}" of the Corefile changed: this needs a restart`);
      }
      resolver.configure({ ...wanted, clusterDomain: first.clusterDomain }, await loadUpstreams(wanted, log));
      config = wanted;
      log.info('The Corefile is applied again');
    } catch (error) {
      log.error(`The Corefile is not applied again: ${(error as Error).message}`);
    }
  }
}

interface Following {
  readonly config: DnsConfig;
  readonly text: string;
  readonly resolver: Resolver;
  readonly log: Logger;
}

async function loadUpstreams(config: DnsConfig, log: Logger): Promise<readonly Upstream[]> {
  const lists = await Promise.all(
    config.forwardTo.map(async (target) =>
      target.startsWith('/')
        ? parseResolvConf(await readFile(target, 'utf8').catch(() => ''), (host) =>
            log.warn(`Leaving out nameserver "${host}" of "${target}": queries would come back here`),
          )
        : [parseUpstream(target)],
    ),
  );
  return lists.flat();
}

main().catch((error) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
});
