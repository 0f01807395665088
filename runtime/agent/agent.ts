import { setMaxListeners } from 'node:events';
import { readFile } from 'node:fs/promises';
import { hostname as readHostname } from 'node:os';
import { join } from 'node:path';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { formatError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { PATHS } from '../base/paths.ts';
import { sleep } from '../base/time.ts';
import { createCriClient } from '../cri/client.ts';
import { ApiLink } from './api-link.ts';
import { ApiPodSource } from './api-pods.ts';
import { Backoff } from './backoff.ts';
import { ContainerEvents } from './container-events.ts';
import { podEventTarget } from './container-starter.ts';
import { DeviceManager } from './devices/device-manager.ts';
import { parseResolvConf } from './dns.ts';
import { ApiEventRecorder, type EventText } from './events.ts';
import { serveHealthz } from './healthz.ts';
import { HttpGetter } from './http-get.ts';
import { ImageCollector } from './image-collector.ts';
import { ImagePuller } from './images.ts';
import { defaultKubeletConfig, type KubeletConfig, parseKubeletConfig } from './kubelet-config.ts';
import { rotateLogs } from './log-rotation.ts';
import { MirrorPods } from './mirror-pods.ts';
import { buildCniConfig, writeCniConfig } from './node/cni-config.ts';
import { readDefaultAddress, readMachineFacts } from './node/machine.ts';
import { NodeManager } from './node/node-manager.ts';
import { parseLabels, parseTaints } from './node/registration.ts';
import { followNodeRoutes } from './node/routes.ts';
import { ApiObjectSource } from './objects.ts';
import type { AgentFlags } from './options.ts';
import { OrphanCollector } from './orphans.ts';
import { type AgentPod, isStaticPod, podKey } from './pod.ts';
import { PodManager } from './pod-manager.ts';
import type { PodServices } from './pod-services.ts';
import { checkProbe } from './probes/probe-check.ts';
import { Prober } from './probes/prober.ts';
import { writeQosShares } from './qos-shares.ts';
import { RuntimeReader } from './runtime-state.ts';
import { startKubeletServer } from './server/server.ts';
import { ServiceCache } from './service-cache.ts';
import { followStaticPods } from './static-pods.ts';
import { type StatusTarget, StatusWriter } from './status-writer.ts';
import { keepCredentials } from './tls/credentials.ts';
import { ApiTokenSource } from './volumes/tokens.ts';

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

/** Below the root directory, where plugins look for the socket. */
const DEVICE_PLUGINS = 'device-plugins';
const CRASH_FIRST_MS = 10_000;
const CRASH_MAX_MS = 300_000;
const CONNECT_RETRY_MS = 100;

/**
 * Runs the node agent until the signal ends it. Static pods start as soon as the runtime answers; the API
 * server joins whenever it can be reached. Pods go on running after the end.
 * @throws AGENT_CONFIG_INVALID, FILE_READ and what the ports and certificates throw at the start.
 */
export async function runAgent(options: AgentOptions): Promise<void> {
  const { flags, log, now, signal } = options;
  // One listener for each loop, watch and wait.
  setMaxListeners(0, signal);
  const config = await loadConfig(flags, log);
  const socket = stripScheme(
    flags['container-runtime-endpoint'] ?? config.containerRuntimeEndpoint ?? PATHS.runtimeSocket,
  );
  const cri = createCriClient(socket);
  const healthz =
    config.healthzPort > 0 ? await serveHealthz(config.healthzBindAddress, config.healthzPort) : undefined;
  const link = new ApiLink({ signal, log });
  const rootDir = flags['root-dir'];
  const hostname = readHostname();
  const nodeName = (flags['hostname-override'] ?? hostname).toLowerCase();
  const addresses = flags['node-ip']?.split(',') ?? [await readDefaultAddress()];
  const machine = await readMachineFacts(rootDir);
  const recorder = new ApiEventRecorder({
    link,
    nodeName,
    now: () => new Date(now()),
    log: log.child('events'),
  });
  const reader = new RuntimeReader(cri);
  const objects = new ApiObjectSource(link, now);
  const tokens = new ApiTokenSource(link, now);
  const services = new ServiceCache(link);
  let runtimeName = 'tkadm';

  const node: NodeManager = new NodeManager({
    link,
    cri,
    config,
    identity: {
      name: nodeName,
      hostname: flags['hostname-override'] ?? hostname,
      addresses,
      labels: parseLabels(flags['node-labels']),
      taints: parseTaints(flags['register-with-taints'], config.registerWithTaints),
    },
    machine,
    rootDir,
    isRegistering: flags['register-node'] && config.registerNode,
    devices: () => devices.counts(),
    now: () => new Date(now()),
    log: log.child('node'),
    signal,
    onNode: (object) => {
      void mirrors.reconcile();
      void configureNetwork(object);
    },
  });

  const configureNetwork = async (object: core.Node) => {
    const podCidr = config.podCidr ?? object.spec?.podCIDR;
    if (!podCidr) return;
    const directory = options.cniDirectory ?? PATHS.cniConfig;
    try {
      if (await writeCniConfig({ directory, podCidr, buildConfig: buildCniConfig })) node.refresh();
    } catch (error) {
      log.warn(`Cannot configure the pod network: ${formatError(error)}`);
    }
  };

  const http = new HttpGetter();
  const prober: Prober = new Prober({
    check: (probe, target) => checkProbe({ cri, http }, probe, target),
    now,
    onChange: (uid) => manager.wake(uid),
    record: (pod, container, text) => recorder.record(podEventTarget(pod, container.name), text),
  });
  const statuses: StatusWriter = new StatusWriter({
    link,
    findTarget: (uid) => findTarget(uid),
    log: log.child('status'),
    signal,
  });
  const devices: DeviceManager = new DeviceManager({
    directory: join(rootDir, DEVICE_PLUGINS),
    isSettled: () => areSourcesKnown(),
    isUsing: (uid) => manager.isUsing(uid),
    onChange: () => node.refresh(),
    log: log.child('devices'),
  });
  const podServices: PodServices = {
    cri,
    reader,
    images: new ImagePuller(cri, { isSerial: config.serializeImagePulls, now }),
    prober,
    devices,
    restarts: new Backoff(CRASH_FIRST_MS, CRASH_MAX_MS, now),
    link,
    objects,
    tokens,
    recorder,
    statuses,
    config,
    rootDir,
    containerLogsDir: options.containerLogsDir ?? PATHS.containerLogs,
    nodeName,
    hostname: flags['hostname-override'] ?? hostname,
    nodeMemoryBytes: machine.memoryBytes,
    runtimeName: () => runtimeName,
    hostIps: () => addresses,
    allocatable: () => node.allocatable(),
    services: () => services.list(),
    shareCpu: () => writeQosShares(manager.workers().map(({ pod }) => pod)),
    hostDns: async () => parseResolvConf(await readFile(config.resolvConf, 'utf8').catch(() => '')),
    now,
    signal,
    log: log.child('pods'),
  };
  const manager = new PodManager(podServices, { nodeLabels: () => node.node?.metadata?.labels });
  const apiPods = new ApiPodSource({
    nodeName,
    manager,
    onPodChange: (uid) => statuses.refresh(uid),
    onMirrorChange: () => {
      void mirrors.reconcile();
      for (const { metadata } of staticPods.values()) statuses.refresh(metadata.uid);
    },
  });
  const staticPods = new Map<string, AgentPod>();
  const mirrors: MirrorPods = new MirrorPods({
    link,
    staticPods: () => (apiPods.isSynced ? [...staticPods.values()] : []),
    apiPods: () => (apiPods.isSynced ? apiPods.pods : new Map()),
    node: () => (node.node ? { name: nodeName, uid: node.node.metadata?.uid ?? '' } : undefined),
    onMirror: (uid) => statuses.refresh(uid),
    log: log.child('mirror'),
  });

  const findTarget = (uid: string): StatusTarget | undefined => {
    const worker = manager.worker(uid);
    if (!worker) return undefined;
    const { name, namespace } = worker.pod.metadata;
    const object = apiPods.pods.get(podKey(worker.pod));
    if (!object?.metadata?.uid) return undefined;
    if (!isStaticPod(worker.pod) && object.metadata.uid !== uid) return undefined;
    const { uid: objectUid, resourceVersion: version = '' } = object.metadata;
    return { name, namespace, uid: objectUid, known: object.status, version };
  };

  const orphans = new OrphanCollector({
    cri,
    reader,
    isOwned: (uid) => manager.has(uid),
    rootDir,
    podLogsDir: config.podLogsDir,
    log: log.child('orphans'),
  });
  let hasStaticPods = config.staticPodPath === undefined && flags['pod-manifest-path'] === undefined;
  const isStandalone = !flags.kubeconfig;
  const areSourcesKnown = () => hasStaticPods && (isStandalone || apiPods.isSynced);

  link.onSession((session) => {
    void apiPods.follow(session);
    if (options.hasRoutes ?? true) void followNodeRoutes(session, { nodeName, log: log.child('routes') });
  });
  const recordOnNode = (text: EventText) =>
    recorder.record({ kind: 'Node', name: nodeName, uid: node.node?.metadata?.uid ?? nodeName }, text);
  const recordRotation = (message: string) =>
    recordOnNode({ type: 'Warning', reason: 'CertificateRotationFailed', message });
  void keepCredentials({
    flags,
    link,
    log,
    config,
    nodeName,
    now,
    random: options.random,
    recordOnNode: recordRotation,
    signal,
  });

  runtimeName = await waitForRuntime(cri, log, signal);
  if (signal.aborted) {
    healthz?.close();
    cri.close();
    return;
  }
  await devices.start();
  await node.computeStatus().catch(() => {});
  const staticPodPath = config.staticPodPath ?? flags['pod-manifest-path'];
  if (staticPodPath) {
    void followStaticPods({
      path: staticPodPath,
      nodeName,
      scanMs: config.fileCheckMs,
      now: () => new Date(now()),
      log: log.child('static'),
      signal,
      onPods: (pods) => {
        const wanted = new Set(pods.map(({ metadata }) => metadata.uid));
        for (const [uid] of staticPods) {
          if (wanted.has(uid)) continue;
          staticPods.delete(uid);
          manager.remove(uid);
        }
        for (const pod of pods) {
          staticPods.set(pod.metadata.uid, pod);
          manager.apply(pod);
        }
        hasStaticPods = true;
        void mirrors.reconcile();
      },
    });
  }
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
  void new ImageCollector({
    cri,
    settings: config.imageGc,
    now,
    record: recordOnNode,
    log: log.child('images'),
  }).run(signal);
  void rotateLogs({ cri, manager, config, now, log: log.child('logs'), signal });
  const server = await startKubeletServer({
    cri,
    link,
    manager,
    config,
    machine,
    nodeName,
    addresses,
    certDir: flags['cert-dir'],
    rootDir,
    rssBytes: options.rssBytes,
    onCertificateFailure: recordRotation,
    random: options.random,
    now,
    log: log.child('server'),
    signal,
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

async function loadConfig(flags: AgentFlags, log: Logger): Promise<KubeletConfig> {
  if (flags['pod-infra-container-image'])
    log.info('Ignoring --pod-infra-container-image: the runtime chooses');
  if (!flags.config) return defaultKubeletConfig();
  const { config, unfollowed } = parseKubeletConfig(await readFile(flags.config, 'utf8'), flags.config);
  for (const { path, reason } of unfollowed)
    log.warn(`Configuration field "${path}" has no effect: ${reason}`);
  return config;
}

async function waitForRuntime(
  cri: ReturnType<typeof createCriClient>,
  log: Logger,
  signal: AbortSignal,
): Promise<string> {
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

function stripScheme(endpoint: string): string {
  return endpoint.replace(/^unix:\/\//, '');
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}
