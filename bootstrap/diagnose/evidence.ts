import type { DaemonSet, Deployment } from 'kubernetes-types/apps/v1.d.ts';
import type { CertificateSigningRequest } from 'kubernetes-types/certificates/v1.d.ts';
import type { Lease } from 'kubernetes-types/coordination/v1.d.ts';
import type { Event, Node, Pod } from 'kubernetes-types/core/v1.d.ts';

/** What a question is about. */
export type Subject =
  | { readonly kind: 'cluster' }
  /** This machine, for a wait on it. */
  | { readonly kind: 'machine' }
  | { readonly kind: 'node'; readonly name: string }
  | { readonly kind: 'pod'; readonly namespace: string; readonly name: string };

/** All that was seen. What nobody could look at is undefined, and named in `unseen`. */
export interface Evidence {
  readonly now: Date;
  readonly subject: Subject;
  /** Those that the question is about, of this machine and those that were reached over SSH. */
  readonly machines: readonly MachineEvidence[];
  /** All that were looked at: a fault of one machine may be the doing of another. */
  readonly witnesses: readonly MachineEvidence[];
  readonly cluster: ClusterEvidence | undefined;
  /** "admin.conf: permission denied" */
  readonly unseen: readonly string[];
}

export type Role = 'none' | 'worker' | 'control-plane';

/** One machine, by its own word. */
export interface MachineEvidence {
  /** Name of its Node; without a cluster, of the machine. */
  readonly name: string;
  readonly isLocal: boolean;
  readonly role: Role;
  readonly services: readonly ServiceEvidence[];
  /** What is wrong with the node bundle. */
  readonly bundleProblem?: string | undefined;
  readonly disks: readonly DiskEvidence[];
  /** One write of 512 bytes until it is on disk. */
  readonly syncMs?: number | undefined;
  readonly kernel: KernelEvidence;
  readonly swaps: readonly string[];
  readonly memory?: { readonly totalBytes: number; readonly availableBytes: number } | undefined;
  /** Controllers that limits need and that are not there. */
  readonly missingControllers: readonly string[];
  readonly cni: readonly CniEvidence[];
  readonly certificates: readonly CertificateEvidence[];
  readonly staticPods: readonly StaticPodEvidence[];
  /** Ports of the cluster at which a program of somebody else listens. */
  readonly takenPorts: readonly { readonly port: number; readonly holder: string }[];
  readonly probes: readonly ProbeEvidence[];
  readonly dropRules: readonly DropRule[];
  /** "ip kube-proxy"; undefined when they could not be listed. */
  readonly nftTables?: readonly string[] | undefined;
  readonly links: readonly LinkEvidence[];
  readonly nameServers?: readonly string[] | undefined;
  /** From this machine to the other nodes that are Ready. */
  readonly ways: readonly WayEvidence[];
}

/** A firewall rule that drops or rejects, as nft and iptables print it. */
export interface DropRule {
  /** "input", "output", "forward", ...; "" for a chain that others jump to. */
  readonly hook: string;
  /** "inet filter INPUT" */
  readonly chain: string;
  /** "policy drop": what no rule of the chain accepts. */
  readonly text: string;
}

/** How far what one machine sends to another comes: each was tried. */
export interface WayEvidence {
  /** Name of the other Node, its address, and the range of its pods. */
  readonly to: string;
  readonly address: string;
  readonly range: string | undefined;
  /** Of the built-in pod network: the route to the other node's pods is there. */
  readonly hasRoute?: boolean | undefined;
  /** A packet as large as pods send it, to the other agent's port; undefined when a small one was not answered either. */
  readonly packets?: {
    readonly fullBytes: number;
    readonly isAnswered: boolean;
    /** Of a full one that is lost: the largest that is answered. */
    readonly passingBytes?: number | undefined;
  };
  readonly pods?: PodPathEvidence | undefined;
}

/** A connection to a pod of the other node. */
export interface PodPathEvidence {
  /** From within a pod's network, or from the pods' bridge where there is no pod. */
  readonly from: 'pod' | 'bridge';
  readonly podName: string;
  readonly address: string;
  readonly port: number;
  /** `refused`: by the pod itself, or by a firewall on the way. */
  readonly outcome: ProbeOutcome;
  readonly said: string;
}

export interface ServiceEvidence {
  readonly name: string;
  /** The init system, or the supervisor, keeps it running. */
  readonly isKept: boolean;
  readonly pid: number | undefined;
  /** Its last lines. */
  readonly log: readonly string[];
}

export interface DiskEvidence {
  readonly path: string;
  readonly freeBytes: number;
  readonly sizeBytes: number;
  /** 0 of 0 where the file system has no limit. */
  readonly freeInodes: number;
  readonly inodes: number;
  readonly isReadOnly: boolean;
}

export interface KernelEvidence {
  /** net.ipv4.ip_forward */
  readonly isForwarding?: boolean | undefined;
  readonly conntrack?: { readonly count: number; readonly max: number } | undefined;
}

export interface CniEvidence {
  readonly path: string;
  /** Why no network can be made from it. */
  readonly problem?: string | undefined;
}

export interface CertificateEvidence {
  /** "apiserver", "ca", "node": the agent's own. */
  readonly name: string;
  readonly path: string;
  /** "it expired at 2026-01-01T00:00:00.000Z" */
  readonly problems: readonly { readonly kind: string; readonly message: string }[];
}

export interface StaticPodEvidence {
  readonly component: string;
  /** What is wrong with its manifest. */
  readonly manifestProblem?: string | undefined;
  /** Starts of its container that ended in the last minutes. */
  readonly recentStarts: number;
  readonly log: readonly string[];
}

/** How far a request came. Silence: no answer at all, as when packets are dropped. */
export type ProbeOutcome = 'answered' | 'refused' | 'silent' | 'unknown-name' | 'no-route' | 'broken';

export interface ProbeEvidence {
  /** "kube-apiserver", "kube-scheduler", "agent", ... */
  readonly name: string;
  readonly url: string;
  readonly outcome: ProbeOutcome;
  /** HTTP status, or the error's text. */
  readonly said: string;
  /** Why the server's certificate is not trusted, as OpenSSL names it. */
  readonly distrust?: string | undefined;
  /** This machine's clock against the answer's Date header. */
  readonly skewMs?: number | undefined;
}

export interface LinkEvidence {
  readonly name: string;
  readonly mtu: number;
  readonly addresses: readonly string[];
}

/** The cluster, by the word of its API server. */
export interface ClusterEvidence {
  readonly server: string;
  /** Why nothing of it could be read. */
  readonly problem?: { readonly code: string; readonly message: string } | undefined;
  readonly nodes: readonly Node[];
  readonly leases: readonly Lease[];
  readonly pods: readonly Pod[];
  readonly events: readonly Event[];
  readonly deployments: readonly Deployment[];
  readonly daemonSets: readonly DaemonSet[];
  readonly requests: readonly CertificateSigningRequest[];
  /** The agents' own ports, asked from this machine. */
  readonly agentProbes: readonly (ProbeEvidence & { readonly nodeName: string })[];
  /** Last lines of containers that ended, by "namespace/pod/container". */
  readonly containerLogs: ReadonlyMap<string, readonly string[]>;
}
