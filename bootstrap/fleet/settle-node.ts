import { LEASES, NODES } from '../../runtime/api/kinds.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { waitFor } from '../../runtime/base/time.ts';
import type { MachineReporter } from '../render/fleet.ts';
import { bundledCommand } from '../ssh/upload-bundle.ts';
import { formatAction } from '../workflow/action.ts';
import { previewAction } from '../workflow/preview.ts';
import type { ClusterAccess } from './cluster-access.ts';
import type { FleetHost } from './cluster-file.ts';
import { planNode } from './nodes.ts';

const READY_TIMEOUT_MS = 60_000;

export interface NodeToSettle {
  readonly host: FleetHost;
  readonly nodeName: string;
  readonly isPlan: boolean;
  readonly machine: MachineReporter;
}

/** Gives a Node the labels and taints of its host; returns the number of changes. In a plan they are only shown. */
export async function settleNode(
  { api }: ClusterAccess,
  { host, nodeName, isPlan, machine }: NodeToSettle,
): Promise<number> {
  const node = await api.get(NODES, { name: nodeName });
  const actions = planNode(host, node);
  for (const action of actions) {
    const preview = isPlan ? await previewAction(action, NO_FILES) : undefined;
    machine.event({
      type: 'action',
      phase: 'node',
      summary: formatAction(action),
      isDryRun: isPlan,
      ...(preview === undefined ? {} : { preview }),
    });
    if (isPlan || action.kind !== 'patch-object') continue;
    await api.patch(NODES, { name: nodeName }, { type: 'strategic', body: action.patch });
  }
  return actions.length;
}

/** A Node's change is none of a file. */
const NO_FILES: Pick<Host, 'readFile' | 'stat'> = {
  readFile: async () => undefined,
  stat: async () => undefined,
};

/** Starts the services of a node that has its certificate, and waits for the node. @throws SERVICE_FAILED, WAIT_TIMEOUT */
export async function startAgain(
  machine: Host,
  { access, nodeName, signal }: { access: ClusterAccess; nodeName: string; signal: AbortSignal },
): Promise<void> {
  const before = await readRenewal(access, nodeName);
  const { exitCode, stdout, stderr } = await machine.run([
    ...bundledCommand('current'),
    'service',
    'start',
    '--output=json',
  ]);
  signal.throwIfAborted();
  if (exitCode !== 0) {
    throw new TkadmError(
      'SERVICE_FAILED',
      `Cannot start the services of "${machine.name}": ${stderr.trim() || stdout.trim()}`,
      { hint: `tkadm service status, on ${machine.name}` },
    );
  }
  await waitReady(access, { nodeName, signal, before });
}

/** Waits until the node is Ready and its agent, which was started, has renewed its lease. */
async function waitReady(
  access: ClusterAccess,
  { nodeName, signal, before }: { nodeName: string; signal: AbortSignal; before: string | undefined },
): Promise<void> {
  await waitFor(
    async () => {
      const node = await access.api.find(NODES, { name: nodeName });
      if (!isNodeReady(node)) return undefined;
      return (await readRenewal(access, nodeName)) === before ? undefined : true;
    },
    { subject: `Node "${nodeName}" to be Ready`, timeoutMs: READY_TIMEOUT_MS, intervalMs: 300, signal },
  );
}

async function readRenewal({ api }: ClusterAccess, name: string): Promise<string | undefined> {
  const lease = await api.find(LEASES, { name, namespace: 'kube-node-lease' });
  return lease?.spec?.renewTime === undefined ? undefined : String(lease.spec.renewTime);
}
