import { CHECKS } from '../../preflight/checks.ts';
import type { Check, Finding, PreflightInput } from '../../preflight/finding.ts';
import { formatWarning, preflightError } from '../../preflight/format.ts';
import { runPreflight, selectFatal, selectRepairable } from '../../preflight/run.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { detectInitSystem, isServiceRunning } from '../../runtime/host/services.ts';
import { listImages } from '../../templates/images.ts';
import type { InitConfig, JoinConfig } from '../config/types.ts';
import { pinsOf } from '../tokens/pin.ts';
import type { Action } from '../workflow/action.ts';
import type { Phase } from '../workflow/phase.ts';
import { usesLocalEtcd } from './certs.ts';
import { createCriProbe } from './cri-probe.ts';
import { pkiContext } from './init-context.ts';
import { AGENT_CERTIFICATE, findOwnNode, KUBELET_KUBECONFIG } from './own-node.ts';

/** What the checks of init and join are derived from. */
export interface PreflightContext {
  readonly config: InitConfig | JoinConfig;
  readonly host: Host;
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly now?: () => Date;
  /** A worker's address, which is not part of its configuration. */
  readonly nodeIp?: string;
  /** The user named the address. */
  readonly isAddressGiven?: boolean;
  /** A client of the cluster that is joined, where there is one before discovery. */
  readonly api?: PreflightInput['api'];
}

interface PreflightPhaseContext extends PreflightContext {
  readonly shouldFix: boolean;
  readonly warn: (message: string) => void;
}

const BOOTSTRAP_CONF = `${PATHS.kubernetes}/bootstrap-kubelet.conf`;
const MANIFESTS = ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler', 'etcd'];
/** The node agent's ports: its API, and its health for the machine itself. */
export const AGENT_PORTS: readonly number[] = [10250, 10248];
/** Those of controller manager and scheduler. */
export const CONTROL_PLANE_PORTS: readonly number[] = [10257, 10259];
const ETCD_PORTS = [2379, 2380, 2381];

/** Runs the checks; with --fix, what can be repaired is an action, and only the rest stops the run. */
export const preflightPhase: Phase<PreflightPhaseContext> = {
  name: 'preflight',
  summary: 'Run pre-flight checks',
  unchanged: 'Passed',
  plan: async (context, tell) =>
    planChecks(context.host, await buildPreflightInput(context), { ...context, tell }),
  async verify(context, done) {
    const input = await buildPreflightInput(context);
    const { findings } = await runPreflight(context.host, input, { checks: selectUnpassed(done) });
    const fatal = selectFatal(findings);
    if (fatal.length > 0) throw preflightError(fatal, true);
    for (const finding of selectRepairable(findings))
      context.warn(`${formatWarning(finding)}; its repair has not helped`);
  },
};

interface CheckTools {
  readonly shouldFix?: boolean;
  readonly warn: (message: string) => void;
  /** Told what is looked at. */
  readonly tell?: ((at: string) => void) | undefined;
}

/**
 * Runs the checks of a command. Returns the repairs, if it shall repair.
 * @throws PREFLIGHT_FAILED with what stops the run
 */
export async function planChecks(
  host: Host,
  input: PreflightInput,
  { shouldFix = false, warn, tell }: CheckTools,
): Promise<readonly Action[]> {
  const { findings, checks } = await runPreflight(host, input, {
    ...(tell ? { onPending: (names) => tell(names.join(', ')) } : {}),
  });
  const repairable = shouldFix ? selectRepairable(findings) : [];
  for (const finding of findings)
    if (finding.severity === 'warning' && !repairable.includes(finding)) warn(formatWarning(finding));
  const fatal = selectFatal(findings, shouldFix);
  // In a dry run without root a check may fail for that alone.
  const isRootMissing = findings.some(({ check }) => check === 'IsPrivilegedUser');
  if (input.isDryRun && isRootMissing) {
    for (const finding of fatal) warn(formatWarning(finding));
  } else if (fatal.length > 0) throw preflightError(fatal);
  const unpassed = checks.filter(({ result }) => result !== 'passed').map(({ name }) => name);
  // A package may bring services and files, and so spoil what had passed.
  const isContained = !repairable.some(({ alters }) => alters?.some(({ kind }) => kind === 'packages'));
  return repairable.flatMap(toRepairs).map((action) => (isContained ? { ...action, unpassed } : action));
}

/** The checks that repairs may have changed the result of. */
function selectUnpassed(done: readonly Action[]): readonly Check[] {
  const names = done.flatMap((action) => (action.kind === 'run' ? [action.unpassed] : []));
  return names.includes(undefined) ? CHECKS : CHECKS.filter(({ name }) => names.flat().includes(name));
}

/** The commands that mend a finding. */
export function toRepairs(finding: Finding): readonly Extract<Action, { kind: 'run' }>[] {
  return (finding.repair ?? []).map((argv) => ({
    kind: 'run' as const,
    argv,
    summary: `fix ${finding.check}: ${finding.fix ?? argv.join(' ')}`,
    ...(finding.alters ? { alters: finding.alters } : {}),
  }));
}

/** What the checks look for, from the configuration of init or join. */
export async function buildPreflightInput(context: PreflightContext): Promise<PreflightInput> {
  const { config, host, env, isAddressGiven, api } = context;
  const { nodeRegistration, tkadm, isDryRun } = config;
  const common = {
    engine: tkadm.engine,
    nodeName: nodeRegistration.name,
    ignored: nodeRegistration.ignorePreflightErrors,
    isOwnNode: await isServiceRunning(host, 'tkadm-agent', await detectInitSystem(host)),
    criSocket: nodeRegistration.criSocket,
    openCri: createCriProbe,
    env,
    isDryRun,
    isAddressGiven,
    ...(config.kind === 'JoinConfiguration' && api ? { api } : {}),
  };
  return config.kind === 'InitConfiguration'
    ? { ...common, ...(await buildInitInput(config, context)) }
    : { ...common, ...(await buildJoinInput(config, context)) };
}

/** Manifests that an earlier run of ours has written, even one that was interrupted, are no finding. */
async function buildInitInput(config: InitConfig, { host, now = () => new Date() }: PreflightContext) {
  const { cluster, tkadm, localAPIEndpoint, nodeRegistration, kubelet } = config;
  const hasLocalEtcd = usesLocalEtcd({ config });
  const manifests = MANIFESTS.map((name) => `${PATHS.manifests}/${name}.yaml`);
  const { host: _host, ...certificates } = pkiContext({ config, host, now });
  return {
    scope: 'init' as const,
    kubernetesVersion: cluster.kubernetesVersion,
    ports: [
      localAPIEndpoint.bindPort,
      ...CONTROL_PLANE_PORTS,
      ...AGENT_PORTS,
      ...(hasLocalEtcd ? ETCD_PORTS : []),
    ],
    absentFiles: [
      ...(tkadm.engine === 'embedded'
        ? await selectForeign(host, manifests, tkadm.imageRepository)
        : manifests),
      ...((await isWorker(host)) ? [KUBELET_KUBECONFIG] : []),
    ],
    emptyDirectories: hasLocalEtcd ? [cluster.etcd.local!.dataDir] : [],
    podCidrs: splitCidrs(cluster.networking.podSubnet),
    serviceCidrs: splitCidrs(cluster.networking.serviceSubnet),
    advertiseAddress: localAPIEndpoint.advertiseAddress,
    nodeIp: findNodeIp(config),
    cgroupDriver: kubelet['cgroupDriver'] as string | undefined,
    externalEtcd: cluster.etcd.external,
    images: {
      names: listImages({ cluster, tkadm }),
      policy: nodeRegistration.imagePullPolicy,
      isSerial: nodeRegistration.imagePullSerial,
    },
    certificates: { ...certificates, hasLocalEtcd },
  };
}

async function buildJoinInput(config: JoinConfig, { host, nodeIp, now }: PreflightContext) {
  const { controlPlane, discovery, tkadm } = config;
  const isEmbedded = tkadm.engine === 'embedded';
  const pins = discovery.bootstrapToken?.caCertHashes ?? [];
  const ownNode = isEmbedded ? await findOwnNode({ host, config, now }) : undefined;
  // Without a pin, discovery compares the CAs.
  const isMember = ownNode !== undefined && (pins.length === 0 || hasPin(ownNode.pins, pins));
  const manifests = MANIFESTS.map((name) => `${PATHS.manifests}/${name}.yaml`);
  const endpoint = controlPlane?.localAPIEndpoint;
  // Where etcd is, the cluster's configuration says; with the embedded engine it is never on the node itself.
  const hasLocalEtcd = controlPlane !== undefined && tkadm.engine === 'upstream';
  return {
    ...(isMember ? { isOwnNode: true } : {}),
    scope: controlPlane ? ('join-control-plane' as const) : ('join' as const),
    ports: [
      ...(endpoint ? [endpoint.bindPort, ...CONTROL_PLANE_PORTS] : []),
      ...AGENT_PORTS,
      ...(hasLocalEtcd ? ETCD_PORTS : []),
    ],
    emptyDirectories: hasLocalEtcd ? ['/var/lib/etcd'] : [],
    absentFiles: [
      ...(isMember ? [] : [KUBELET_KUBECONFIG]),
      ...(controlPlane
        ? isEmbedded
          ? await selectForeign(host, manifests, tkadm.imageRepository)
          : manifests
        : []),
      ...(isMember ? [] : await selectLeftTrust(host, config, isEmbedded ? pins : [])),
    ],
    podCidrs: [],
    serviceCidrs: [],
    advertiseAddress: endpoint?.advertiseAddress ?? findNodeIp(config) ?? nodeIp,
    nodeIp: findNodeIp(config),
    apiServer: discovery.bootstrapToken?.apiServerEndpoint,
  };
}

/** True on a machine that has joined a cluster without a control plane of its own, which an `init` would spoil. */
async function isWorker(host: Host): Promise<boolean> {
  const [text, ...others] = await Promise.all([
    host.readFile(KUBELET_KUBECONFIG).catch(() => undefined),
    host.stat(`${PATHS.kubernetes}/admin.conf`),
    host.stat(`${PATHS.manifests}/kube-apiserver.yaml`),
  ]);
  return others.every((stat) => stat === undefined) && text?.includes(AGENT_CERTIFICATE) === true;
}

/** The address that the user gives the node agent. */
function findNodeIp({ nodeRegistration }: InitConfig | JoinConfig): string | undefined {
  return nodeRegistration.kubeletExtraArgs.findLast((arg) => arg.name === 'node-ip')?.value;
}

function hasPin(pins: readonly string[], wanted: readonly string[]): boolean {
  return pins.some((pin) => wanted.includes(pin));
}

/**
 * The CA and the bootstrap kubeconfig that are left from elsewhere. A join that was interrupted has left those of the
 * same cluster, which its pin tells, and goes on with them. A control plane's CA may have been copied there.
 */
async function selectLeftTrust(
  host: Host,
  { caCertPath, controlPlane }: JoinConfig,
  pins: readonly string[],
): Promise<readonly string[]> {
  const caPem = await host.readFile(caCertPath);
  if (caPem !== undefined && hasPin(pinsOfText(caPem), pins)) return [];
  return [...(controlPlane ? [] : [caCertPath]), BOOTSTRAP_CONF];
}

function pinsOfText(caPem: string): readonly string[] {
  try {
    return pinsOf(caPem);
  } catch {
    return [];
  }
}

/** Those of the paths whose manifest does not run the embedded engine's image; one that is not there is among them. */
async function selectForeign(
  host: Host,
  paths: readonly string[],
  imageRepository: string,
): Promise<readonly string[]> {
  // What cannot be read is told by the check of the user.
  const texts = await Promise.all(paths.map((path) => host.readFile(path).catch(() => undefined)));
  return paths.filter((_, i) => !texts[i]?.includes(`image: ${imageRepository}/`));
}

function splitCidrs(text: string | undefined): readonly string[] {
  return (text ?? '')
    .split(',')
    .map((part) => part.trim())
    .filter(Boolean);
}
