import { PODS } from '../../runtime/api/kinds.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { readCurrentBundleId } from '../../runtime/host/bundle.ts';
import { formatImage } from '../../templates/images.ts';
import { buildBootstrapRbacObjects } from '../addons/bootstrap-rbac.ts';
import { buildClusterInfo } from '../addons/cluster-info.ts';
import { addonPhases } from '../phases/addons.ts';
import { readCaBundle } from '../phases/files.ts';
import { KUBECONFIG_PHASES } from '../phases/manifests.ts';
import { planObjects } from '../phases/objects.ts';
import { uploadConfigPhases } from '../phases/upload-config.ts';
import { observe } from '../workflow/observe.ts';
import type { Phase } from '../workflow/phase.ts';
import { planAgentReturn, planAgentUpgrade, planNodeWait } from './agent.ts';
import type { UpgradeContext } from './context.ts';
import { planControlPlane, planControlPlaneReturn, planKeep } from './control-plane.ts';
import { planAddonPods, planCleanUp } from './post-upgrade.ts';
import { preflightPhase } from './preflight.ts';
import { planRuntimeRestart, runningBundle } from './services.ts';

type UpgradePhase = Phase<UpgradeContext>;

const WORKER = 'this node has no control plane';

/** The new programs beside the old ones; they are taken into use by the next phase. */
const bundlePhase: UpgradePhase = {
  name: 'bundle',
  summary: 'Install the node bundle',
  after: ['preflight'],
  async plan({ host, wantedBundle }) {
    return (await host.stat(`${PATHS.bundle}/${wantedBundle}/image.json`)) ? [] : [{ kind: 'stage-bundle' }];
  },
};

const runtimePhase: UpgradePhase = {
  name: 'runtime',
  summary: 'Start the container runtime anew',
  after: ['bundle'],
  async plan(context) {
    const { host, wantedBundle } = context;
    const isInUse = (await readCurrentBundleId()) === wantedBundle;
    const isRunning = (await runningBundle(host, 'tkadm-runtime')) === wantedBundle;
    if (isInUse && isRunning) return [];
    return [
      ...(await planKeep(context)),
      ...(isInUse ? [] : [{ kind: 'use-bundle', id: wantedBundle } as const]),
      ...(await planRuntimeRestart(host)),
    ];
  },
  rollBack: planControlPlaneReturn,
};

const controlPlanePhase: UpgradePhase = {
  name: 'control-plane',
  summary: 'Upgrade the control plane',
  after: ['runtime'],
  idle: ({ isControlPlane }) => (isControlPlane ? undefined : WORKER),
  plan: planControlPlane,
  rollBack: planControlPlaneReturn,
};

const uploadPhases: readonly UpgradePhase[] = uploadConfigPhases.map((phase) => ({
  ...phase,
  after: ['control-plane'],
  plan: (context) => phase.plan(context),
}));

/** Kubeconfigs that a control plane needs and that are gone; those that are there were renewed with it. */
const kubeconfigPhase: UpgradePhase = {
  name: 'kubeconfig',
  summary: 'Generate kubeconfig files',
  after: ['control-plane'],
  idle: ({ isControlPlane }) => (isControlPlane ? undefined : WORKER),
  async plan(context) {
    const names = ['admin', 'controller-manager', 'scheduler'].map((name) => `kubeconfig/${name}`);
    const phases = KUBECONFIG_PHASES.filter(({ name }) => names.includes(name));
    return (await Promise.all(phases.map((phase) => phase.plan(context)))).flat();
  },
};

const kubeletConfigPhase: UpgradePhase = {
  name: 'kubelet-config',
  summary: 'Upgrade the node agent',
  after: ['control-plane', 'upload-config'],
  plan: planAgentUpgrade,
  rollBack: planAgentReturn,
};

const bootstrapTokenPhase: UpgradePhase = {
  name: 'bootstrap-token',
  summary: 'Bring the rights of joining nodes up to date',
  after: ['control-plane'],
  async plan(context) {
    const { config, host } = context;
    const caPem = await readCaBundle(host, config.cluster.certificatesDir);
    return planObjects(context, [...buildBootstrapRbacObjects(), buildClusterInfo(config, caPem)]);
  },
};

/** DNS and the service proxy follow once no API server is of the version before. */
const upgradeAddonPhases: readonly UpgradePhase[] = addonPhases.map((phase) => ({
  ...phase,
  summary: 'Upgrade DNS and the service proxy',
  after: ['upload-config', 'kubelet-config', 'bootstrap-token'],
  idle: (context) => (context.isControlPlane ? phase.idle?.(context) : WORKER),
  async plan(context) {
    const waiting = await findOldApiServers(context);
    if (waiting.length === 0) return phase.plan(context);
    context.warn(
      `${phase.name} waits for the API servers ${waiting.join(', ')}: tkadm upgrade node, on their nodes`,
    );
    return [];
  },
}));

async function findOldApiServers({ api, config, step }: UpgradeContext): Promise<readonly string[]> {
  const image = formatImage('kube-apiserver', config);
  const observation = { api, isDryRun: step.dryRun, signal: new AbortController().signal };
  const list = await observe(observation, (client) =>
    client.list(PODS, { namespace: 'kube-system', labelSelector: 'component=kube-apiserver' }),
  );
  // In a dry run this node's own would have been upgraded by now.
  const own = (name: string) => step.dryRun && name === `kube-apiserver-${config.nodeRegistration.name}`;
  return (list?.items ?? [])
    .filter(({ spec, metadata }) => spec?.containers[0]?.image !== image && !own(metadata?.name ?? ''))
    .map(({ metadata }) => metadata?.name ?? '');
}

const waitNodePhase: UpgradePhase = {
  name: 'wait-node',
  summary: 'Wait for the node',
  after: ['kubelet-config'],
  plan: planNodeWait,
};

const postUpgradePhases: readonly UpgradePhase[] = [
  {
    name: 'post-upgrade/addon-pods',
    summary: 'Leave the old programs',
    after: ['wait-node', 'addon'],
    plan: planAddonPods,
  },
  {
    name: 'post-upgrade/old-bundles',
    summary: 'Leave the old programs',
    after: ['post-upgrade/addon-pods'],
    plan: planCleanUp,
  },
];

const COMMON_PHASES: readonly UpgradePhase[] = [preflightPhase, bundlePhase, runtimePhase, controlPlanePhase];

/** The phases of `upgrade apply`, named as kubeadm's; `bundle`, `runtime`, `addon/pod-network`, `wait-node` are tkadm's. */
export const UPGRADE_APPLY_PHASES: readonly UpgradePhase[] = [
  ...COMMON_PHASES,
  ...uploadPhases,
  kubeconfigPhase,
  kubeletConfigPhase,
  bootstrapTokenPhase,
  ...upgradeAddonPhases,
  waitNodePhase,
  ...postUpgradePhases,
];

/** The phases of `upgrade node`: those of apply that concern this node, and the add-ons after the last API server. */
export const UPGRADE_NODE_PHASES: readonly UpgradePhase[] = [
  ...COMMON_PHASES,
  kubeconfigPhase,
  { ...kubeletConfigPhase, after: ['control-plane'] },
  ...upgradeAddonPhases.map((phase) => ({ ...phase, after: ['kubelet-config'] })),
  waitNodePhase,
  ...postUpgradePhases,
];
