import { ANY_MACHINE } from '../config/defaults.ts';
import { parseDocuments, type RawDocument } from '../config/documents.ts';
import type { DocumentKindName } from '../config/kinds.ts';
import { loadConfiguration } from '../config/load.ts';
import { configError, type FieldProblem } from '../config/problems.ts';
import { checkSchema } from '../config/schema-check.ts';
import type { Taint } from '../config/types.ts';
import type { HostKeyPolicy } from '../ssh/config-resolve.ts';
import { checkHosts } from './check-hosts.ts';

export type HostRole = 'control-plane' | 'worker';

/** How one host is reached; what is not said comes from ssh_config(5) and the command line. */
export interface HostSsh {
  readonly user?: string;
  readonly port?: number;
  readonly identityFile?: string;
  /** `[user@]host[:port]` with commas between, or "none". */
  readonly jump?: string;
  readonly become?: 'auto' | 'sudo' | 'doas' | 'none';
  readonly hostKeys?: HostKeyPolicy;
  /** "SHA256:…" */
  readonly hostKeyFingerprint?: string;
}

/** What a group may say for its hosts. */
export interface HostGroup {
  readonly role?: HostRole;
  readonly ssh?: HostSsh;
  readonly labels?: Readonly<Record<string, string>>;
  readonly taints?: readonly Taint[];
  /** The network interface whose address is the node's: "eth1". */
  readonly interface?: string;
}

/** A host as it is written, without the defaults of its group. */
export interface WrittenHost extends HostGroup {
  readonly address: string;
  readonly group?: string;
  readonly nodeName?: string;
  readonly nodeIP?: string;
  readonly local?: boolean;
}

/** The fields of the `Cluster` document. */
export interface ClusterFields {
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly ssh?: HostSsh;
    readonly groups?: Readonly<Record<string, HostGroup>>;
    readonly hosts: readonly WrittenHost[];
  };
}

/** A host with all that its group and the file say for it. */
export interface FleetHost {
  readonly address: string;
  readonly role: HostRole;
  readonly ssh: HostSsh;
  readonly nodeName: string | undefined;
  readonly nodeIP: string | undefined;
  readonly interface: string | undefined;
  /** Undefined: whether the address is this machine's decides. */
  readonly isLocal: boolean | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Undefined: the role's own. */
  readonly taints: readonly Taint[] | undefined;
}

/** All that a file says of a cluster. */
export interface Fleet {
  readonly name: string;
  /** In the order of the file. */
  readonly hosts: readonly FleetHost[];
  /** kubeadm's documents, and those of components, that stand in the same file. */
  readonly documents: readonly RawDocument[];
  readonly warnings: readonly string[];
}

/** What the first control plane is made with. */
const INIT_KINDS: readonly DocumentKindName[] = [
  'InitConfiguration',
  'ClusterConfiguration',
  'KubeletConfiguration',
  'KubeProxyConfiguration',
  'TkadmConfiguration',
];

/**
 * Reads a file of one `Cluster` document and those of kubeadm beside it. Unknown fields are errors.
 * @throws CONFIG_INVALID with every field that is wrong, and its line
 */
export async function readClusterFile(text: string, path: string): Promise<Fleet> {
  const parsed = parseDocuments(text, { path });
  const results = parsed.documents.map((document) => checkSchema(document));
  const problems = [
    ...parsed.duplicates,
    ...results.flatMap((result) => [...result.unknown, ...result.problems]),
    ...requireKinds(parsed.documents),
  ];
  if (problems.length > 0) throw configError(problems);
  const cluster = results.find(({ document }) => document.kind === 'Cluster')!.document;
  const documents = results.flatMap(({ document }) => (document.kind === 'Cluster' ? [] : [document]));
  const hasInit = documents.some(({ kind }) => INIT_KINDS.includes(kind));
  const init = hasInit
    ? await loadConfiguration({ kind: 'InitConfiguration', text, path, defaultsFrom: ANY_MACHINE })
    : undefined;
  const fields = cluster.fields as unknown as ClusterFields;
  const fleet = {
    name: fields.metadata.name,
    hosts: fields.spec.hosts.map((host) => completeHost(host, fields)),
    documents,
    warnings: [...parsed.warnings, ...(init?.warnings ?? [])],
  };
  const wrong = checkHosts(fleet, { fields, places: cluster.places, init: init?.config });
  if (wrong.length > 0) throw configError(wrong);
  return fleet;
}

function requireKinds(documents: readonly RawDocument[]): readonly FieldProblem[] {
  const others = documents.filter(
    ({ kind }) => ![...INIT_KINDS, 'JoinConfiguration', 'Cluster'].includes(kind),
  );
  const isMissing = !documents.some(({ kind }) => kind === 'Cluster');
  return [
    ...(isMissing
      ? [
          {
            path: 'kind',
            rule: 'Required value' as const,
            message: `tkadm.io/v1alpha1 Cluster is not in the file, which has ${documents.map(({ kind }) => kind).join(', ')}`,
            hint: 'tkadm apply --print-example',
          },
        ]
      : []),
    ...others.map(({ kind }) => ({
      path: 'kind',
      rule: 'Forbidden' as const,
      message: `${kind} has no place in a file of a cluster`,
    })),
  ];
}

function completeHost(host: WrittenHost, { spec }: ClusterFields): FleetHost {
  const group = host.group === undefined ? {} : (spec.groups?.[host.group] ?? {});
  return {
    address: host.address,
    // A host without one is refused by checkHosts.
    role: host.role ?? group.role ?? 'worker',
    ssh: { ...spec.ssh, ...group.ssh, ...host.ssh },
    nodeName: host.nodeName,
    nodeIP: host.nodeIP,
    interface: host.interface ?? group.interface,
    isLocal: host.local,
    labels: { ...group.labels, ...host.labels },
    taints: host.taints ?? group.taints,
  };
}
