import type { Node } from 'kubernetes-types/core/v1.d.ts';
import type { ApiClient } from '../../runtime/api/client.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { collectCluster, nodeAddress } from './collect/cluster.ts';
import { createLooker, type Looker } from './collect/looker.ts';
import { collectMachine } from './collect/machine.ts';
import { collectWays } from './collect/ways.ts';
import type { Finding } from './diagnosis.ts';
import type { ClusterEvidence, Evidence, MachineEvidence, Subject } from './evidence.ts';
import { rankCauses } from './rank.ts';
import { DIAGNOSES } from './table.ts';

/** Works on another machine, when that is reached. */
export type Visit = <T>(address: string, work: (host: Host) => Promise<T>) => Promise<T>;

export interface DiagnoseOptions {
  readonly subject: Subject;
  /** The machine that this runs on. */
  readonly host: Host;
  /** Node.js here, and on a node. */
  readonly nodePath: string;
  readonly remoteNodePath: string;
  readonly api: () => Promise<ApiClient>;
  readonly now: () => Date;
  /** Without it other machines are not looked at. */
  readonly visit?: Visit | undefined;
  /** Of each look; default: 10 s. */
  readonly lookMs?: number;
  /** Of each request; default: 2.5 s. */
  readonly requestMs?: number;
}

export interface Diagnosis {
  readonly subject: Subject;
  readonly findings: readonly Finding[];
  readonly unseen: readonly string[];
  readonly evidence: Evidence;
}

/** Machines that are looked at over SSH when the whole cluster is asked for. */
const VISITS_AT_MOST = 4;
/** One after the other on a machine over SSH: the connection, all looks at it, the ways from it. */
const VISIT_LOOKS = 3;
const LOOK_MS = 10_000;
const REQUEST_MS = 2_500;

/**
 * Collects the evidence and names the causes that it speaks for, the likeliest first. Changes nothing.
 * @throws DIAGNOSIS_SUBJECT when the API server has no such node or pod
 */
export async function diagnose(options: DiagnoseOptions): Promise<Diagnosis> {
  const { subject, host, now, api, nodePath, lookMs = LOOK_MS, requestMs = REQUEST_MS } = options;
  const looker = createLooker(lookMs);
  const request = { timeoutMs: requestMs, now, nodePath };
  const [local, cluster] = await Promise.all([
    collectMachine(host, { isLocal: true, looker, ...request }),
    collectCluster({ host, looker, api, ...request }),
  ]);
  refuseUnknown(subject, cluster);
  const trying = addWays(host, local, { looker, cluster, nodePath, requestMs });
  // Of the whole cluster those are visited to which the ways are broken.
  const known = subject.kind === 'cluster' ? await trying : local;
  const visiting = visitNodes(selectVisits(subject, cluster, known), { looker, cluster }, options);
  const machines = (await Promise.all([trying, visiting])).flat();
  const evidence = narrow({
    now: now(),
    subject,
    machines,
    witnesses: machines,
    cluster,
    unseen: looker.unseen,
  });
  return { subject, findings: rankCauses(DIAGNOSES, evidence), unseen: evidence.unseen, evidence };
}

interface WaysOptions {
  readonly looker: Looker;
  readonly cluster: ClusterEvidence;
  readonly nodePath: string;
  readonly requestMs: number;
}

/** A machine with the ways from it to other nodes, once the cluster has told which there are. */
async function addWays(
  host: Host,
  machine: MachineEvidence,
  { looker, cluster, nodePath, requestMs: timeoutMs }: WaysOptions,
): Promise<MachineEvidence> {
  const prefix = machine.isLocal ? '' : `${host.name}: `;
  const work = () => collectWays(host, machine, { nodePath, timeoutMs, cluster });
  return { ...machine, ways: await looker.look(`${prefix}ways to other nodes`, work, []) };
}

/** @throws DIAGNOSIS_SUBJECT */
function refuseUnknown(subject: Subject, { problem, nodes, pods }: ClusterEvidence): void {
  if (problem || subject.kind === 'cluster' || subject.kind === 'machine') return;
  const isKnown =
    subject.kind === 'node'
      ? nodes.length === 0 || nodes.some(({ metadata }) => metadata?.name === subject.name)
      : pods.some(
          ({ metadata }) => metadata?.name === subject.name && metadata.namespace === subject.namespace,
        );
  if (isKnown) return;
  const text = formatSubject(subject);
  throw new TkadmError(
    'DIAGNOSIS_SUBJECT',
    `Cannot look at "${text}": the cluster has no such ${subject.kind}`,
    {
      hint: subject.kind === 'node' ? 'kubectl get nodes' : `kubectl -n ${subject.namespace} get pods`,
    },
  );
}

/** "cluster", "node/NAME", "pod/NAMESPACE/NAME" */
export function formatSubject(subject: Subject): string {
  if (subject.kind === 'cluster' || subject.kind === 'machine') return subject.kind;
  return subject.kind === 'node' ? `node/${subject.name}` : `pod/${subject.namespace}/${subject.name}`;
}

/** The node that is asked for; of the whole cluster those that are not Ready, or not reached in full. */
function selectVisits(
  subject: Subject,
  { nodes, agentProbes }: ClusterEvidence,
  local: MachineEvidence,
): readonly Node[] {
  const isWell = (node: Node) => {
    const name = node.metadata?.name;
    const { pods, packets } = local.ways.find(({ to }) => to === name) ?? {};
    const probe = agentProbes.find(({ nodeName }) => nodeName === name);
    const answers = [probe?.outcome, pods?.outcome].every((outcome) =>
      [undefined, 'answered'].includes(outcome),
    );
    return isNodeReady(node) && answers && packets?.isAnswered !== false;
  };
  const others = nodes.filter(({ metadata }) => metadata?.name !== local.name);
  if (subject.kind === 'node') return others.filter(({ metadata }) => metadata?.name === subject.name);
  if (subject.kind === 'pod' || subject.kind === 'machine') return [];
  return others.filter((node) => !isWell(node)).slice(0, VISITS_AT_MOST);
}

async function visitNodes(
  nodes: readonly Node[],
  { looker, cluster }: Pick<WaysOptions, 'looker' | 'cluster'>,
  { visit, now, remoteNodePath: nodePath, requestMs = REQUEST_MS }: DiagnoseOptions,
): Promise<readonly MachineEvidence[]> {
  const machines = nodes.map(async (node) => {
    const [name, address] = [node.metadata?.name, nodeAddress(node)];
    if (!visit || address === undefined) return [];
    const options = { isLocal: false, looker, now, nodePath, timeoutMs: requestMs };
    const work = async (host: Host) => {
      const machine = await collectMachine(host, options);
      return addWays(host, machine, { looker, cluster, nodePath, requestMs });
    };
    return looker.look(`${name} over SSH`, async () => [await visit(address, work)], [], VISIT_LOOKS);
  });
  return (await Promise.all(machines)).flat();
}

/** Leaves out what the question is not about. Where the API server is silent, this machine may say why. */
function narrow(evidence: Evidence): Evidence {
  const { subject, machines, cluster } = evidence;
  if (subject.kind === 'cluster' || !cluster) return evidence;
  const pods = cluster.pods.filter(
    ({ metadata }) =>
      subject.kind === 'pod' && metadata?.name === subject.name && metadata.namespace === subject.namespace,
  );
  const local = machines.find(({ isLocal }) => isLocal);
  const nodeName = {
    node: 'name' in subject ? subject.name : undefined,
    pod: pods[0]?.spec?.nodeName,
    machine: local?.name,
  }[subject.kind];
  const isMeant = (name: string | undefined) => name === nodeName;
  return {
    ...evidence,
    machines: machines.filter(({ name, isLocal }) =>
      cluster.problem || nodeName === undefined ? isLocal || isMeant(name) : isMeant(name),
    ),
    cluster: {
      ...cluster,
      pods,
      nodes: cluster.nodes.filter(({ metadata }) => isMeant(metadata?.name)),
      deployments: [],
    },
  };
}
