import { basename } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import type { MachineReporter } from '../render/fleet.ts';
import type { SshHost } from '../ssh/host.ts';
import { followCommand } from '../ssh/remote-command.ts';
import { bundledCommand } from '../ssh/upload-bundle.ts';
import type { ApplyMember, ApplyRun, ReadyCluster } from './apply-run.ts';
import { keepKubeconfig, openCluster } from './cluster-access.ts';
import { formatInitDocuments } from './documents.ts';
import { findNodeIp, inspectMachine } from './inspect.ts';
import { bringMemberBundle } from './join-member.ts';
import { withMember } from './member.ts';
import type { MemberEnd } from './run.ts';
import { settleNode } from './settle-node.ts';

/**
 * Makes the cluster on its first control plane, or makes it what the file says; an `init` that has nothing to do
 * changes nothing. Opens the cluster's gate for the other hosts.
 */
export async function convergeFirst(
  run: ApplyRun,
  member: ApplyMember,
  machine: MachineReporter,
): Promise<MemberEnd> {
  // The others need not wait for what is there.
  if (run.known && !needsCertificateKey(run))
    run.cluster.open({ access: run.known, certificateKey: undefined });
  try {
    machine.progress('connect');
    return await withMember(member, { signal: run.tools.signal, onNotice: machine.progress }, (host) =>
      convergeOn(host, { run, member, machine }),
    );
  } catch (error) {
    run.cluster.fail(
      new TkadmError(
        'APPLY_FAILED',
        `Cannot go on without the control plane "${member.name}", which failed`,
        {
          cause: error,
        },
      ),
    );
    throw error;
  }
}

interface FirstControlPlane {
  readonly run: ApplyRun;
  readonly member: ApplyMember;
  readonly machine: MachineReporter;
}

async function convergeOn(host: SshHost, { run, member, machine }: FirstControlPlane): Promise<MemberEnd> {
  const [state, nodeIp] = await Promise.all([inspectMachine(host), findNodeIp(host, member.host)]);
  const isMember = state.pins.length > 0;
  if (run.isPlan && !isMember) {
    const { previewInit } = await import('./preview-init.ts');
    run.cluster.fail(new TkadmError('APPLY_FAILED', 'There is no cluster yet'));
    return previewInit(host, { run, member, machine, nodeIp });
  }
  const bundle = isMember ? 'current' : await bring(host, { run, member, machine });
  const {
    changes = 0,
    certificateKey,
    node,
  } = await followCommand(host, {
    argv: [...bundledCommand(bundle), 'init', '--config=-', '--output=json', ...initFlags(run)],
    input: formatInitDocuments(run.fleet.documents, { host: member.host, nodeIp }),
    verb: 'init',
    failure: 'APPLY_FAILED',
    signal: run.tools.signal,
    onEvent: machine.event,
  });
  const cluster = await openGate(host, { run, member, certificateKey });
  const nodeName = node ?? member.host.nodeName ?? state.nodeName;
  const settled = await settleNode(cluster.access, {
    host: member.host,
    nodeName,
    isPlan: run.isPlan,
    machine,
  });
  if (run.isPlan) return { node: nodeName, changes: changes + settled };
  const outcome = changes + settled === 0 ? 'unchanged' : isMember ? 'changed' : 'initialized';
  return { node: nodeName, outcome };
}

/** `init` looks at the machine itself. */
async function bring(host: SshHost, { run, machine }: FirstControlPlane): Promise<string> {
  const toCheck = { ignorePreflightErrors: run.ignorePreflightErrors, shouldFix: run.shouldFix };
  return basename(await bringMemberBundle(host, { machine, tools: run.tools, toCheck, isUnchecked: true }));
}

function initFlags(run: ApplyRun): readonly string[] {
  return [
    ...(run.isPlan ? ['--dry-run'] : []),
    ...(run.shouldFix ? ['--fix'] : []),
    ...(run.ignorePreflightErrors.length > 0
      ? [`--ignore-preflight-errors=${run.ignorePreflightErrors.join(',')}`]
      : []),
    ...(needsCertificateKey(run) ? ['--upload-certs'] : []),
  ];
}

/** Further control planes that are no nodes yet get the certificates through the cluster. */
function needsCertificateKey({ fleet, nodes, isPlan }: ApplyRun): boolean {
  const wanted = fleet.hosts.filter(({ role }) => role === 'control-plane').length;
  const present = nodes.filter(
    ({ metadata }) => metadata?.labels?.['node-role.kubernetes.io/control-plane'] !== undefined,
  );
  return !isPlan && wanted > 1 && present.length < wanted;
}

/** Keeps the administrator's kubeconfig here and lets the other pipelines go on. */
async function openGate(
  host: SshHost,
  {
    run,
    member,
    certificateKey,
  }: Omit<FirstControlPlane, 'machine'> & { certificateKey: string | undefined },
): Promise<ReadyCluster> {
  const path = `${PATHS.kubernetes}/admin.conf`;
  const text = await host.readFile(path);
  if (text === undefined) {
    throw new TkadmError('APPLY_FAILED', `Cannot read "${path}" on "${host.name}": it is not there`, {
      hint: 'tkadm init phase kubeconfig admin, on that machine',
    });
  }
  const config = run.isPlan ? undefined : await keepKubeconfig(run.kubeconfigPath, text);
  const access = run.known ?? (await openCluster(config ?? (await parseAdmin(text, path)), member));
  const cluster = { access, certificateKey };
  run.cluster.open(cluster);
  return cluster;
}

async function parseAdmin(text: string, path: string) {
  const { parseKubeconfig, resolveClientConfig } = await import('../../runtime/api/kubeconfig.ts');
  return resolveClientConfig(parseKubeconfig(text, path), path);
}
