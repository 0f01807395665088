import { isApiError } from '../../runtime/api/api-error.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { KUBERNETES_VERSION, VERSION } from '../../runtime/base/version.ts';
import { readBundleId, readCurrentBundleId } from '../../runtime/host/bundle.ts';
import { resolveVersion } from '../config/version-labels.ts';
import { formatTable } from '../render/table.ts';
import { type ComponentPlan, type RunningCluster, readRunning } from '../upgrade/running.ts';
import { findVersionProblems, parseVersion, type VersionProblem } from '../upgrade/version-rules.ts';
import { bundleSources } from './bundle-sources.ts';
import { type CliContext, programName } from './context.ts';
import { writeData } from './output.ts';
import { openUpgrade, type UpgradeOptions } from './upgrade-source.ts';

/** What there is to upgrade. */
interface Plan {
  readonly target: string;
  readonly clusterVersion: string;
  readonly running: RunningCluster;
  readonly problems: readonly VersionProblem[];
  /** The programs of this node are another build, although the versions are the same. */
  readonly isOtherBuild: boolean;
}

/** `tkadm upgrade plan [version]`: what this package offers, and what runs. Nothing is looked up in the network. */
export async function runUpgradePlan(
  context: CliContext,
  version: string | undefined,
  options: UpgradeOptions,
): Promise<void> {
  const opened = await openUpgrade(context, 'plan', { ...options, version });
  const { upgrade, api, host, warnings } = opened;
  const step = upgrade.plan;
  for (const warning of warnings) context.writeError(`Warning: ${warning}\n`);
  const target = resolveVersion(step.kubernetesVersion).version;
  const source = await opened.load(KUBERNETES_VERSION);
  if (step.printConfig) context.write(`${opened.documents.trimEnd()}\n`);
  const cluster = { ...source.config.cluster, kubernetesVersion: target };
  const all = await readRunning(await api(), { ...source.config, cluster }).catch(explainRefusal);
  const running = step.etcdUpgrade
    ? all
    : { ...all, components: all.components.filter(({ name }) => name !== 'etcd') };
  const plan: Plan = {
    target,
    clusterVersion: source.clusterVersion,
    running,
    problems: findProblems({ target, clusterVersion: source.clusterVersion, running, step }),
    isOtherBuild: (await findOwnBundle(context, host)) !== (await readCurrentBundleId()),
  };
  writeData(context, options.output, toDocument(plan), formatPlan(plan, programName(context)));
}

/** A node's own credentials do not show the control plane. */
function explainRefusal(error: unknown): never {
  if (!isApiError(error, 'Forbidden')) throw error;
  throw new TkadmError('API_REQUEST', error.message, {
    cause: error,
    hint: 'The same command on a control-plane node, or with --kubeconfig FILE of an administrator',
  });
}

async function findOwnBundle(context: CliContext, host: Parameters<typeof readBundleId>[0]) {
  try {
    return await readBundleId(host, bundleSources(context));
  } catch (error) {
    if (!isTkadmError(error, 'BUNDLE_BUILD')) throw error;
    return readCurrentBundleId();
  }
}

interface ProblemInput {
  readonly target: string;
  readonly clusterVersion: string;
  readonly running: RunningCluster;
  readonly step: { readonly allowExperimentalUpgrades: boolean; readonly allowRCUpgrades: boolean };
}

function findProblems({ target, clusterVersion, running, step }: ProblemInput): readonly VersionProblem[] {
  const cluster = parseVersion(clusterVersion);
  if (!cluster) {
    throw new TkadmError(
      'UPGRADE_VERSION',
      `Cannot plan an upgrade: ConfigMap kube-system/kubeadm-config has kubernetesVersion "${clusterVersion}"`,
    );
  }
  const kubelets = running.nodes.filter(({ name }) => name === 'kubelet');
  const problems = findVersionProblems({
    target: parseVersion(target)!,
    cluster,
    kubelets: Object.fromEntries(kubelets.map((row) => [row.nodeName, row.currentVersion])),
    allowExperimental: step.allowExperimentalUpgrades,
    allowRC: step.allowRCUpgrades,
  });
  if (target === KUBERNETES_VERSION) return problems;
  const message = `this package has the programs of ${KUBERNETES_VERSION} alone`;
  return [...problems, { message, isForceable: false }];
}

const hasNews = ({ currentVersion, newVersion }: ComponentPlan) => currentVersion !== newVersion;

function isNewer({ running, isOtherBuild }: Plan): boolean {
  return isOtherBuild || [...running.components, ...running.nodes].some(hasNews);
}

/** kubeadm's UpgradePlan (output.kubeadm.k8s.io/v1alpha3). */
function toDocument(plan: Plan) {
  const { target, running } = plan;
  const isOffered = isNewer(plan) && plan.problems.length === 0;
  return {
    kind: 'UpgradePlan',
    apiVersion: 'output.kubeadm.k8s.io/v1alpha3',
    availableUpgrades: isOffered
      ? [
          {
            description: `${target}, of this package (tkadm ${VERSION})`,
            components: [...running.nodes, ...running.components],
          },
        ]
      : [],
    configVersions: running.configVersions,
  };
}

function formatPlan(plan: Plan, program: string): string {
  const { running, clusterVersion, problems, target } = plan;
  const head = `The cluster is of ${clusterVersion}; this package, tkadm ${VERSION}, has ${KUBERNETES_VERSION}.\n`;
  const notes = [
    ...running.kept.map(
      (name) => `ConfigMap ${name} was changed since tkadm generated it: an upgrade keeps it.\n`,
    ),
    ...running.configVersions
      .filter((row) => row.manualUpgradeRequired)
      .map(
        (row) =>
          `${row.group} is ${row.currentVersion}; change it to ${row.preferredVersion} by hand first.\n`,
      ),
    ...(plan.isOtherBuild
      ? ['The programs of this node are another build than those of this package.\n']
      : []),
  ];
  const tables = [
    '\nControl plane and add-ons, by upgrade apply:\n\n',
    formatComponents(running.components),
    '\nNodes, each by upgrade node (this one by upgrade apply):\n\n',
    formatComponents(running.nodes),
  ];
  return [
    head,
    ...tables,
    notes.length > 0 ? '\n' : '',
    ...notes,
    '\n',
    formatEnd(plan, { program, problems, target }),
  ].join('');
}

function formatComponents(rows: readonly ComponentPlan[]): string {
  return formatTable([
    ['COMPONENT', 'NODE', 'CURRENT', 'TARGET'],
    ...rows.map((row) => [row.name, row.nodeName, row.currentVersion, row.newVersion]),
  ]);
}

function formatEnd(
  plan: Plan,
  { program, problems, target }: Pick<Plan, 'problems' | 'target'> & { readonly program: string },
): string {
  const fatal = problems.filter(({ isForceable }) => !isForceable);
  const say = (rows: readonly VersionProblem[]) => rows.map(({ message }) => `  ${message}\n`).join('');
  if (fatal.length > 0) return `${target} cannot be upgraded to:\n${say(fatal)}`;
  if (!isNewer(plan)) return 'Everything is of this version: there is nothing to upgrade.\n';
  if (problems.length > 0) return `${program} upgrade apply ${target} --force, although\n${say(problems)}`;
  return `Upgrade with:\n\n  ${program} upgrade apply ${target}\n`;
}
