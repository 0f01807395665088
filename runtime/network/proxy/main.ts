import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { ApiClient } from '../../api/client.ts';
import { followClientConfig } from '../../api/follow-kubeconfig.ts';
import { loadClientConfig } from '../../api/kubeconfig.ts';
import { type FlagRow, parseFlags } from '../../base/flags.ts';
import { createLogger } from '../../base/log.ts';
import { VERSION } from '../../base/version.ts';
import { checkClusterCidr, parseProxyConfig } from './config.ts';
import { removeRuleset, runProxy, startHealthServer } from './proxy.ts';

/** kube-proxy's flags that this one has. */
const FLAGS = [
  { name: 'config', kind: 'string', help: 'KubeProxyConfiguration file' },
  { name: 'kubeconfig', kind: 'string', help: 'how to reach the API server, instead of the file' },
  { name: 'hostname-override', kind: 'string', help: 'name of this node' },
  { name: 'cluster-cidr', kind: 'string', help: 'addresses of pods, instead of the file' },
  { name: 'cleanup', kind: 'boolean', default: false, help: 'remove the nftables table and end' },
  { name: 'v', kind: 'number', default: 0, help: 'verbosity' },
] as const satisfies readonly FlagRow[];

async function main(): Promise<void> {
  process.title = 'kube-proxy';
  const flags = parseFlags(FLAGS, process.argv.slice(2));
  const log = createLogger({
    name: 'kube-proxy',
    level: flags.v > 2 ? 'debug' : 'info',
    write: (line) => process.stderr.write(line),
    now: () => new Date(),
  });
  if (flags.cleanup) return removeRuleset();
  const config = flags.config ? parseProxyConfig(await readFile(flags.config, 'utf8')) : undefined;
  const abort = new AbortController();
  for (const name of ['SIGTERM', 'SIGINT'] as const) process.on(name, () => abort.abort());
  const load = () => loadClientConfig(flags.kubeconfig ?? config?.kubeconfig ?? '');
  const current = await load();
  const client = new ApiClient(current, `kube-proxy/${VERSION}`);
  followClientConfig({
    current,
    load,
    onChange: (fresh) => client.reconfigure(fresh),
    log: log.child('credentials'),
    signal: abort.signal,
  });
  if (flags['cluster-cidr']) checkClusterCidr(flags['cluster-cidr']);
  let isSynced = false;
  const health = startHealthServer(config?.healthzBindAddress ?? '0.0.0.0:10256', () => isSynced);
  health.on('error', (error) => log.error(`Cannot serve /healthz: ${error.message}`));
  log.info('Starting', { version: VERSION });
  await runProxy({
    client,
    log,
    signal: abort.signal,
    nodeName: flags['hostname-override'] ?? config?.hostnameOverride ?? hostname().toLowerCase(),
    clusterCidr: flags['cluster-cidr'] ?? config?.clusterCidr,
    onSynced: () => {
      if (!isSynced) log.info('The first state is loaded');
      isSynced = true;
    },
  });
  health.close();
  client.close();
}

main().catch((error) => {
  process.stderr.write(`${error instanceof Error ? error.message : error}\n`);
  process.exit(1);
});
