import { TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import type { InitConfig } from '../config/types.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { CERTS_PHASES } from './certs.ts';
import { waitControlPlanePhase } from './control-plane-wait.ts';
import type { InitContext } from './init-context.ts';
import type { JoinContext } from './join.ts';
import { CONTROL_PLANE_PHASES, KUBECONFIG_PHASES } from './manifests.ts';
import { markControlPlanePhase } from './mark-control-plane.ts';
import { findOwnNode } from './own-node.ts';
import { planCertificateDownload, sharedFilesOf } from './upload-certs.ts';

type JoinPhase = Phase<JoinContext>;

/** Files that every control-plane node has; super-admin.conf and the agent's file are the first node's alone. */
const KUBECONFIG_NAMES = ['admin', 'controller-manager', 'scheduler'].map((name) => `kubeconfig/${name}`);

/** What is done before the agent starts, in kubeadm's order. */
export const CONTROL_PLANE_PREPARE_PHASES: readonly JoinPhase[] = [
  {
    name: 'control-plane-prepare/download-certs',
    summary: 'Download the certificates of the control plane',
    after: ['discovery'],
    idle: ({ config }) =>
      config.controlPlane?.certificateKey === undefined
        ? 'no --certificate-key was given, so the shared certificates must be here'
        : undefined,
    plan: planDownload,
  },
  {
    name: 'control-plane-prepare/certs',
    summary: 'Generate certificates',
    after: ['control-plane-prepare/download-certs'],
    async plan(context) {
      const init = await context.controlPlane();
      await requireSharedFiles(init.host, init.config);
      return planAll(CERTS_PHASES, init);
    },
  },
  {
    name: 'control-plane-prepare/kubeconfig',
    summary: 'Generate kubeconfig files',
    after: ['control-plane-prepare/certs'],
    plan: async (context) =>
      planAll(
        KUBECONFIG_PHASES.filter(({ name }) => KUBECONFIG_NAMES.includes(name)),
        await context.controlPlane(),
      ),
  },
  {
    name: 'control-plane-prepare/control-plane',
    summary: 'Write control plane manifests',
    after: ['control-plane-prepare/kubeconfig'],
    plan: async (context) => planAll(CONTROL_PLANE_PHASES, await context.controlPlane()),
  },
];

/** kubeadm looks at the members of a stacked etcd here. */
export const CHECK_ETCD_PHASE: JoinPhase = {
  name: 'check-etcd',
  summary: 'Look at the members of etcd',
  after: ['control-plane-prepare/control-plane'],
  idle: () => 'etcd is external; the API server finds out whether it answers',
  plan: async () => [],
};

/** kubeadm adds a member to a stacked etcd here. */
export const ETCD_JOIN_PHASE: JoinPhase = {
  name: 'etcd-join',
  summary: 'Join the etcd cluster',
  after: ['kubelet-start'],
  idle: () => 'etcd is external',
  plan: async () => [],
};

/** What is done once the agent has its certificate. */
export const CONTROL_PLANE_FINISH_PHASES: readonly JoinPhase[] = [
  {
    name: 'control-plane-join/mark-control-plane',
    summary: 'Mark the node as control plane',
    after: ['kubelet-wait-bootstrap'],
    plan: async (context) => markControlPlanePhase.plan(await context.controlPlane()),
  },
  {
    name: 'wait-control-plane',
    summary: 'Wait for the control plane',
    after: ['kubelet-wait-bootstrap'],
    async plan(context) {
      const actions = await waitControlPlanePhase.plan(await context.controlPlane());
      // The cluster has its administrators since its init.
      return actions.filter((action) => action.kind === 'wait');
    },
  },
];

async function planAll(
  phases: readonly Phase<InitContext>[],
  context: InitContext,
): Promise<readonly Action[]> {
  const active = phases.filter((phase) => phase.idle?.(context) === undefined);
  const actions = (await Promise.all(active.map((phase) => phase.plan(context)))).flat();
  // Each phase would make the directory that it writes into.
  const made = new Set<string>();
  return actions.filter((action) => {
    if (action.kind !== 'make-directory') return true;
    const isFirst = !made.has(action.path);
    made.add(action.path);
    return isFirst;
  });
}

async function planDownload(context: JoinContext): Promise<readonly Action[]> {
  // A node that is there has them, and the cluster keeps them for two hours only.
  if (await findOwnNode(context)) return [];
  const { config, host } = await context.controlPlane();
  const client = await context.joinClient();
  try {
    const { certificateKey = '' } = context.config.controlPlane ?? {};
    return await planCertificateDownload({ client, host, config, certificateKey });
  } finally {
    client.close();
  }
}

/** A CA that is made anew here would be another one. @throws PKI_KEY_MISSING naming all files that lack */
async function requireSharedFiles(host: Pick<Host, 'readFile'>, config: InitConfig): Promise<void> {
  // The key of an external CA is kept elsewhere; what it has issued is looked at by the certificates' own plan.
  const files = sharedFilesOf(config).filter(({ name }) => !/ca\.key$/.test(name));
  const texts = await Promise.all(files.map(({ path }) => host.readFile(path)));
  const missing = files.filter((_, i) => texts[i] === undefined).map(({ path }) => `"${path}"`);
  if (missing.length === 0) return;
  throw new TkadmError(
    'PKI_KEY_MISSING',
    `Cannot join as control plane: ${missing.join(', ')} ${missing.length === 1 ? 'is' : 'are'} not there`,
    {
      hint: 'Give --certificate-key (tkadm init phase upload-certs --upload-certs, on a control-plane node), or copy them',
    },
  );
}
