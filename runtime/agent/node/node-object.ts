import type * as core from 'kubernetes-types/core/v1.d.ts';
import { quantityToInteger, quantityToMilli } from '../../api/quantity.ts';
import { KUBERNETES_VERSION } from '../../base/version.ts';
import type { DeviceCounts } from '../devices/device-manager.ts';
import type { KubeletConfig } from '../kubelet-config.ts';
import type { MachineFacts } from './machine.ts';

/** What the container runtime says about itself. */
export interface RuntimeFacts {
  /** "tkadm://0.1.0" */
  readonly version: string;
  readonly isReady: boolean;
  readonly isNetworkReady: boolean;
  /** Why it is not ready. */
  readonly message: string;
  /** What its handlers can; "" is the default one. */
  readonly handlers: readonly NodeRuntimeHandler[];
  readonly hasSupplementalGroupsPolicy: boolean;
}

/** core/v1 NodeRuntimeHandler */
export interface NodeRuntimeHandler {
  readonly name: string;
  readonly features: { readonly recursiveReadOnlyMounts: boolean; readonly userNamespaces: boolean };
}

export interface NodeImage {
  readonly names: readonly string[];
  readonly sizeBytes: number;
}

export interface NodeIdentity {
  readonly name: string;
  readonly hostname: string;
  readonly addresses: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly taints: readonly core.Taint[];
}

export interface NodeStatusInput {
  readonly identity: NodeIdentity;
  readonly config: KubeletConfig;
  readonly machine: MachineFacts;
  readonly runtime: RuntimeFacts;
  readonly pressure: PressureFacts;
  readonly images: readonly NodeImage[];
  /** Of device plugins. */
  readonly devices: DeviceCounts;
  readonly now: string;
  readonly previous: core.NodeStatus | undefined;
}

export interface PressureFacts {
  readonly hasMemoryPressure: boolean;
  readonly hasDiskPressure: boolean;
  readonly hasPidPressure: boolean;
}

const MAX_IMAGES = 50;

/** The Node object for registration. */
export function buildNode(identity: NodeIdentity, architecture: string, status: core.NodeStatus): core.Node {
  return {
    apiVersion: 'v1',
    kind: 'Node',
    metadata: {
      name: identity.name,
      labels: { ...defaultNodeLabels(identity.hostname, architecture), ...identity.labels },
      annotations: { 'volumes.kubernetes.io/controller-managed-attach-detach': 'true' },
    },
    spec: { ...(identity.taints.length > 0 ? { taints: [...identity.taints] } : {}) },
    status,
  };
}

/** Labels that the kubelet owns. */
export function defaultNodeLabels(hostname: string, architecture: string): Record<string, string> {
  return {
    'beta.kubernetes.io/arch': architecture,
    'beta.kubernetes.io/os': 'linux',
    'kubernetes.io/arch': architecture,
    'kubernetes.io/hostname': hostname,
    'kubernetes.io/os': 'linux',
  };
}

/** The node's whole status; condition times carry over from the previous one. */
export function buildNodeStatus(input: NodeStatusInput): core.NodeStatus {
  const { identity, config, machine, runtime, devices } = input;
  const capacity = buildCapacity(machine, config);
  const status = {
    addresses: [
      ...identity.addresses.map((address) => ({ type: 'InternalIP', address })),
      { type: 'Hostname', address: identity.hostname },
    ],
    capacity: { ...capacity, ...devices.capacity },
    allocatable: { ...buildAllocatable(capacity, config), ...devices.allocatable },
    conditions: buildConditions(input),
    daemonEndpoints: { kubeletEndpoint: { Port: config.port } },
    images: [...input.images]
      .sort((a, b) => b.sizeBytes - a.sizeBytes)
      .slice(0, MAX_IMAGES)
      .map(({ names, sizeBytes }) => ({ names: [...names], sizeBytes })),
    nodeInfo: {
      architecture: machine.architecture,
      bootID: machine.bootId,
      containerRuntimeVersion: runtime.version,
      kernelVersion: machine.kernelVersion,
      kubeProxyVersion: '',
      kubeletVersion: KUBERNETES_VERSION,
      machineID: machine.machineId,
      operatingSystem: 'linux',
      osImage: machine.osImage,
      systemUUID: machine.systemUuid,
    },
    ...(runtime.handlers.length > 0 && { runtimeHandlers: runtime.handlers }),
    features: { supplementalGroupsPolicy: runtime.hasSupplementalGroupsPolicy },
  };
  return status as core.NodeStatus;
}

function buildCapacity(machine: MachineFacts, config: KubeletConfig): Record<string, string> {
  const perCore = config.podsPerCore > 0 ? config.podsPerCore * machine.cpuCount : Number.POSITIVE_INFINITY;
  return {
    cpu: String(machine.cpuCount),
    memory: formatBytes(machine.memoryBytes),
    'ephemeral-storage': formatBytes(machine.ephemeralStorageBytes),
    pods: String(Math.min(config.maxPods, perCore)),
    ...Object.fromEntries(Object.entries(machine.hugepages).map(([name, size]) => [name, formatBytes(size)])),
  };
}

/** Capacity minus what the configuration reserves; a tenth of the storage stays for the system. */
function buildAllocatable(
  capacity: Readonly<Record<string, string>>,
  config: KubeletConfig,
): Record<string, string> {
  const reserved = (name: string) => [config.systemReserved[name], config.kubeReserved[name]];
  const milliCpu =
    quantityToMilli(capacity['cpu']) - reserved('cpu').reduce((sum, text) => sum + quantityToMilli(text), 0);
  const hugepages = Object.entries(capacity)
    .filter(([name]) => name.startsWith('hugepages-'))
    .reduce((sum, [, text]) => sum + quantityToInteger(text), 0);
  const memory =
    quantityToInteger(capacity['memory']) -
    hugepages -
    reserved('memory').reduce((sum, text) => sum + quantityToInteger(text), 0);
  const storage =
    Math.floor(quantityToInteger(capacity['ephemeral-storage']) * 0.9) -
    reserved('ephemeral-storage').reduce((sum, text) => sum + quantityToInteger(text), 0);
  return {
    ...capacity,
    cpu: milliCpu % 1000 === 0 ? String(milliCpu / 1000) : `${Math.max(milliCpu, 0)}m`,
    memory: formatBytes(Math.max(memory, 0)),
    'ephemeral-storage': String(Math.max(storage, 0)),
  };
}

/** Bytes as "1234Ki" when they are whole KiB, else plain. */
function formatBytes(bytes: number): string {
  return bytes > 0 && bytes % 1024 === 0 ? `${bytes / 1024}Ki` : String(Math.floor(bytes));
}

interface ConditionState {
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
}

function buildConditions({ runtime, pressure, now, previous }: NodeStatusInput): core.NodeCondition[] {
  const states: readonly (readonly [string, ConditionState])[] = [
    [
      'MemoryPressure',
      pressure.hasMemoryPressure
        ? bad('KubeletHasInsufficientMemory', 'kubelet has insufficient memory available')
        : good('KubeletHasSufficientMemory', 'kubelet has sufficient memory available'),
    ],
    [
      'DiskPressure',
      pressure.hasDiskPressure
        ? bad('KubeletHasDiskPressure', 'kubelet has disk pressure')
        : good('KubeletHasNoDiskPressure', 'kubelet has no disk pressure'),
    ],
    [
      'PIDPressure',
      pressure.hasPidPressure
        ? bad('KubeletHasInsufficientPID', 'kubelet has insufficient PID available')
        : good('KubeletHasSufficientPID', 'kubelet has sufficient PID available'),
    ],
    ['Ready', readyState(runtime)],
  ];
  return states.map(([type, state]) => {
    const before = previous?.conditions?.find((condition) => condition.type === type);
    const isSame = before?.status === state.status;
    return {
      type,
      ...state,
      lastHeartbeatTime: now,
      lastTransitionTime: isSame && before?.lastTransitionTime ? before.lastTransitionTime : now,
    };
  });
}

const bad = (reason: string, message: string): ConditionState => ({ status: 'True', reason, message });
const good = (reason: string, message: string): ConditionState => ({ status: 'False', reason, message });

function readyState(runtime: RuntimeFacts): ConditionState {
  if (runtime.isReady && runtime.isNetworkReady) {
    return { status: 'True', reason: 'KubeletReady', message: 'kubelet is posting ready status' };
  }
  return { status: 'False', reason: 'KubeletNotReady', message: runtime.message };
}

/** True when the statuses differ in more than heartbeat times. */
export function isNodeStatusChanged(before: core.NodeStatus | undefined, after: core.NodeStatus): boolean {
  const strip = (status: core.NodeStatus | undefined) =>
    JSON.stringify({
      ...status,
      conditions: status?.conditions?.map((condition) => [
        condition.type,
        condition.status,
        condition.reason,
        condition.message,
      ]),
    });
  return strip(before) !== strip(after);
}
