import { setMaxListeners } from 'node:events';
import { formatError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { sleep } from '../base/time.ts';
import { type CriClient, createCriClient } from '../cri/client.ts';
import { type AgentParts, connectParts } from './agent-parts.ts';
import { type AgentSettings, loadAgentSettings } from './agent-settings.ts';
import { ApiLink } from './api-link.ts';
import { ContainerEvents } from './container-events.ts';
import type { EventText } from './events.ts';
import { serveHealthz } from './healthz.ts';
import { ImageCollector } from './image-collector.ts';
import { rotateLogs } from './log-rotation.ts';
import { followNodeRoutes } from './node/routes.ts';
import type { AgentFlags } from './options.ts';
import { OrphanCollector } from './orphans.ts';
import { startKubeletServer } from './server/server.ts';
import { followStaticPods } from './static-pods.ts';
import { keepCredentials } from './tls/credentials.ts';

export interface AgentOptions {
  readonly flags: AgentFlags;
  readonly log: Logger;
  readonly now: () => number;
  readonly random: () => number;
  /** Resident memory of this process. */
  readonly rssBytes: () => number;
  readonly signal: AbortSignal;
  /** "/etc/cni/net.d" and "/var/log/containers"; other roots in tests. */
  readonly cniDirectory?: string;
  readonly containerLogsDir?: string;
  /** Routes on this host to other nodes' pods; off where tests must not touch the host's network. */
  readonly hasRoutes?: boolean;
}

const CONNECT_RETRY_MS = 100;

/**
 * Runs the node agent until the signal ends it. Static pods start as soon as the runtime answers; the API
 * server joins whenever it can be reached. Pods go on running after the end.
 * @throws AGENT_CONFIG_INVALID, FILE_READ and what the ports and certificates throw at the start.
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { flags, log, now, random, signal } = options;
  // One listener for each loop, watch and wait.
  setMaxListeners(0, signal);
  const settings = await loadAgentSettings(flags, log);
  const { config, machine, identity } = settings;
  const { name: nodeName, addresses } = identity;
  const cri = createCriClient(settings.runtimeSocket);
  const healthz =
    config.healthzPort > 0 ? await serveHealthz(config.healthzBindAddress, config.healthzPort) : undefined;
  const link = new ApiLink({ signal, log });
  let runtimeName = 'tkadm';
  const parts = connectParts({ ...options, settings, cri, link, runtimeName: () => runtimeName });
  const { node, recorder, manager, devices } = parts;
  link.onSession((session) => {
    void parts.apiPods.follow(session);
    if (options.hasRoutes ?? true) void followNodeRoutes(session, { nodeName, log: log.child('routes') });
  });
  const recordOnNode = (text: EventText) =>
    recorder.record({ kind: 'Node', name: nodeName, uid: node.node?.metadata?.uid ?? nodeName }, text);
  const recordRotation = (message: string) =>
    recordOnNode({ type: 'Warning', reason: 'CertificateRotationFailed', message });
  const shared = { link, config, nodeName, now, random, signal };
  void keepCredentials({ ...shared, flags, log, recordOnNode: recordRotation });

  runtimeName = await waitForRuntime(cri, log, signal);
  if (signal.aborted) {
    healthz?.close();
    cri.close();
    return;
  }
  await devices.start();
  await node.computeStatus().catch(() => {});
  followSources(options, { settings, parts, cri });
  void new ImageCollector({
    cri,
    settings: config.imageGc,
    now,
    record: recordOnNode,
    log: log.child('images'),
  }).run(signal);
  void rotateLogs({ cri, manager, config, now, log: log.child('logs'), signal });
  const server = await startKubeletServer({
    ...shared,
    cri,
    manager,
    machine,
    addresses,
    certDir: flags['cert-dir'],
    rootDir: flags['root-dir'],
    rssBytes: options.rssBytes,
    onCertificateFailure: recordRotation,
    log: log.child('server'),
  });
  log.info('The agent runs', { node: nodeName, runtime: runtimeName });
  await aborted(signal);
  manager.stop();
  devices.close();
  healthz?.close();
  server.close();
  server.closeAllConnections();
  cri.close();
}

/** Follows the manifests of static pods and the events of the runtime. */
function followSources(
  { now, log, signal }: AgentOptions,
  {
    settings,
    parts,
    cri,
  }: { readonly settings: AgentSettings; readonly parts: AgentParts; readonly cri: CriClient },
): void {
  const { flags, config, identity, staticPodPath } = settings;
  const { reader, manager, staticPods, mirrors, areSourcesKnown } = parts;
  if (staticPodPath) {
    void followStaticPods({
      path: staticPodPath,
      nodeName: identity.name,
      scanMs: config.fileCheckMs,
      now: () => new Date(now()),
      log: log.child('static'),
      signal,
      onPods: (pods) => {
        staticPods.replace(pods);
        void mirrors.reconcile();
      },
    });
  }
  const orphans = new OrphanCollector({
    cri,
    reader,
    isOwned: (uid) => manager.has(uid),
    rootDir: flags['root-dir'],
    podLogsDir: config.podLogsDir,
    log: log.child('orphans'),
  });
  new ContainerEvents({
    cri,
    reader,
    onChange: (uid) => manager.wake(uid),
    onList: (uids) => {
      if (areSourcesKnown()) void orphans.collect(uids);
    },
    log: log.child('runtime'),
    signal,
  });
}

async function waitForRuntime(cri: CriClient, log: Logger, signal: AbortSignal): Promise<string> {
  let isLogged = false;
  while (!signal.aborted) {
    try {
      return (await cri.version({}, { timeoutMs: 2000, signal })).runtimeName;
    } catch (error) {
      if (!isLogged) log.info(`Waiting for the container runtime: ${formatError(error)}`);
      isLogged = true;
    }
    await sleep(CONNECT_RETRY_MS, signal).catch(() => {});
  }
  return '';
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
