import type { ContainerStatus, Event, Node, Pod } from 'kubernetes-types/core/v1.d.ts';
import type {
  ClusterEvidence,
  Evidence,
  MachineEvidence,
  ProbeEvidence,
  WayEvidence,
} from '../../../bootstrap/diagnose/evidence.ts';

export const NOW = new Date('2026-01-01T12:00:00Z');
const GIB = 1024 ** 3;
const API = 'https://10.0.0.1:6443';

/** RFC 3339, so many seconds before now. */
export function ago(seconds: number): string {
  return new Date(NOW.getTime() - seconds * 1000).toISOString();
}

/** A control-plane machine that is well. */
export const MACHINE: MachineEvidence = {
  name: 'cp',
  isLocal: true,
  role: 'control-plane',
  services: ['tkadm-runtime', 'tkadm-agent'].map((name) => ({
    name,
    isKept: true,
    pid: 7,
    log: ['started'],
  })),
  disks: [
    {
      path: '/var/lib/tkadm',
      freeBytes: 9 * GIB,
      sizeBytes: 20 * GIB,
      freeInodes: 1_000,
      inodes: 2_000,
      isReadOnly: false,
    },
  ],
  syncMs: 3,
  kernel: { isForwarding: true, conntrack: { count: 10, max: 1_000 } },
  swaps: [],
  memory: { totalBytes: 4 * GIB, availableBytes: 2 * GIB },
  missingControllers: [],
  cni: [{ path: '/etc/cni/net.d/10-tkadm.conflist' }],
  certificates: [{ name: 'apiserver', path: '/etc/kubernetes/pki/apiserver.crt', problems: [] }],
  staticPods: ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'].map((component) => ({
    component,
    recentStarts: 1,
    log: [],
  })),
  takenPorts: [],
  probes: [
    probe('kube-apiserver', {}),
    probe('kube-controller-manager', {}),
    probe('kube-scheduler', {}),
    probe('agent', {}),
  ],
  dropRules: [],
  nftTables: ['ip kube-proxy'],
  links: [
    { name: 'eth0', mtu: 1500, addresses: ['10.0.0.1'] },
    { name: 'tkadm0', mtu: 1500, addresses: ['10.244.0.1'] },
  ],
  nameServers: ['10.0.0.53'],
  ways: [],
};

/** An answer, or what came instead. */
export function probe(name: string, patch: Partial<ProbeEvidence>): ProbeEvidence {
  return { name, url: `${API}/readyz`, outcome: 'answered', said: 'HTTP 200', ...patch };
}

/** The machine's probes with one replaced. */
export function probesWith(name: string, patch: Partial<ProbeEvidence>): readonly ProbeEvidence[] {
  return MACHINE.probes.map((row) => (row.name === name ? { ...row, ...patch } : row));
}

export const NODE: Node = {
  metadata: { name: 'cp' },
  spec: { podCIDR: '10.244.0.0/24' },
  status: {
    addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
    conditions: [{ type: 'Ready', status: 'True' }],
  },
};

export const CLUSTER: ClusterEvidence = {
  server: API,
  nodes: [NODE],
  leases: [{ metadata: { name: 'cp' }, spec: { renewTime: ago(5) } }],
  pods: [],
  events: [],
  deployments: [
    { metadata: { name: 'coredns' }, spec: { replicas: 1 } as never, status: { readyReplicas: 1 } },
  ],
  daemonSets: [{ metadata: { name: 'kube-proxy' } }],
  requests: [],
  agentProbes: [{ ...probe('cp', {}), nodeName: 'cp' }],
  containerLogs: new Map(),
};

export const EVIDENCE: Evidence = {
  now: NOW,
  subject: { kind: 'cluster' },
  machines: [MACHINE],
  witnesses: [MACHINE],
  cluster: CLUSTER,
  unseen: [],
};

/** The evidence with a machine that is different. */
export function machineWith(patch: Partial<MachineEvidence>): Evidence {
  return machinesWith({ ...MACHINE, ...patch });
}

function machinesWith(...machines: readonly MachineEvidence[]): Evidence {
  return { ...EVIDENCE, machines, witnesses: machines };
}

/** A machine of a second node that is well. */
export const WORKER: MachineEvidence = {
  ...MACHINE,
  name: 'node1',
  isLocal: false,
  role: 'worker',
  staticPods: [],
  probes: [probe('kube-apiserver', {}), probe('agent', {})],
  links: [
    { name: 'eth0', mtu: 1500, addresses: ['10.0.0.2'] },
    { name: 'tkadm0', mtu: 1500, addresses: ['10.244.1.1'] },
  ],
};

/** A way to the first node that is well, from a second one. */
const WAY: WayEvidence = {
  to: 'cp',
  address: '10.0.0.1',
  range: '10.244.0.0/24',
  hasRoute: true,
  packets: { fullBytes: 1500, isAnswered: true },
  pods: {
    from: 'pod',
    podName: 'default/web',
    address: '10.244.0.7',
    port: 80,
    outcome: 'answered',
    said: 'connected',
  },
};

/** The first machine is asked about; the way to it from a second one is different. */
export function wayWith(
  patch: Partial<WayEvidence>,
  first: Partial<MachineEvidence> = {},
  second: Partial<MachineEvidence> = {},
): Evidence {
  const cp = { ...MACHINE, ...first };
  return {
    ...EVIDENCE,
    machines: [cp],
    witnesses: [cp, { ...WORKER, ways: [{ ...WAY, ...patch }], ...second }],
  };
}

export const LOST_PATH = { ...WAY.pods!, outcome: 'silent', said: 'no answer within 2500 ms' } as const;

export function clusterWith(patch: Partial<ClusterEvidence>): Evidence {
  return { ...EVIDENCE, cluster: { ...CLUSTER, ...patch } };
}

/** The Node with other conditions. */
export function nodeWith(type: string, status: string, message: string): Evidence {
  const conditions = [
    ...(NODE.status?.conditions ?? []).filter((row) => row.type !== type),
    { type, status, message },
  ];
  return clusterWith({ nodes: [{ ...NODE, status: { ...NODE.status, conditions } }] });
}

export interface PodParts {
  readonly container?: Partial<ContainerStatus>;
  readonly warning?: readonly [reason: string, message: string];
  /** The scheduler's message; the pod has no node then. */
  readonly unschedulable?: string;
  readonly status?: Pod['status'];
  readonly metadata?: Pod['metadata'];
  readonly spec?: Partial<NonNullable<Pod['spec']>>;
}

/** A pod "default/web" with one container "a" that is not ready. */
export function podWith(parts: PodParts): Evidence {
  const { container, warning, unschedulable, status, metadata, spec } = parts;
  const conditions = [
    { type: 'Ready', status: 'False' },
    ...(unschedulable === undefined
      ? []
      : [{ type: 'PodScheduled', status: 'False', reason: 'Unschedulable', message: unschedulable }]),
  ];
  const event: Event = {
    metadata: {},
    type: 'Warning',
    reason: warning?.[0] ?? '',
    message: warning?.[1] ?? '',
    involvedObject: { kind: 'Pod', namespace: 'default', name: 'web' },
    lastTimestamp: ago(1),
  };
  const pod: Pod = {
    metadata: { namespace: 'default', name: 'web', creationTimestamp: ago(60), ...metadata },
    spec: {
      containers: [{ name: 'a', image: 'shop/web:1' }],
      ...(unschedulable === undefined ? { nodeName: 'cp' } : {}),
      ...spec,
    },
    status: {
      phase: 'Pending',
      conditions,
      ...(container
        ? {
            containerStatuses: [
              { name: 'a', image: 'shop/web:1', imageID: '', ready: false, restartCount: 0, ...container },
            ],
          }
        : {}),
      ...status,
    },
  };
  return clusterWith({ pods: [pod], events: warning ? [event] : [] });
}

/** A container that waits. */
export function waiting(reason: string, message = ''): Partial<ContainerStatus> {
  return { state: { waiting: { reason, message } } };
}

/** A container that has ended and waits for its next start. */
export function endedWith(exitCode: number, reason: string, message = ''): Partial<ContainerStatus> {
  return {
    restartCount: 3,
    state: { waiting: { reason: 'CrashLoopBackOff', message: 'back-off' } },
    lastState: { terminated: { exitCode, reason, message } },
  };
}
