import { NODES } from '../../runtime/api/kinds.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { KUBERNETES_VERSION, VERSION } from '../../runtime/base/version.ts';
import { readBundleId } from '../../runtime/host/bundle.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import type { UpgradeStepName } from '../config/flags.ts';
import type { UpgradeStep } from '../config/types.ts';
import { resolveVersion } from '../config/version-labels.ts';
import { createPatchReader } from '../phases/files.ts';
import { formatDryRunEnd } from '../render/count.ts';
import type { OutputFormat } from '../render/renderer.ts';
import type { UpgradeContext } from '../upgrade/context.ts';
import { UPGRADE_APPLY_PHASES, UPGRADE_NODE_PHASES } from '../upgrade/phases.ts';
import { refuseOtherVersion, type UpgradeSource } from '../upgrade/source.ts';
import { findVersionProblems, parseVersion } from '../upgrade/version-rules.ts';
import { checkPhaseNames, type Phase } from '../workflow/phase.ts';
import { bundleSources } from './bundle-sources.ts';
import { confirm } from './confirm.ts';
import type { CliContext } from './context.ts';
import { requireRoot, requireRootUnlessDry } from './require-root.ts';
import { type RunTools, runCommandPhases } from './run.ts';
import { describeApplied } from './upgrade-result.ts';
import { type OpenedUpgrade, openUpgrade, type UpgradeOptions } from './upgrade-source.ts';

export interface UpgradeRunOptions extends UpgradeOptions {
  readonly output: OutputFormat;
  readonly dryRun?: boolean;
  readonly yes?: boolean;
  /** Of `upgrade apply phase` and `upgrade node phase`. */
  readonly onlyPhase?: string;
}

/** `tkadm upgrade apply [version]`: the control plane of this node, the cluster's configuration and its add-ons. */
export async function runUpgradeApply(
  context: CliContext,
  version: string | undefined,
  options: UpgradeRunOptions,
): Promise<void> {
  const opened = await open(context, 'apply', { ...options, version });
  const { upgrade, isControlPlane } = opened;
  if (!isControlPlane) {
    throw new TkadmError('UPGRADE_NO_CLUSTER', 'Cannot upgrade the cluster: this node has no control plane', {
      hint: 'tkadm upgrade apply on a control-plane node, then here: tkadm upgrade node',
    });
  }
  const step = upgrade.apply;
  const target = resolveVersion(step.kubernetesVersion).version;
  const source = await loadSource(opened, target, step);
  const notes = await enforceVersion(opened, { source, target, step });
  if (step.printConfig && options.output === 'text') context.write(`${opened.documents.trimEnd()}\n`);
  const asks = !options.yes && !step.forceUpgrade && !step.dryRun && options.onlyPhase === undefined;
  if (asks) {
    await confirm(context, {
      verb: 'upgrade',
      question: `This upgrades the cluster from ${source.clusterVersion} to ${target} (tkadm ${VERSION}). Go on?`,
      hint: 'tkadm upgrade apply -y',
    });
  }
  await run(context, options, {
    command: 'apply',
    opened,
    source: { ...source, warnings: [...source.warnings, ...notes] },
    step,
    phases: UPGRADE_APPLY_PHASES,
    finish: async (tools) => describeApplied(tools, { target, nodeName: opened.nodeName }),
  });
}

/** `tkadm upgrade node`: this node, once the cluster's stored configuration is of this package's version. */
export async function runUpgradeNode(context: CliContext, options: UpgradeRunOptions): Promise<void> {
  const opened = await open(context, 'node', options);
  const step = opened.upgrade.node;
  const source = await loadSource(opened, KUBERNETES_VERSION, step);
  if (source.clusterVersion !== KUBERNETES_VERSION) {
    const [cluster, own] = [parseVersion(source.clusterVersion), parseVersion(KUBERNETES_VERSION)!];
    const isOlder = cluster && (cluster.minor - own.minor || cluster.patch - own.patch) < 0;
    throw new TkadmError(
      'UPGRADE_VERSION',
      `Cannot upgrade this node to ${KUBERNETES_VERSION}: the cluster is ${source.clusterVersion}`,
      {
        hint: isOlder
          ? 'tkadm upgrade apply, on a control-plane node'
          : `the tkadm package that is made for ${source.clusterVersion}`,
      },
    );
  }
  await run(context, options, {
    command: 'node',
    opened,
    source,
    step,
    phases: UPGRADE_NODE_PHASES,
    finish: async ({ changes }) => ({
      text:
        changes === 0
          ? `\nNothing was changed: node "${opened.nodeName}" is of ${KUBERNETES_VERSION} (tkadm ${VERSION}).\n`
          : `\nNode "${opened.nodeName}" is of ${KUBERNETES_VERSION} (tkadm ${VERSION}) now.\n`,
      data: { node: opened.nodeName, kubernetesVersion: KUBERNETES_VERSION, changes },
    }),
  });
}

async function open(
  context: CliContext,
  name: Extract<UpgradeStepName, 'apply' | 'node'>,
  options: UpgradeRunOptions & { readonly version?: string | undefined },
): Promise<OpenedUpgrade> {
  const phases = name === 'apply' ? UPGRADE_APPLY_PHASES : UPGRADE_NODE_PHASES;
  if (options.onlyPhase !== undefined) checkPhaseNames(phases, [options.onlyPhase]);
  if (!options.dryRun && options.config === undefined) requireRoot(context);
  const opened = await openUpgrade(context, name, { ...options });
  const step = opened.upgrade[name];
  checkPhaseNames(phases, step.skipPhases);
  if (!step.dryRun) requireRoot(context);
  return opened;
}

async function loadSource(opened: OpenedUpgrade, target: string, step: UpgradeStep): Promise<UpgradeSource> {
  const { engine } = opened.upgrade.tkadm;
  if (engine === 'embedded') refuseOtherVersion(target, KUBERNETES_VERSION);
  const source = await opened.load(target, step.patchesDirectory);
  if (source.config.tkadm.engine === 'embedded') return source;
  throw new TkadmError(
    'UNSUPPORTED',
    `Cannot upgrade a cluster of engine "${source.config.tkadm.engine}": only the embedded one is there yet`,
  );
}

interface VersionInput {
  readonly source: UpgradeSource;
  readonly target: string;
  readonly step: UpgradeStep;
}

/** What speaks against the version and is forced, as notes. @throws UPGRADE_VERSION */
async function enforceVersion(
  { api, isReachable }: OpenedUpgrade,
  { source, target, step }: VersionInput,
): Promise<readonly string[]> {
  const cluster = parseVersion(source.clusterVersion);
  if (!cluster) {
    throw new TkadmError(
      'UPGRADE_VERSION',
      `Cannot upgrade: ConfigMap kube-system/kubeadm-config has kubernetesVersion "${source.clusterVersion}"`,
    );
  }
  const nodes = isReachable ? (await (await api()).list(NODES)).items : [];
  const problems = findVersionProblems({
    target: parseVersion(target)!,
    cluster,
    kubelets: Object.fromEntries(
      nodes.map(({ metadata, status }) => [metadata?.name ?? '', status?.nodeInfo?.kubeletVersion ?? '']),
    ),
    allowExperimental: step.allowExperimentalUpgrades,
    allowRC: step.allowRCUpgrades,
  });
  const fatal = problems.filter(({ isForceable }) => !isForceable || !step.forceUpgrade);
  if (fatal.length > 0) {
    const canForce = fatal.every(({ isForceable }) => isForceable);
    throw new TkadmError(
      'UPGRADE_VERSION',
      `Cannot upgrade to ${target}: ${fatal.map(({ message }) => message).join('; ')}`,
      { hint: canForce ? `tkadm upgrade apply ${target} --force` : 'tkadm upgrade plan' },
    );
  }
  return problems.map(({ message }) => `${target}: ${message}`);
}

interface RunInput {
  readonly command: 'apply' | 'node';
  readonly opened: OpenedUpgrade;
  readonly source: UpgradeSource;
  readonly step: UpgradeStep;
  readonly phases: readonly Phase<UpgradeContext>[];
  readonly finish: (
    tools: RunTools & { readonly changes: number },
  ) => Promise<{ readonly text: string; readonly data: Readonly<Record<string, unknown>> }>;
}

async function run(context: CliContext, options: UpgradeRunOptions, input: RunInput): Promise<void> {
  const { opened, source, step, phases, command } = input;
  const { host, machine, nodeName, isControlPlane, isReachable } = opened;
  const wantedBundle = await readBundleId(host, bundleSources(context));
  const initSystem = await detectInitSystem(host);
  await runCommandPhases({
    command: `upgrade ${command}`,
    cli: context,
    host,
    phases,
    output: options.output,
    skip: step.skipPhases,
    only: options.onlyPhase === undefined ? undefined : [options.onlyPhase],
    isDryRun: step.dryRun,
    kubeconfig: opened.kubeconfig,
    superKubeconfig: `${PATHS.kubernetes}/super-admin.conf`,
    buildContext: (tools): UpgradeContext => {
      for (const warning of [...opened.warnings, ...source.warnings]) tools.warn(warning);
      requireRootUnlessDry(context, step.dryRun, tools.warn);
      if (!isReachable)
        tools.warn('the API server does not answer: going on with what the interrupted upgrade has kept');
      return {
        ...tools,
        config: source.config,
        step,
        nodeName,
        isControlPlane,
        isReachable,
        documents: source.documents,
        wantedBundle,
        resolvConf: machine.resolvConf,
        now: context.now,
        shouldFix: false,
        initSystem,
        env: context.env,
        tokens: async () => [],
        patches: createPatchReader(tools.host, source.config.patchesDirectory, tools.warn),
      };
    },
    finish: async (tools) => {
      const { changes } = tools;
      if (!step.dryRun && options.onlyPhase !== undefined)
        return { text: '', data: { node: nodeName, phase: options.onlyPhase, changes } };
      if (!step.dryRun) return input.finish(tools);
      return {
        text: formatDryRunEnd(changes),
        data: { node: nodeName, changes, dryRun: true },
      };
    },
  });
}
