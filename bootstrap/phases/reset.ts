import type { PreflightInput } from '../../preflight/finding.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import {
  buildServiceFile,
  detectInitSystem,
  isServiceRunning,
  SERVICES,
} from '../../runtime/host/services.ts';
import type { ResetConfig } from '../config/types.ts';
import { BRIDGES, CNI_FILE, ROUTE_PROTOCOL, TABLES } from '../journal/own.ts';
import type { Done } from '../journal/undo.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { planChecks } from './preflight.ts';
import type { Comparison } from './reset-compare.ts';
import { planEnd, planRestore } from './reset-compare.ts';
import { planFiles, refuseUnmountFlags } from './reset-files.ts';

export interface ResetContext {
  readonly host: Host;
  readonly config: ResetConfig;
  /** Name of this node and the administrator's kubeconfig, when the cluster can be told. */
  readonly nodeName: string;
  readonly kubeconfig: string | undefined;
  readonly warn: (message: string) => void;
  /** What the journal tells. @throws JOURNAL_DAMAGED */
  readonly done: () => Promise<Done>;
  /** The machine as it is once everything is undone, against what it was; looked at once. */
  readonly compare: () => Promise<Comparison>;
}

/** The phases of reset, named as kubeadm's; `remove-node` and the parts of `cleanup-node` are tkadm's own. */
export const RESET_PHASES: readonly Phase<ResetContext>[] = [
  {
    name: 'preflight',
    summary: 'Check that a reset is possible',
    unchanged: 'Passed',
    async plan({ config, host, nodeName, warn, done }) {
      refuseUnmountFlags(config.unmountFlags);
      await done();
      return planChecks(host, buildResetInput(config, nodeName), { warn });
    },
  },
  {
    name: 'remove-etcd-member',
    summary: 'Leave the etcd cluster',
    after: ['preflight'],
    // Whatever is in /var/lib/etcd belongs to somebody else.
    idle: () => 'this node runs no etcd of tkadm; /var/lib/etcd is left as it is',
    plan: async () => [],
  },
  {
    name: 'remove-node',
    summary: 'Remove the Node object',
    unchanged: 'No kubeconfig of an administrator here',
    after: ['preflight'],
    plan: async ({ nodeName, kubeconfig }) =>
      kubeconfig === undefined ? [] : [{ kind: 'delete-node', nodeName, kubeconfig }],
  },
  {
    name: 'cleanup-node/pods',
    summary: 'Stop the agent, the pods and the runtime',
    unchanged: 'Nothing there',
    after: ['remove-node'],
    plan: planStop,
  },
  {
    name: 'cleanup-node/network',
    summary: 'Remove interfaces, routes and rules',
    unchanged: 'Nothing there',
    after: ['cleanup-node/pods'],
    plan: planNetwork,
  },
  {
    name: 'cleanup-node/files',
    summary: 'Remove files and directories',
    unchanged: 'Nothing there',
    after: ['cleanup-node/network'],
    plan: planFiles,
  },
  {
    name: 'cleanup-node/restore',
    summary: 'Put back what was replaced and repaired',
    after: ['cleanup-node/files'],
    unchanged: 'Nothing to put back',
    plan: planRestore,
  },
  {
    name: 'cleanup-node/compare',
    summary: 'Compare the machine with what it was',
    unchanged: 'Nothing to compare with',
    after: ['cleanup-node/restore'],
    plan: planEnd,
  },
];

/** What the checks of a reset look for. */
function buildResetInput({ ignorePreflightErrors, isDryRun }: ResetConfig, nodeName: string): PreflightInput {
  return {
    scope: 'reset',
    nodeName,
    ports: [],
    absentFiles: [],
    podCidrs: [],
    serviceCidrs: [],
    ignored: ignorePreflightErrors,
    isDryRun,
  };
}

async function planStop({ host, config }: ResetContext): Promise<readonly Action[]> {
  const initSystem = await detectInitSystem(host);
  const actions: Action[] = [];
  if (await isServiceRunning(host, 'tkadm-agent', initSystem))
    actions.push({ kind: 'stop-service', name: 'tkadm-agent' });
  const socketPath = await findOtherSocket(host, config);
  if (socketPath !== undefined) actions.push({ kind: 'remove-sandboxes', socketPath });
  const isRuntimeRunning = await isServiceRunning(host, 'tkadm-runtime', initSystem);
  // A runtime that was killed has left its containers, which only a runtime can end.
  const hasOrphans = !isRuntimeRunning && (await host.stat(PATHS.runtimeSocket)) !== undefined;
  if (hasOrphans) actions.push({ kind: 'start-service', name: 'tkadm-runtime' });
  if (isRuntimeRunning || hasOrphans)
    actions.push({ kind: 'remove-sandboxes' }, { kind: 'stop-service', name: 'tkadm-runtime' });
  for (const service of SERVICES) {
    const { path } = buildServiceFile(service, initSystem);
    if (initSystem !== 'none' && (await host.stat(path))) actions.push({ kind: 'remove', path });
  }
  if (initSystem === 'systemd' && actions.some((action) => action.kind === 'remove')) {
    actions.push({ kind: 'run', argv: ['systemctl', 'daemon-reload'], summary: 'reload systemd' });
  }
  return actions;
}

/** The socket of a runtime that is not ours: the user's, else the one that the agent was given; it must be there. */
async function findOtherSocket(host: Host, { criSocket }: ResetConfig): Promise<string | undefined> {
  const instance = (await host.readFile(`${PATHS.kubelet}/instance-config.yaml`)) ?? '';
  const given = /^containerRuntimeEndpoint: "?(\S+?)"?$/m.exec(instance)?.[1];
  const isOwn = (socket: string) => socket === `unix://${PATHS.runtimeSocket}`;
  const socket = isOwn(criSocket) ? given : criSocket;
  if (socket === undefined || isOwn(socket)) return undefined;
  const path = socket.replace(/^unix:\/\//, '');
  return (await host.stat(path)) ? path : undefined;
}

async function planNetwork({ host }: ResetContext): Promise<readonly Action[]> {
  const actions: Action[] = [];
  const tables = (await host.run(['nft', 'list', 'tables', 'ip'])).stdout;
  for (const table of TABLES) {
    if (!tables.split('\n').includes(`table ip ${table}`)) continue;
    actions.push({
      kind: 'run',
      argv: ['nft', 'delete', 'table', 'ip', table],
      summary: `delete nftables table ip ${table}`,
    });
  }
  for (const bridge of BRIDGES) {
    if (!(await host.stat(`/sys/class/net/${bridge}`))) continue;
    actions.push({ kind: 'run', argv: ['ip', 'link', 'del', bridge], summary: `delete interface ${bridge}` });
  }
  const routes = (await host.run(['ip', 'route', 'show', 'proto', ROUTE_PROTOCOL])).stdout.trim();
  if (routes !== '') {
    actions.push({
      kind: 'run',
      argv: ['ip', 'route', 'flush', 'proto', ROUTE_PROTOCOL],
      summary: 'delete routes to other nodes',
    });
  }
  const cniFiles = await host.list(PATHS.cniConfig);
  if (cniFiles.includes(CNI_FILE)) {
    const path = cniFiles.length === 1 ? PATHS.cniConfig : `${PATHS.cniConfig}/${CNI_FILE}`;
    actions.push({ kind: 'remove', path });
  }
  return actions;
}
