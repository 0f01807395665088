import { basename } from 'node:path';
import { TkadmError } from '../../runtime/base/errors.ts';
import { stageBundle } from '../../runtime/host/bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { createFleetReporter, type FleetReporter, type MachineReporter } from '../render/fleet.ts';
import type { HostResult } from '../render/fleet-result.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { BundleArchives } from '../ssh/bundle-archive.ts';
import { resolveSshHost } from '../ssh/config-resolve.ts';
import { followCommand, type RemoteResult, withMachine } from '../ssh/remote-command.ts';
import { parseSshTarget, type SshTarget } from '../ssh/target.ts';
import {
  acceptBundle,
  bundledCommand,
  hasBundle,
  readArchitecture,
  uploadBundle,
} from '../ssh/upload-bundle.ts';
import { bundleChooser } from './bundle.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';
import { buildSshSettings, type SshOptions } from './ssh-settings.ts';

export interface SshUpgradeOptions extends SshOptions {
  readonly output: OutputFormat;
  readonly dryRun?: boolean;
  readonly ignorePreflightErrors?: readonly string[];
  readonly certificateRenewal?: string | boolean;
  readonly etcdUpgrade?: string | boolean;
  readonly config?: string;
  readonly kubeconfig?: string;
  readonly patches?: string;
  readonly skipPhases?: readonly string[];
}

/** Flags whose files or names are those of the machine itself. */
const LOCAL_FLAGS = { config: '--config', kubeconfig: '--kubeconfig', patches: '--patches' } as const;

/** Upgrades nodes over SSH, one after the other: the next one once the last is Ready. The first failure ends it. */
export async function runUpgradeOverSsh(
  context: CliContext,
  texts: readonly string[],
  options: SshUpgradeOptions,
): Promise<void> {
  for (const [name, flag] of Object.entries(LOCAL_FLAGS)) {
    if (options[name as keyof typeof LOCAL_FLAGS] === undefined) continue;
    throw new TkadmError('USAGE', `Cannot use ${flag} in an upgrade over SSH: it names a file of the node`, {
      hint: `tkadm upgrade node ${flag} ..., on the node itself`,
    });
  }
  const targets = texts.map(
    (text) => ({ user: options.sshUser, ...parseSshTarget(text) }) satisfies SshTarget,
  );
  const settings = buildSshSettings(context, options);
  const reporter = await createFleetReporter(
    { ...context, isTerminal: false },
    { format: options.output, command: 'upgrade node' },
  );
  const own = await stageBundle(createLocalHost(), bundleSources(context));
  const bundleFor = bundleChooser(context, own.directory);
  reporter.start(
    targets.map((target) => ({
      host: target.host,
      user: resolveSshHost(target, settings.person).user ?? settings.defaultUser,
    })),
  );
  const archives = new BundleArchives(context.signal);
  const tools = { context, options, bundleFor, archives, settings };
  const results = await upgradeInTurn(targets, reporter, tools).finally(() => archives.close());
  await reporter.finish(results, { nodes: results.map(({ node }) => node) });
}

async function upgradeInTurn(
  targets: readonly SshTarget[],
  reporter: FleetReporter,
  tools: Omit<UpgradeOne, 'machine'>,
): Promise<readonly HostResult[]> {
  const results: HostResult[] = [];
  for (const target of targets) {
    const machine = reporter.machine(target.host);
    const startedAt = performance.now();
    const result = await upgradeOne(target, { ...tools, machine }).then(
      ({ node = target.host, changes = 0 }) => ({
        node,
        ...(tools.options.dryRun ? { changes } : { outcome: 'upgraded' as const }),
      }),
      (error: Error) => ({ error }),
    );
    const ended = { host: target.host, durationMs: performance.now() - startedAt, ...result };
    machine.ended(ended, true);
    if ('error' in result) throw result.error;
    results.push(ended);
  }
  return results;
}

interface UpgradeOne {
  readonly context: CliContext;
  readonly options: SshUpgradeOptions;
  /** Directory of the bundle of this package for an architecture, here. */
  readonly bundleFor: ReturnType<typeof bundleChooser>;
  readonly archives: BundleArchives;
  readonly machine: MachineReporter;
  readonly settings: ReturnType<typeof buildSshSettings>;
}

/** Sends the bundle beside the one in use and runs `upgrade node` from it. */
async function upgradeOne(
  target: SshTarget,
  { context, options, bundleFor, archives, machine, settings }: UpgradeOne,
): Promise<RemoteResult> {
  const { signal } = context;
  machine.progress('connect');
  return withMachine(target, { settings, signal }, async (host) => {
    const directory = await bundleFor(await readArchitecture(host));
    if (!(await hasBundle(host, directory))) {
      const onProgress = (bytes: number) =>
        machine.progress(`send the node bundle: ${Math.round(bytes / 1e6)} MB`);
      await uploadBundle(host, { directory, archives, signal, onProgress });
      await acceptBundle(host, directory);
    }
    return followCommand(host, {
      argv: [
        ...bundledCommand(basename(directory)),
        'upgrade',
        'node',
        '--output=json',
        ...passedFlags(options),
      ],
      verb: 'upgrade',
      failure: 'UPGRADE_FAILED',
      signal,
      onEvent: machine.event,
    });
  });
}

function passedFlags(options: SshUpgradeOptions): readonly string[] {
  const { dryRun, ignorePreflightErrors = [], skipPhases = [], certificateRenewal, etcdUpgrade } = options;
  return [
    ...(dryRun ? ['--dry-run'] : []),
    ...(ignorePreflightErrors.length > 0
      ? [`--ignore-preflight-errors=${ignorePreflightErrors.join(',')}`]
      : []),
    ...(skipPhases.length > 0 ? [`--skip-phases=${skipPhases.join(',')}`] : []),
    ...(certificateRenewal === undefined ? [] : [`--certificate-renewal=${certificateRenewal}`]),
    ...(etcdUpgrade === undefined ? [] : [`--etcd-upgrade=${etcdUpgrade}`]),
  ];
}
