import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { formatError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { PATHS } from '../base/paths.ts';
import type { CriClient } from '../cri/client.ts';
import type { AgentSettings } from './agent-settings.ts';
import type { ApiLink } from './api-link.ts';
import { ApiPodSource } from './api-pods.ts';
import { Backoff } from './backoff.ts';
import { podEventTarget } from './container-starter.ts';
import { DeviceManager } from './devices/device-manager.ts';
import { parseResolvConf } from './dns.ts';
import { ApiEventRecorder } from './events.ts';
import { HttpGetter } from './http-get.ts';
import { ImagePuller } from './images.ts';
import { MirrorPods } from './mirror-pods.ts';
import { buildCniConfig, writeCniConfig } from './node/cni-config.ts';
import { NodeManager } from './node/node-manager.ts';
import { ApiObjectSource } from './objects.ts';
import { isStaticPod, podKey } from './pod.ts';
import { PodManager } from './pod-manager.ts';
import type { PodServices } from './pod-services.ts';
import { checkProbe } from './probes/probe-check.ts';
import { Prober } from './probes/prober.ts';
import { writeQosShares } from './qos-shares.ts';
import { RuntimeReader } from './runtime-state.ts';
import { ServiceCache } from './service-cache.ts';
import { StaticPodSet } from './static-pod-set.ts';
import { type StatusTarget, StatusWriter } from './status-writer.ts';
import { ApiTokenSource } from './volumes/tokens.ts';

export interface AgentPartsOptions {
  readonly settings: AgentSettings;
  readonly cri: CriClient;
  readonly link: ApiLink;
  readonly runtimeName: () => string;
  /** "/etc/cni/net.d" and "/var/log/containers"; other roots in tests. */
  readonly cniDirectory?: string | undefined;
  readonly containerLogsDir?: string | undefined;
  readonly now: () => number;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/** The parts of an agent, which tell each other of changes. */
export type AgentParts = ReturnType<typeof connectParts>;

/** Below the root directory, where plugins look for the socket. */
const DEVICE_PLUGINS = 'device-plugins';
const CRASH_FIRST_MS = 10_000;
const CRASH_MAX_MS = 300_000;

/** Makes the parts; they follow each session of the link, and nothing else begins by itself. */
export function connectParts(options: AgentPartsOptions) {
  const { settings, cri, link, now, log, signal } = options;
  const { flags, config, identity, machine } = settings;
  const { name: nodeName, addresses } = identity;
  const rootDir = flags['root-dir'];
  const reader = new RuntimeReader(cri);
  const recorder = new ApiEventRecorder({
    link,
    nodeName,
    now: () => new Date(now()),
    log: log.child('events'),
  });
  const objects = new ApiObjectSource(link, now);
  const tokens = new ApiTokenSource(link, now);
  const services = new ServiceCache(link);
  const node: NodeManager = new NodeManager({
    link,
    cri,
    config,
    identity,
    machine,
    rootDir,
    isRegistering: flags['register-node'] && config.registerNode,
    devices: () => devices.counts(),
    now: () => new Date(now()),
    log: log.child('node'),
    signal,
    onNode: (object) => {
      void mirrors.reconcile();
      void configureNetwork(options, node, object);
    },
  });
  const http = new HttpGetter();
  const prober: Prober = new Prober({
    check: (probe, target) => checkProbe({ cri, http }, probe, target),
    now,
    onChange: (uid) => manager.wake(uid),
    record: (pod, container, text) => recorder.record(podEventTarget(pod, container.name), text),
  });
  const statuses: StatusWriter = new StatusWriter({
    link,
    findTarget: (uid) => findStatusTarget(uid, manager, apiPods),
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
    hostname: identity.hostname,
    nodeMemoryBytes: machine.memoryBytes,
    runtimeName: options.runtimeName,
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
  const staticPods = new StaticPodSet(manager, { isKnown: !settings.staticPodPath });
  const apiPods = new ApiPodSource({
    nodeName,
    manager,
    onPodChange: (uid) => statuses.refresh(uid),
    onMirrorChange: () => {
      void mirrors.reconcile();
      for (const { metadata } of staticPods.list()) statuses.refresh(metadata.uid);
    },
  });
  const mirrors: MirrorPods = new MirrorPods({
    link,
    staticPods: () => (apiPods.isSynced ? staticPods.list() : []),
    apiPods: () => (apiPods.isSynced ? apiPods.pods : new Map()),
    node: () => (node.node ? { name: nodeName, uid: node.node.metadata?.uid ?? '' } : undefined),
    onMirror: (uid) => statuses.refresh(uid),
    log: log.child('mirror'),
  });
  const isStandalone = !flags.kubeconfig;
  /** True when a pod that no source has told of is a stranger. */
  const areSourcesKnown = () => staticPods.isKnown && (isStandalone || apiPods.isSynced);
  return { reader, recorder, node, devices, manager, staticPods, apiPods, mirrors, areSourcesKnown };
}

/** Writes the CNI configuration as soon as the node has a range of pod addresses. */
async function configureNetwork(
  { settings, cniDirectory, log }: AgentPartsOptions,
  node: NodeManager,
  object: core.Node,
): Promise<void> {
  const podCidr = settings.config.podCidr ?? object.spec?.podCIDR;
  if (!podCidr) return;
  const directory = cniDirectory ?? PATHS.cniConfig;
  try {
    if (await writeCniConfig({ directory, podCidr, buildConfig: buildCniConfig })) node.refresh();
  } catch (error) {
    log.warn(`Cannot configure the pod network: ${formatError(error)}`);
  }
}

/** The API object that the status of a pod goes to: its own, or its mirror. */
function findStatusTarget(uid: string, manager: PodManager, apiPods: ApiPodSource): StatusTarget | undefined {
  const worker = manager.worker(uid);
  if (!worker) return undefined;
  const { name, namespace } = worker.pod.metadata;
  const object = apiPods.pods.get(podKey(worker.pod));
  if (!object?.metadata?.uid) return undefined;
  if (!isStaticPod(worker.pod) && object.metadata.uid !== uid) return undefined;
  const { uid: objectUid, resourceVersion: version = '' } = object.metadata;
  return { name, namespace, uid: objectUid, known: object.status, version };
}
