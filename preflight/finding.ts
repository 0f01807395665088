import type { PkiContext } from '../pki/plan.ts';
import type { ApiClient } from '../runtime/api/client.ts';
import type { Host } from '../runtime/base/host.ts';

/** The commands that look before they act. */
export const SCOPES = ['init', 'join', 'join-control-plane', 'upgrade', 'reset'] as const;
export type PreflightScope = (typeof SCOPES)[number];

/** Which programs make the cluster: those of this package, or the images of registry.k8s.io. */
export type PreflightEngine = 'embedded' | 'upstream';

/** A note stands in nobody's way: what was chosen, or why something was not looked at. */
export type Severity = 'error' | 'warning' | 'note';

/** Something of a machine that a command changes. */
export type Alteration =
  | { readonly kind: 'file'; readonly path: string }
  | {
      readonly kind: 'kernel-parameter';
      /** Below /proc/sys. */
      readonly path: string;
      /** Parameters that the kernel sets along with it. */
      readonly alongWith?: readonly string[];
    }
  /** Debian packages: the one that is asked for, and what it needs. */
  | { readonly kind: 'packages'; readonly wanted: string }
  | { readonly kind: 'swap' }
  | { readonly kind: 'unit'; readonly name: string };

/** One thing that stands in the way, or may, or should be known. */
export interface Finding {
  /** The check's name, as kubeadm has it where it has one; also the name for --ignore-preflight-errors. */
  readonly check: string;
  readonly severity: Severity;
  readonly reason: string;
  /** What was looked at and seen. */
  readonly evidence: string;
  /** The exact command that mends it. */
  readonly fix?: string;
  /** Commands, without a shell, that mend it; absent when only a person can. */
  readonly repair?: readonly (readonly string[])[];
  /** What those commands change, so that it can be put back. */
  readonly alters?: readonly Alteration[];
  /** Its name is among those to be ignored: it is told, it stops nothing and nothing repairs it. */
  readonly isIgnored?: boolean;
  /** The check itself failed or took too long, so nothing is known. */
  readonly isBlind?: boolean;
}

/** What a container runtime says of itself. Every call fails when the socket does not answer. */
export interface CriProbe {
  status(): Promise<{ readonly isReady: boolean; readonly reason: string }>;
  version(): Promise<{ readonly name: string; readonly version: string }>;
  /** undefined: the runtime does not have the RuntimeConfig call. */
  cgroupDriver(): Promise<'systemd' | 'cgroupfs' | undefined>;
  /** The image of pods' sandboxes; undefined: it does not tell. */
  sandboxImage(): Promise<string | undefined>;
  hasImage(name: string): Promise<boolean>;
  pullImage(name: string): Promise<void>;
  close(): void;
}

export interface ExternalEtcdInput {
  readonly endpoints: readonly string[];
  readonly httpEndpoints?: readonly string[] | undefined;
  readonly caFile: string;
  readonly certFile: string;
  readonly keyFile: string;
}

/** What the checks need to know of the plan. A field that is absent: nothing is planned there. */
export interface PreflightInput {
  readonly scope: PreflightScope;
  /** Default: embedded. */
  readonly engine?: PreflightEngine | undefined;
  readonly nodeName: string;
  /** "v1.36.2": what the control plane will be. */
  readonly kubernetesVersion?: string | undefined;
  /** TCP ports that will be listened on. */
  readonly ports: readonly number[];
  /** The machine is a node of ours already: ports that our own programs hold are no finding. */
  readonly isOwnNode?: boolean | undefined;
  /** Files that must not be there. */
  readonly absentFiles: readonly string[];
  /** Files that must be there: the manifests of a control plane that is upgraded. */
  readonly presentFiles?: readonly string[] | undefined;
  /** Directories that must be absent or empty: the data of an etcd to be started. */
  readonly emptyDirectories?: readonly string[] | undefined;
  readonly podCidrs: readonly string[];
  readonly serviceCidrs: readonly string[];
  /** Checks whose errors become warnings; "all" stands for every one. */
  readonly ignored: readonly string[];
  /** Address of this node, which one of its interfaces must have. */
  readonly advertiseAddress?: string | undefined;
  /** What the user gave the node agent as `--node-ip`. */
  readonly nodeIp?: string | undefined;
  /** The user chose the address: several candidates are no warning then. */
  readonly isAddressGiven?: boolean | undefined;
  /** "10.0.0.1:6443": the API server that a node joins. */
  readonly apiServer?: string | undefined;
  /** "unix:///run/containerd/containerd.sock" */
  readonly criSocket?: string | undefined;
  /** The node agent's `cgroupDriver`. */
  readonly cgroupDriver?: string | undefined;
  readonly externalEtcd?: ExternalEtcdInput | undefined;
  /** What a runtime of somebody else has to pull. */
  readonly images?:
    | {
        readonly names: readonly string[];
        readonly policy: 'Always' | 'IfNotPresent' | 'Never';
        readonly isSerial: boolean;
      }
    | undefined;
  /** The certificates as they shall be, to be compared with those on disk. */
  readonly certificates?: (Omit<PkiContext, 'host'> & { readonly hasLocalEtcd: boolean }) | undefined;
  /** The installer's environment, for its proxy variables. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
  /** Nothing may be changed: checks that pull or create are left out. */
  readonly isDryRun?: boolean | undefined;
  /** Reaches the runtime behind a socket of the machine; absent where it cannot be reached, as over SSH. */
  readonly openCri?: ((socketPath: string) => CriProbe) | undefined;
  /** A client of the cluster: the administrator's, for an upgrade and a join over SSH, or a discovery file's. */
  readonly api?: (() => Promise<ApiClient>) | undefined;
}

/** What a row looks at; where the engines differ, each has its own line. */
export type LooksAt = string | Readonly<Record<PreflightEngine, string>>;

/** A row of the table: looks at one side of the machine. */
export interface Check {
  /** Its findings have this name, or this name, "-" and what they are about. */
  readonly name: string;
  readonly scopes: readonly PreflightScope[];
  /** How grave its gravest finding is, and a check that could not look. */
  readonly severity: Exclude<Severity, 'note'>;
  readonly looksAt: LooksAt;
  /** `first`: alone, before all others. `last`: only when nothing before it stops the run; it changes something. */
  readonly stage?: 'first' | 'last';
  /** Default: 10 s. */
  readonly timeoutMs?: number;
  observe(host: Host, input: PreflightInput): Promise<Observation>;
}

/** What a check has found; undefined: with this plan there is nothing to look at. */
export type Observation = readonly Finding[] | undefined;

/** Those who put a node on this machine. */
export const NODES: readonly PreflightScope[] = ['init', 'join', 'join-control-plane'];
/** Those who put a control plane on it. */
export const CONTROL_PLANES: readonly PreflightScope[] = ['init', 'join-control-plane'];
/** Those who join a cluster that is there. */
export const JOINS: readonly PreflightScope[] = ['join', 'join-control-plane'];

export function isUpstream({ engine }: Pick<PreflightInput, 'engine'>): boolean {
  return engine === 'upstream';
}

/** Every range of the cluster. */
export function clusterCidrs({
  podCidrs,
  serviceCidrs,
}: Pick<PreflightInput, 'podCidrs' | 'serviceCidrs'>): readonly string[] {
  return [...podCidrs, ...serviceCidrs];
}

/** A finding that stops the run. */
export function errorFinding(check: string, reason: string, evidence: string, fix?: string): Finding {
  return { check, severity: 'error', reason, evidence, ...(fix ? { fix } : {}) };
}

/** A finding that is told. */
export function warningFinding(check: string, reason: string, evidence: string, fix?: string): Finding {
  return { ...errorFinding(check, reason, evidence, fix), severity: 'warning' };
}

/** Advice that a machine gets when it becomes a node; from then on it is a note, or it would come with every command. */
export function adviceFinding(input: Pick<PreflightInput, 'isOwnNode'>, finding: Finding): Finding {
  return input.isOwnNode ? { ...finding, severity: 'note' } : finding;
}

/** What was chosen, or why the check had nothing to look at. */
export function noteFinding(check: string, reason: string, evidence: string): Finding {
  return { ...errorFinding(check, reason, evidence), severity: 'note' };
}
