import { hostname } from 'node:os';
import { load } from 'js-yaml';
import { UNFOLLOWED_FIELDS } from '../../runtime/agent/kubelet-config-fields.ts';
import { isApiError } from '../../runtime/api/api-error.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { CONFIG_MAPS, NODES } from '../../runtime/api/kinds.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { findUnfollowed } from '../../runtime/base/unfollowed-fields.ts';
import { buildKubeconfig, localServer } from '../../templates/kubeconfig.ts';
import { buildKubeletFiles } from '../../templates/kubelet-files.ts';
import type { PatchSet } from '../../templates/patches.ts';
import { renderYaml } from '../../templates/yaml.ts';
import type { JoinConfig } from '../config/types.ts';
import type { DiscoveredCluster, JoinCredentials } from '../tokens/cluster-info.ts';
import { pinsOf } from '../tokens/pin.ts';
import { explainRefusedToken } from '../tokens/refused.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import {
  CHECK_ETCD_PHASE,
  CONTROL_PLANE_FINISH_PHASES,
  CONTROL_PLANE_PREPARE_PHASES,
  ETCD_JOIN_PHASE,
} from './control-plane-join.ts';
import { serviceLogHint } from './hints.ts';
import type { InitContext } from './init-context.ts';
import { planAgent } from './kubelet-start.ts';
import { bundlePhase, runtimePhase } from './node-services.ts';
import { refuseOlderCluster } from './older-cluster.ts';
import { findOwnNode, KUBELET_KUBECONFIG, type OwnNode } from './own-node.ts';
import { preflightPhase } from './preflight.ts';

export interface JoinContext {
  readonly config: JoinConfig;
  readonly host: Host;
  readonly shouldFix: boolean;
  /** For its proxy variables. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** This node's address towards the cluster. */
  readonly nodeIp: string;
  readonly warn: (message: string) => void;
  readonly now: () => Date;
  readonly signal: AbortSignal;
  /** Discovery, done once. */
  readonly discover: () => Promise<DiscoveredCluster>;
  /** The user's patches. */
  readonly patches: () => Promise<PatchSet>;
  readonly isBundleInstalled: () => Promise<boolean>;
  /** The machine's own name, where it is not this one. */
  readonly hostname?: string;
  /** What the agent gets for its bootstrap, where that is not what the cluster is asked with. */
  readonly agentCredentials?: JoinCredentials;
  /** A client with the credentials of the join; whoever asks for it closes it. */
  readonly joinClient: () => Promise<ApiClient>;
  /** What the phases of init look at, for a further control-plane node. */
  readonly controlPlane: () => Promise<InitContext>;
}

/** With which the agent asks for its certificate. */
export const BOOTSTRAP_KUBECONFIG = `${PATHS.kubernetes}/bootstrap-kubelet.conf`;

/**
 * The phases of a join, named as kubeadm's and in its order; `discovery`, `bundle`, `runtime` and `wait-node` are
 * tkadm's own.
 */
const PHASES: readonly Phase<JoinContext>[] = [
  {
    ...(preflightPhase as Phase<JoinContext>),
    plan(context, tell) {
      // It only looks, so its answer may be there when the checks are done; what it finds is told after them.
      let awaited = `; ${describeSilence(context)}`;
      const found = context.discover().finally(() => {
        awaited = '';
      });
      found.catch(() => {});
      return preflightPhase.plan(context, (at) => tell?.(`${at}${awaited}`));
    },
  },
  {
    name: 'discovery',
    summary: 'Verify the cluster by token and CA pin',
    unchanged: 'Verified',
    after: ['preflight'],
    async plan(context, tell) {
      tell?.(describeSilence(context));
      const { client, caPem, explain } = await openCluster(context);
      tell?.('');
      await refuseOtherNode(context, { client, caPem })
        .then(() => refuseOlderCluster(client))
        .catch(explain)
        .finally(() => client.close());
      // What cannot be joined as control plane is refused before anything is changed.
      if (context.config.controlPlane) await context.controlPlane();
      return [];
    },
  },
  // Nothing is installed for a cluster that cannot be joined.
  {
    ...(bundlePhase as Phase<JoinContext>),
    after: ['discovery'],
    async plan(context) {
      const actions = await bundlePhase.plan(context);
      const isKept = (await findOwnNode(context)) && (await context.host.stat(`${PATHS.bundle}/current`));
      if (actions.length === 0 || !isKept) return actions;
      context.warn('this node keeps the programs of another package: "tkadm upgrade node" changes them');
      return [];
    },
  },
  runtimePhase,
  ...CONTROL_PLANE_PREPARE_PHASES,
  CHECK_ETCD_PHASE,
  {
    name: 'kubelet-start',
    summary: 'Start the node agent',
    after: ['runtime', 'discovery', 'control-plane-prepare', 'check-etcd'],
    plan: planKubeletStart,
  },
  ETCD_JOIN_PHASE,
  {
    name: 'kubelet-wait-bootstrap',
    summary: 'Wait for the TLS bootstrap',
    after: ['kubelet-start', 'etcd-join'],
    plan: async ({ config, host }) => [
      {
        kind: 'wait',
        hint: await serviceLogHint(host, 'tkadm-agent'),
        subject: `the node's own certificate in "${KUBELET_KUBECONFIG}"`,
        timeoutMs: config.timeouts.tlsBootstrapMs,
        target: {
          kind: 'node-client',
          kubeconfig: KUBELET_KUBECONFIG,
          bootstrapKubeconfig: BOOTSTRAP_KUBECONFIG,
          nodeName: config.nodeRegistration.name,
        },
      },
    ],
    // It holds a token, which serves nobody any more.
    cleanUp: async ({ host }) =>
      (await host.stat(BOOTSTRAP_KUBECONFIG)) ? [{ kind: 'remove', path: BOOTSTRAP_KUBECONFIG }] : [],
  },
  ...CONTROL_PLANE_FINISH_PHASES,
  {
    name: 'wait-node',
    summary: 'Wait for the node',
    after: ['kubelet-wait-bootstrap', 'control-plane-join', 'wait-control-plane'],
    plan: async ({ config, host }) => [
      {
        kind: 'wait',
        hint: await serviceLogHint(host, 'tkadm-agent'),
        subject: `Node "${config.nodeRegistration.name}" to be Ready`,
        timeoutMs: config.timeouts.kubeletHealthCheckMs,
        target: {
          kind: 'node-client',
          kubeconfig: KUBELET_KUBECONFIG,
          nodeName: config.nodeRegistration.name,
          isReadyNeeded: true,
        },
      },
    ],
  },
];

const CONTROL_PLANE_PHASES: readonly Phase<JoinContext>[] = [
  ...CONTROL_PLANE_PREPARE_PHASES,
  CHECK_ETCD_PHASE,
  ETCD_JOIN_PHASE,
  ...CONTROL_PLANE_FINISH_PHASES,
];

/** The phases of a join; a worker's run passes over those of a control-plane node. */
export function joinPhases({
  controlPlane,
}: Pick<JoinConfig, 'controlPlane'>): readonly Phase<JoinContext>[] {
  if (controlPlane) return PHASES;
  const refusal = 'this machine joins as a worker: --control-plane was not given';
  return PHASES.map((phase) => (CONTROL_PLANE_PHASES.includes(phase) ? { ...phase, refusal } : phase));
}

async function planKubeletStart(context: JoinContext): Promise<readonly Action[]> {
  const { config, host, nodeIp } = context;
  const { client, server, caPem, credentials, explain } = await openCluster(context);
  try {
    await refuseOtherNode(context, { client, caPem }).catch(explain);
    const kubelet = await readKubeletConfig(client);
    judgeKubeletConfig(kubelet, context);
    const files = buildKubeletFiles({
      nodeRegistration: config.nodeRegistration,
      kubelet,
      hostname: context.hostname ?? hostname(),
      isWorker: config.controlPlane === undefined,
      nodeIp: config.controlPlane?.localAPIEndpoint.advertiseAddress ?? nodeIp,
      patches: await context.patches(),
    });
    const agent = await planAgent(host, files);
    if (await findOwnNode(context)) return agent;
    return [
      ...(await planCaFile(host, config.caCertPath, caPem)),
      {
        kind: 'write-file',
        path: BOOTSTRAP_KUBECONFIG,
        mode: 0o600,
        secret: true,
        content: renderYaml(
          buildKubeconfig({
            clusterName: 'kubernetes',
            // The agent of a control-plane node speaks to the API server of its own.
            server: config.controlPlane
              ? localServer(await context.controlPlane().then((it) => it.config))
              : server,
            caPem,
            user: 'tls-bootstrap-token-user',
            credentials: context.agentCredentials ?? credentials,
          }),
        ),
      },
      ...agent,
    ];
  } finally {
    client.close();
  }
}

/** The cluster as the node that joins sees it. `explain` says of a refusal by the API server what it means. */
async function openCluster(context: JoinContext) {
  const cluster = await context.discover();
  const { server, caPem } = cluster;
  const credentials = selectCredentials(context.config, cluster);
  const address = { server, caPem, ...credentials };
  const explain = async (error: unknown): Promise<never> => {
    if (isApiError(error, 'Unauthorized') || isApiError(error, 'Forbidden'))
      await explainRefusedToken(error, address, context);
    throw error;
  };
  return { client: new ApiClient(address), server, caPem, credentials, explain };
}

async function planCaFile(host: Host, path: string, caPem: string): Promise<readonly Action[]> {
  const present = await host.readFile(path);
  if (present?.trim() === caPem.trim()) return [];
  if (present !== undefined) {
    throw new TkadmError('PREFLIGHT_FAILED', `Cannot join: "${path}" holds the CA of another cluster`, {
      hint: 'tkadm reset -f',
    });
  }
  return [{ kind: 'write-file', path, mode: 0o644, content: caPem }];
}

/** @throws NODE_EXISTS when a Ready node has this name, and it is not this machine; PREFLIGHT_FAILED for a node of elsewhere */
async function refuseOtherNode(
  context: JoinContext,
  { client, caPem }: { readonly client: ApiClient; readonly caPem: string },
): Promise<void> {
  const { name } = context.config.nodeRegistration;
  // The first question with the token.
  const node = await client.find(NODES, { name });
  const own = await findOwnNode(context);
  if (own) return refuseOtherSelf(own, { name, caPem });
  if (!isNodeReady(node)) return;
  throw new TkadmError('NODE_EXISTS', `Cannot join as "${name}": the cluster has a Ready node of that name`, {
    hint: `tkadm join ... --node-name OTHER, or: kubectl delete node ${name}`,
  });
}

/** A machine that is a node already can only be that node again. @throws PREFLIGHT_FAILED, NODE_EXISTS */
function refuseOtherSelf(
  { nodeName, pins }: OwnNode,
  { name, caPem }: { readonly name: string; readonly caPem: string },
): void {
  if (!pinsOf(caPem).some((pin) => pins.includes(pin))) {
    throw new TkadmError(
      'PREFLIGHT_FAILED',
      `Cannot join: this machine is node "${nodeName}" of another cluster`,
      { hint: 'tkadm reset -f' },
    );
  }
  if (nodeName === name) return;
  throw new TkadmError(
    'NODE_EXISTS',
    `Cannot join as "${name}": this machine is node "${nodeName}" of this cluster already`,
    { hint: `tkadm join ... --node-name ${nodeName}, or first: tkadm reset -f` },
  );
}

function describeSilence({ config: { discovery } }: JoinContext): string {
  const { file, bootstrapToken } = discovery;
  return `no answer of "${file?.kubeConfigPath ?? bootstrapToken?.apiServerEndpoint}" yet`;
}

/**
 * The token of the command line, else the user of the discovery file, else the token of discovery.
 * @throws DISCOVERY_FILE_INVALID when a discovery file has no user and there is no token
 */
export function selectCredentials({ discovery }: JoinConfig, cluster: DiscoveredCluster): JoinCredentials {
  const { tlsBootstrapToken, bootstrapToken, file } = discovery;
  if (tlsBootstrapToken) return { token: tlsBootstrapToken };
  if (cluster.credentials) return cluster.credentials;
  if (bootstrapToken) return { token: bootstrapToken.token };
  throw new TkadmError(
    'DISCOVERY_FILE_INVALID',
    `Cannot join with discovery file "${file?.kubeConfigPath}": it has no user and no --tls-bootstrap-token is given`,
    { hint: 'tkadm token create, on the control plane; then --tls-bootstrap-token TOKEN here' },
  );
}

/** Tells of what the cluster asks its agents and ours does not do. @throws CONFIG_INVALID for what protects something */
function judgeKubeletConfig(kubelet: Readonly<Record<string, unknown>>, { config, warn }: JoinContext): void {
  if (config.tkadm.engine !== 'embedded') return;
  for (const { path, reason, isRefused } of findUnfollowed(kubelet, UNFOLLOWED_FIELDS)) {
    const source = 'ConfigMap kube-system/kubelet-config';
    if (!isRefused) warn(`${source}: ${path} has no effect: ${reason}`);
    else throw new TkadmError('CONFIG_INVALID', `Cannot follow ${path} of ${source}: ${reason}`);
  }
}

async function readKubeletConfig(client: ApiClient): Promise<Readonly<Record<string, unknown>>> {
  const map = await client.get(CONFIG_MAPS, { name: 'kubelet-config', namespace: 'kube-system' });
  return load(map.data?.['kubelet'] ?? '') as Readonly<Record<string, unknown>>;
}
