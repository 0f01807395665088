import { dirname, resolve } from 'node:path';
import type { Node } from 'kubernetes-types/core/v1.d.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import { parseDuration } from '../../runtime/base/flags.ts';
import type { ApplyMember, ApplyRun } from '../fleet/apply-run.ts';
import { type ClusterAccess, openCluster, readKubeconfig } from '../fleet/cluster-access.ts';
import { type HostSsh, readClusterFile } from '../fleet/cluster-file.ts';
import { convergeHost } from '../fleet/converge-host.ts';
import { convergeFirst } from '../fleet/first-control-plane.ts';
import { createGate } from '../fleet/gate.ts';
import { type Member, toMember } from '../fleet/member.ts';
import { orderMembers } from '../fleet/order-members.ts';
import {
  isPruneCertain,
  type LeftMember,
  listLeft,
  pruneMember,
  refuseLastControlPlane,
  withoutFound,
} from '../fleet/prune.ts';
import { failureOf, runMembers } from '../fleet/run.ts';
import { createFleetTools, describeTarget } from '../fleet/tools.ts';
import { createFleetReporter, type FleetReporter } from '../render/fleet.ts';
import type { HostResult } from '../render/fleet-result.ts';
import type { OutputFormat } from '../render/renderer.ts';
import type { SshSettings } from '../ssh/connection.ts';
import { confirm } from './confirm.ts';
import { type CliContext, readInput } from './context.ts';
import { buildSshSettings, type SshOptions } from './ssh-settings.ts';

export interface ApplyOptions extends SshOptions {
  readonly file?: string;
  readonly output: OutputFormat;
  readonly plan?: boolean;
  readonly prune?: boolean;
  readonly yes?: boolean;
  readonly concurrency?: string;
  readonly drainTimeout?: string;
  readonly kubeconfig?: string;
  readonly ignorePreflightErrors?: readonly string[];
  readonly printExample?: boolean;
}

const DEFAULT_CONCURRENCY = 32;
const DEFAULT_DRAIN_TIMEOUT = '5m';

/** `tkadm apply -f FILE`: makes the machines of a file one cluster, or makes the cluster what the file says. */
export async function runApply(context: CliContext, options: ApplyOptions): Promise<void> {
  if (options.printExample) {
    const { EXAMPLE_CLUSTER } = await import('../fleet/example.ts');
    return context.write(EXAMPLE_CLUSTER);
  }
  const { path, limits } = readOptions(options);
  const fleet = await readClusterFile(await readInput(context, path), path);
  const isPlan = options.plan ?? false;
  const reporter = await createFleetReporter(context, {
    format: options.output,
    command: 'apply',
    isDryRun: isPlan,
  });
  for (const warning of fleet.warnings) reporter.note(warning, 'warning');
  const { base, directory, kubeconfigPath } = findWays(context, {
    options,
    reporter,
    path,
    name: fleet.name,
  });
  const written = fleet.hosts.map((host) => ({
    ...toMember({ ...host, ssh: { ...givenUser(options), ...host.ssh } }, { base, directory }),
    host,
  }));
  const firstGuess = written.find(({ host }) => host.role === 'control-plane');
  const known = await openKnown(kubeconfigPath, firstGuess);
  const tools = createFleetTools(context);
  try {
    const nodes = (await known?.listNodes()) ?? [];
    const members = orderMembers(written, { nodes, fleet, path });
    const run: ApplyRun = {
      context,
      fleet,
      tools,
      reporter,
      isPlan,
      shouldFix: true,
      ignorePreflightErrors: options.ignorePreflightErrors ?? [],
      kubeconfigPath,
      known,
      nodes,
      cluster: createGate(),
    };
    const left = listLeft(run, { base, directory });
    if (options.prune) await agreeToPrune(context, { options, nodes, left });
    await applyAll(run, { members, left, options, limits, base });
  } finally {
    known?.close();
    await tools.archives.close();
  }
}

/** How machines are reached where the file does not say it, and where the kubeconfig is kept. */
function findWays(
  context: CliContext,
  {
    options,
    reporter,
    path,
    name,
  }: {
    readonly options: ApplyOptions;
    readonly reporter: FleetReporter;
    readonly path: string;
    readonly name: string;
  },
) {
  const kubeconfig = options.kubeconfig ?? (context.env['KUBECONFIG'] || `${name}.kubeconfig`);
  return {
    base: buildSshSettings({ ...context, ask: reporter.askThrough(context.ask) }, options),
    directory: path === '-' ? context.cwd : dirname(resolve(context.cwd, path)),
    kubeconfigPath: resolve(context.cwd, kubeconfig),
  };
}

function givenUser({ sshUser }: ApplyOptions): HostSsh {
  return sshUser === undefined ? {} : { user: sshUser };
}

interface Limits {
  readonly concurrency: number;
  readonly drainTimeoutMs: number;
}

/** @throws USAGE, FLAG_INVALID */
function readOptions(options: ApplyOptions): { readonly path: string; readonly limits: Limits } {
  const {
    file: path,
    concurrency = String(DEFAULT_CONCURRENCY),
    drainTimeout = DEFAULT_DRAIN_TIMEOUT,
  } = options;
  if (path === undefined) {
    throw new TkadmError('USAGE', 'Cannot apply without a file of the cluster', {
      hint: 'tkadm apply --print-example > cluster.yaml; then tkadm apply -f cluster.yaml --plan',
    });
  }
  if (!/^[1-9]\d{0,3}$/.test(concurrency))
    throw new TkadmError(
      'USAGE',
      `Cannot use --concurrency "${concurrency}": it is no number from 1 to 9999`,
    );
  return { path, limits: { concurrency: Number(concurrency), drainTimeoutMs: parseDuration(drainTimeout) } };
}

/** The cluster of the kubeconfig that is kept here; undefined when there is none, or it does not answer. */
async function openKnown(path: string, first: Member | undefined): Promise<ClusterAccess | undefined> {
  const config = await readKubeconfig(path);
  if (config === undefined) return undefined;
  return openCluster(config, first).catch((error) => {
    if (isTkadmError(error)) return undefined;
    throw error;
  });
}

/** Asks before machines are reset. @throws USAGE, UNSUPPORTED */
async function agreeToPrune(
  context: CliContext,
  {
    options,
    nodes,
    left,
  }: {
    readonly options: ApplyOptions;
    readonly nodes: readonly Node[];
    readonly left: readonly LeftMember[];
  },
): Promise<void> {
  refuseLastControlPlane(nodes, left);
  if (left.length === 0 || options.plan || options.yes) return;
  const names = left.map(({ name, node }) => `${node.metadata?.name} (${name})`).join(', ');
  await confirm(context, {
    verb: 'prune',
    question: `This drains and resets ${names}. Go on?`,
    hint: 'tkadm apply -f FILE --prune --yes',
  });
}

interface ApplyInput {
  readonly members: readonly ApplyMember[];
  readonly left: readonly LeftMember[];
  readonly options: ApplyOptions;
  readonly limits: Limits;
  readonly base: SshSettings;
}

async function applyAll(run: ApplyRun, { members, left, options, limits, base }: ApplyInput): Promise<void> {
  const { reporter, isPlan } = run;
  const pruned = options.prune && !isPlan ? left : [];
  reporter.start([...members, ...pruned].map((member) => describeMember(member, base)));
  const pipelines = { reporter, concurrency: limits.concurrency, signal: run.tools.signal };
  const converged = await runMembers(members, pipelines, (member, machine) =>
    (member.isFirst ? convergeFirst : convergeHost)(run, member, machine),
  );
  const stillLeft = withoutFound(left, converged);
  const isCertain = isPruneCertain(run, members, converged);
  const removed = await runMembers(
    isCertain ? withoutFound(pruned, converged) : [],
    pipelines,
    async (member, machine) =>
      pruneMember((await run.cluster.opened).access, member, {
        run,
        machine,
        drainTimeoutMs: limits.drainTimeoutMs,
      }),
  );
  if (removed.length === 0) tellLeft(reporter, stillLeft, { ...options, isCertain });
  const results = [...converged, ...removed];
  if (converged.some(({ outcome }) => outcome === 'initialized'))
    reporter.note(`The administrator's kubeconfig: export KUBECONFIG=${run.kubeconfigPath}`);
  const failure = failureOf(results, { code: 'APPLY_FAILED', verb: isPlan ? 'plan' : 'apply to' });
  await reporter.finish(results, failure ? undefined : describeRun(run, results, stillLeft));
  if (!run.known) await run.cluster.opened.then(({ access }) => access.close()).catch(() => {});
  if (failure) throw failure;
}

function describeMember(member: Member, base: SshSettings) {
  return member.isLocal ? { host: member.name, user: '' } : describeTarget(member.target, base);
}

/** Says which nodes no host of the file is. */
function tellLeft(
  reporter: FleetReporter,
  left: readonly LeftMember[],
  { prune, isCertain }: ApplyOptions & { readonly isCertain: boolean },
): void {
  for (const { name, node } of left) {
    const state = !prune
      ? '--prune drains and resets it'
      : isCertain
        ? 'it would be drained and reset'
        : 'it stays, since it may be one of the hosts that failed';
    reporter.note(`Node "${node.metadata?.name}" (${name}) is not in the file: ${state}`, 'warning');
  }
}

function describeRun(run: ApplyRun, results: readonly HostResult[], left: readonly LeftMember[]) {
  return {
    kubeconfig: run.kubeconfigPath,
    hosts: results.map(({ host, node, outcome, changes }) => ({ host, node, outcome, changes })),
    left: left.map(({ node }) => node.metadata?.name),
  };
}
