import { NODES } from '../../runtime/api/kinds.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { MachineReporter } from '../render/fleet.ts';
import type { SshHost } from '../ssh/host.ts';
import type { ApplyMember, ApplyRun, ReadyCluster } from './apply-run.ts';
import { buildJoinFields } from './documents.ts';
import { findNodeIp, inspectMachine, type MachineState } from './inspect.ts';
import { joinMember } from './join-member.ts';
import { withMember } from './member.ts';
import type { MemberEnd } from './run.ts';
import { settleNode, startAgain } from './settle-node.ts';

/** The cluster is there: a machine that does not reach it may have met a moment. */
const JOIN_ATTEMPTS = 4;

interface HostToConverge {
  readonly run: ApplyRun;
  readonly member: ApplyMember;
  readonly machine: MachineReporter;
}

/** Makes one host what the file says: joins it, starts it again, or corrects its Node; nothing when it is so. */
export async function convergeHost(
  run: ApplyRun,
  member: ApplyMember,
  machine: MachineReporter,
): Promise<MemberEnd> {
  machine.progress('connect');
  return withMember(member, { signal: run.tools.signal, onNotice: machine.progress }, async (host) => {
    const state = await inspectMachine(host);
    const tools = { run, member, machine };
    if (state.pins.length === 0) return join(host, state, tools);
    const cluster = await run.cluster.opened;
    // The join that runs there refuses a machine of another cluster, with what to do.
    if (!state.pins.some((pin) => cluster.access.pins.includes(pin))) return join(host, state, tools);
    return keep(host, { ...tools, state, cluster });
  });
}

async function join(
  host: SshHost,
  state: MachineState,
  { run, member, machine }: HostToConverge,
): Promise<MemberEnd> {
  const { nodeName } = member.host;
  const nodeIp = await findNodeIp(host, member.host);
  const isControlPlane = member.host.role === 'control-plane';
  const toCheck = {
    nodeName,
    apiServerEndpoint: run.known?.endpoint,
    ignorePreflightErrors: run.ignorePreflightErrors,
    shouldFix: run.shouldFix,
    ...(isControlPlane ? { controlPlane: {} } : {}),
  };
  if (run.isPlan) {
    const { previewMember } = await import('./preview-member.ts');
    return previewMember(host, { run, machine, toCheck, state });
  }
  const fields = buildJoinFields(run.fleet.documents, { host: member.host, nodeIp });
  const joined = await joinMember(host, {
    machine,
    tools: run.tools,
    toCheck,
    attempts: JOIN_ATTEMPTS,
    plan: async () => {
      const { access, certificateKey } = await waitForCluster(run, machine);
      return {
        admin: access.api,
        input: {
          ...toCheck,
          ...fields,
          apiServerEndpoint: access.endpoint,
          caCertHashes: access.pins,
          controlPlane: isControlPlane ? buildControlPlane(certificateKey, nodeIp) : undefined,
        },
      };
    },
  });
  const { access } = await run.cluster.opened;
  await settleNode(access, { host: member.host, nodeName: joined.node, isPlan: false, machine });
  return joined;
}

function waitForCluster(run: ApplyRun, machine: MachineReporter): Promise<ReadyCluster> {
  if (!run.known) machine.progress('wait for the control plane');
  return run.cluster.opened;
}

function buildControlPlane(certificateKey: string | undefined, nodeIp: string | undefined) {
  if (certificateKey === undefined) throw new Error('the certificates were uploaded with a key');
  return {
    certificateKey,
    ...(nodeIp === undefined ? {} : { localAPIEndpoint: { advertiseAddress: nodeIp } }),
  };
}

/** A machine that is a node of the cluster already. */
async function keep(
  host: SshHost,
  {
    run,
    member,
    machine,
    state,
    cluster: { access },
  }: HostToConverge & { readonly state: MachineState; readonly cluster: ReadyCluster },
): Promise<MemberEnd> {
  const { nodeName } = state;
  refuseOtherName(member, nodeName);
  const node = await access.api.find(NODES, { name: nodeName });
  const isUp = state.isRunning && isNodeReady(node);
  if (!isUp && run.isPlan) {
    machine.event({ type: 'action', phase: 'node', summary: 'start the services', isDryRun: true });
  } else if (!isUp) {
    machine.progress('start the services');
    await startAgain(host, { access, nodeName, signal: run.tools.signal });
  }
  // One that has lost its Node has it again once it runs.
  if (run.isPlan && node === undefined) return { node: nodeName, changes: 1 };
  const changes = await settleNode(access, { host: member.host, nodeName, isPlan: run.isPlan, machine });
  if (run.isPlan) return { node: nodeName, changes: changes + (isUp ? 0 : 1) };
  return { node: nodeName, outcome: isUp ? (changes > 0 ? 'changed' : 'unchanged') : 'started' };
}

/** @throws CONFIG_INVALID for a machine that is a node of another name */
function refuseOtherName({ name, host }: ApplyMember, nodeName: string): void {
  if (host.nodeName === undefined || host.nodeName === nodeName) return;
  throw new TkadmError(
    'CONFIG_INVALID',
    `Cannot call "${name}" "${host.nodeName}": it is node "${nodeName}" of this cluster`,
    { hint: `Write nodeName: ${nodeName}; or tkadm reset -f, on that machine` },
  );
}
