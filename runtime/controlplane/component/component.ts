import { randomUUID } from 'node:crypto';
import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { isApiError } from '../../api/api-error.ts';
import { ApiClient } from '../../api/client.ts';
import { followClientConfig } from '../../api/follow-kubeconfig.ts';
import { type ClientConfig, loadClientConfig, loadInClusterConfig } from '../../api/kubeconfig.ts';
import { isTkadmError, TkadmError } from '../../base/errors.ts';
import type { FlagValues } from '../../base/flags.ts';
import type { Logger } from '../../base/log.ts';
import { sleep } from '../../base/time.ts';
import { KUBERNETES_VERSION } from '../../base/version.ts';
import type { COMPONENT_FLAGS } from './component-flags.ts';
import { startHealthServer } from './health-server.ts';
import { acquireLeadership, formatIdentity, keepLeadership, releaseLeadership } from './leader-election.ts';

type ComponentFlags = FlagValues<typeof COMPONENT_FLAGS> & {
  readonly 'secure-port': number;
  readonly 'leader-elect-resource-name': string;
};

export interface ComponentOptions {
  /** "kube-scheduler": user agent, certificate name. */
  readonly name: string;
  readonly flags: ComponentFlags;
  readonly healthPaths: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly now: () => Date;
  /** Ends the component cleanly, so that it is started again. */
  readonly restart: () => void;
  /** Follows the cluster before leadership, so that taking over is quick. */
  readonly prepare: (client: ApiClient, signal: AbortSignal) => void | Promise<void>;
  /** Works until the signal ends it. */
  readonly lead: (client: ApiClient, signal: AbortSignal) => Promise<void>;
}

/**
 * Runs a component that works for one leader at a time: health endpoints at once, then the API server as
 * soon as it answers, then the Lease, then the work.
 * @throws LEASE_LOST when another process took over: start again.
 */
export async function runComponent(options: ComponentOptions): Promise<void> {
  const { flags, signal, log, now } = options;
  requireSupported(flags);
  const end = new AbortController();
  const stop = AbortSignal.any([signal, end.signal]);
  if (flags['secure-port'] !== 0) {
    await startHealthServer({
      name: options.name,
      host: flags['bind-address'],
      port: flags['secure-port'],
      certFile: flags['tls-cert-file'],
      keyFile: flags['tls-private-key-file'],
      log: log.child('credentials'),
      rows: options.healthPaths.map((path) => ({ path, isHealthy: () => !end.signal.aborted })),
      now: now(),
      signal,
    });
  }
  const client = await connect(options, stop);
  try {
    await awaitServer(client, stop, log);
    await options.prepare(client, stop);
    await leadWhile(options, client, stop);
  } finally {
    end.abort();
    client.close();
  }
}

/** A new one at each start of the machine (random(4)); "" where there is no /proc. */
async function readBootId(): Promise<string> {
  return (await readFile('/proc/sys/kernel/random/boot_id', 'utf8').catch(() => '')).trim();
}

async function leadWhile(options: ComponentOptions, client: ApiClient, stop: AbortSignal): Promise<void> {
  const { flags, log, now } = options;
  if (!flags['leader-elect']) return options.lead(client, stop);
  const election = {
    client,
    namespace: flags['leader-elect-resource-namespace'],
    name: flags['leader-elect-resource-name'],
    identity: formatIdentity({ hostname: hostname(), bootId: await readBootId(), id: randomUUID() }),
    leaseDurationMs: flags['leader-elect-lease-duration'],
    renewDeadlineMs: flags['leader-elect-renew-deadline'],
    retryPeriodMs: flags['leader-elect-retry-period'],
    signal: stop,
    now,
    log: log.child('leader'),
  };
  const lease = await acquireLeadership(election);
  log.info(`Leading with lease ${election.namespace}/${election.name}`);
  const term = new AbortController();
  const working = AbortSignal.any([stop, term.signal]);
  setMaxListeners(0, working);
  const work = options.lead(client, working);
  const end = await Promise.race([keepLeadership(election, lease), work.then(() => 'ended' as const)]);
  term.abort();
  if (end === 'lost') {
    // Somebody else leads, or soon does: what is under way is not waited for.
    work.catch(() => {});
    throw new TkadmError('LEASE_LOST', `Cannot go on: lease ${election.namespace}/${election.name} was lost`);
  }
  await work.catch((error) => {
    if (!stop.aborted) throw error;
  });
  await releaseLeadership(election).catch((error: Error) => log.debug(`Cannot release: ${error.message}`));
}

async function connect(options: ComponentOptions, signal: AbortSignal): Promise<ApiClient> {
  const { flags, name, env } = options;
  const load = async (): Promise<ClientConfig> => {
    const config = flags.kubeconfig
      ? await loadClientConfig(flags.kubeconfig)
      : await loadInClusterConfig(env);
    return flags.master ? { ...config, server: flags.master } : config;
  };
  for (;;) {
    try {
      const current = await load();
      const client = new ApiClient(current, `${name}/${KUBERNETES_VERSION}`);
      followCredentials({ ...options, signal }, { client, current, load });
      return client;
    } catch (error) {
      // kubeadm writes the file before the manifest; a half-written one is gone in a moment.
      if (!isTkadmError(error, 'KUBECONFIG_INVALID') || signal.aborted || !flags.kubeconfig) throw error;
      if (!/ENOENT/.test(error.message)) throw error;
      await sleep(150, signal);
    }
  }
}

/** Renewed credentials are taken over; where they cannot be seen, a new start of the container shows them. */
function followCredentials(
  { log, signal, restart }: Pick<ComponentOptions, 'log' | 'signal' | 'restart'>,
  { client, current, load }: { client: ApiClient; current: ClientConfig; load: () => Promise<ClientConfig> },
): void {
  followClientConfig({
    current,
    load,
    onChange: (config) => client.reconfigure(config),
    onDetached: (path) => {
      log.info('Ending to see the new file: it was replaced outside of this container', { file: path });
      restart();
    },
    log: log.child('credentials'),
    signal,
  });
}

/** Waits until the API server answers and knows this component's rights; says so once if that takes long. */
async function awaitServer(client: ApiClient, signal: AbortSignal, log: Logger): Promise<void> {
  const startedAtMs = performance.now();
  let isReported = false;
  for (let waitMs = 50; ; waitMs = Math.min(waitMs * 1.2, 200)) {
    try {
      await client.requestText('GET', '/readyz', { signal, timeoutMs: 3_000 });
      return;
    } catch (error) {
      signal.throwIfAborted();
      // A server that answers, but does not show its health to this user, is up.
      if (isApiError(error) && (error.httpStatus === 403 || error.httpStatus === 404)) return;
      if (!isReported && performance.now() - startedAtMs > 5_000) {
        isReported = true;
        log.warn(`Waiting for the API server: ${(error as Error).message}`);
      }
      await sleep(waitMs, signal);
    }
  }
}

function requireSupported(flags: ComponentFlags): void {
  const lock = flags['leader-elect-resource-lock'];
  if (lock !== 'leases') {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot use flag "--leader-elect-resource-lock=${lock}": only "leases" is supported`,
    );
  }
}
