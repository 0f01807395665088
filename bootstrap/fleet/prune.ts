import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { isApiError } from '../../runtime/api/api-error.ts';
import { NODES } from '../../runtime/api/kinds.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { MachineReporter } from '../render/fleet.ts';
import type { HostResult } from '../render/fleet-result.ts';
import type { SshSettings } from '../ssh/connection.ts';
import { followCommand } from '../ssh/remote-command.ts';
import { bundledCommand } from '../ssh/upload-bundle.ts';
import type { ApplyMember, ApplyRun } from './apply-run.ts';
import type { ClusterAccess } from './cluster-access.ts';
import { drainNode } from './drain.ts';
import { type Member, toMember, withMember } from './member.ts';
import { findNodeOf, internalIp, isControlPlane, readRemembered } from './nodes.ts';
import type { MemberEnd } from './run.ts';

/** A node whose host is not in the file any more. */
export interface LeftMember extends Member {
  readonly node: Node;
}

/** Nodes that no host of the file is, with the way to them: as it was remembered, else by the node's address. */
export function listLeft(
  { fleet, nodes }: Pick<ApplyRun, 'fleet' | 'nodes'>,
  { base, directory }: { readonly base: SshSettings; readonly directory: string },
): readonly LeftMember[] {
  const claimed = new Set(fleet.hosts.map((host) => findNodeOf(host, nodes)?.metadata?.name));
  return nodes
    .filter(({ metadata }) => !claimed.has(metadata?.name))
    .map((node) => {
      const { address = internalIp(node) ?? node.metadata?.name ?? '', ssh = {} } =
        readRemembered(node) ?? {};
      return { ...toMember({ address, ssh }, { base, directory }), node };
    });
}

/** Without those whose machine has turned out to be a host of the file. */
export function withoutFound(
  left: readonly LeftMember[],
  results: readonly HostResult[],
): readonly LeftMember[] {
  return left.filter((member) => !results.some(({ node }) => node === member.node.metadata?.name));
}

/** False while a host that was not reached may be one of the nodes that the file seems not to name. */
export function isPruneCertain(
  { nodes }: ApplyRun,
  members: readonly ApplyMember[],
  results: readonly HostResult[],
): boolean {
  return members.every(({ host }, index) => !results[index]!.error || findNodeOf(host, nodes) !== undefined);
}

/** @throws UNSUPPORTED when no control plane would be left */
export function refuseLastControlPlane(nodes: readonly Node[], left: readonly LeftMember[]): void {
  const controlPlanes = nodes.filter(isControlPlane);
  const isLeft = (node: Node) => left.some((member) => member.node === node);
  if (controlPlanes.length === 0 || !controlPlanes.every(isLeft)) return;
  const names = controlPlanes.map(({ metadata }) => metadata?.name).join(', ');
  throw new TkadmError(
    'UNSUPPORTED',
    `Cannot remove node ${names}: without it the cluster has no control plane`,
    {
      hint: 'Name its host in the file',
    },
  );
}

/** Drains a node, resets its machine and deletes the Node; the machine is reached before anything is changed. */
export async function pruneMember(
  { api }: ClusterAccess,
  member: LeftMember,
  {
    run,
    machine,
    drainTimeoutMs,
  }: { readonly run: ApplyRun; readonly machine: MachineReporter; readonly drainTimeoutMs: number },
): Promise<MemberEnd> {
  const { signal } = run.tools;
  const name = member.node.metadata?.name ?? '';
  machine.progress('connect');
  await withMember(member, { signal, onNotice: machine.progress }, async (host) => {
    const { progress, warn } = machine;
    await drainNode(api, member.node, { timeoutMs: drainTimeoutMs, signal, onProgress: progress, warn });
    progress('reset the machine');
    await followCommand(host, {
      argv: [...bundledCommand('current'), 'reset', '--force', '--output=json'],
      verb: 'reset',
      failure: 'APPLY_FAILED',
      signal,
      onEvent: machine.event,
    });
  }).catch((error) => {
    throw isTkadmError(error, 'SSH_CONNECT') ? withoutMachine(error, name) : error;
  });
  await api.delete(NODES, { name }).catch((error) => {
    if (!isApiError(error, 'NotFound')) throw error;
  });
  return { node: name, outcome: 'removed' };
}

function withoutMachine(error: TkadmError, name: string): TkadmError {
  return new TkadmError(error.code, error.message, {
    cause: error,
    hint: `If the machine is gone for good: kubectl drain ${name} --ignore-daemonsets; kubectl delete node ${name}`,
  });
}
