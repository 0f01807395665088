import { CHECKS } from '../../preflight/checks.ts';
import type { PreflightInput } from '../../preflight/finding.ts';
import { formatReport, preflightError } from '../../preflight/format.ts';
import { formatLooksAt } from '../../preflight/looks-at.ts';
import { runPreflight, selectFatal, selectRepairable } from '../../preflight/run.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { EXIT_CODES } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { loadConfiguration } from '../config/load.ts';
import { type JournalSession, openSession } from '../journal/session.ts';
import { createCriProbe } from '../phases/cri-probe.ts';
import { buildPreflightInput, toRepairs } from '../phases/preflight.ts';
import { formatTable } from '../render/table.ts';
import { type Action, formatAction } from '../workflow/action.ts';
import { type CliContext, readInput } from './context.ts';
import { observeMachine } from './machine.ts';
import { writeData } from './output.ts';
import { collectOverrides } from './overrides.ts';

export interface PreflightOptions {
  readonly config?: string;
  readonly fix?: boolean;
  readonly dryRun?: boolean;
  readonly list?: boolean;
  readonly output: string;
  readonly kubeconfig?: string;
  readonly ignorePreflightErrors?: readonly string[];
  readonly apiserverAdvertiseAddress?: string;
}

/** What a command is to check for. */
export interface PreflightTarget {
  readonly command: 'init' | 'join' | 'upgrade' | 'reset';
  /** The API server to join. */
  readonly address?: string | undefined;
}

/**
 * `tkadm preflight [init|join|upgrade|reset]`: the checks of that command alone, with --fix the repairs too.
 * Returns the exit code.
 */
export async function runPreflightCommand(
  context: CliContext,
  target: PreflightTarget,
  options: PreflightOptions,
): Promise<number> {
  if (options.list) return listChecks(context, options.output);
  const host = createLocalHost();
  const input = await buildInput(context, { host, target, options });
  const { signal } = context;
  let report = await runPreflight(host, input, { signal });
  const repairs: { readonly check: string; readonly summary: string; readonly error?: string }[] = [];
  if (options.fix) {
    const session = options.dryRun || context.uid !== 0 ? undefined : await open(context, host);
    const actions = selectRepairable(report.findings).flatMap((finding) =>
      toRepairs(finding).map((action) => ({ action, check: finding.check })),
    );
    for (const { action, check } of actions) {
      const error = options.dryRun ? undefined : await repair(action, { host, session, signal });
      repairs.push({ check, summary: formatAction(action), ...(error === undefined ? {} : { error }) });
    }
    await session?.end('done');
    if (repairs.length > 0 && !options.dryRun) report = await runPreflight(host, input, { signal });
  }
  const fatal = selectFatal(report.findings);
  const done = repairs.map(
    ({ summary, error }) =>
      `${options.dryRun ? 'WOULD' : error === undefined ? 'DONE ' : 'FAILED'}    ${summary}${error ? `: ${error}` : ''}\n`,
  );
  const { findings, checks, durationMs } = report;
  const data = { ok: fatal.length === 0, scope: input.scope, findings, repairs, checks, durationMs };
  writeData(context, options.output, data, `${done.join('')}${formatReport(report)}`);
  if (fatal.length === 0) return 0;
  if (options.output === 'text') {
    const names = [...new Set(fatal.map((finding) => finding.check))].join(', ');
    context.writeError(`error: preflight failed: ${names}\n  try: ${preflightError(fatal).hint}\n`);
  }
  return EXIT_CODES.preflight;
}

async function open(context: CliContext, host: Host): Promise<JournalSession> {
  const initSystem = await detectInitSystem(host);
  const { pid, now } = context;
  return openSession({ host, initSystem, command: 'preflight', pid, now, extent: 'run' });
}

interface RepairTools {
  readonly host: Host;
  readonly session: JournalSession | undefined;
  readonly signal: AbortSignal;
}

/** Runs a repair; returns what it said when it failed. */
async function repair(action: Action, { host, session, signal }: RepairTools): Promise<string | undefined> {
  let error: string | undefined;
  const perform = async () => {
    if (action.kind !== 'run') return;
    const result = await host.run(action.argv, { signal });
    if (result.exitCode !== 0) error = result.stderr.trim();
  };
  await (session ? session.record(action, 'preflight', perform) : perform());
  return error;
}

function listChecks(context: CliContext, output: string): number {
  const rows = CHECKS.map(({ name, scopes, severity, looksAt }) => ({
    name,
    commands: scopes,
    severity,
    embedded: formatLooksAt(looksAt, 'embedded'),
    upstream: formatLooksAt(looksAt, 'upstream'),
  }));
  const table = [
    ['CHECK', 'SEVERITY', 'IN', 'LOOKS AT'],
    ...rows.map((row) => [row.name, row.severity, row.commands.join(','), row.embedded]),
  ];
  writeData(context, output, { checks: rows }, formatTable(table));
  return 0;
}

interface InputSources {
  readonly host: Host;
  readonly target: PreflightTarget;
  readonly options: PreflightOptions;
}

async function buildInput(context: CliContext, sources: InputSources): Promise<PreflightInput> {
  const { host, target, options } = sources;
  const machine = await observeMachine(host);
  const text = options.config === undefined ? undefined : await readInput(context, options.config);
  const flags = options as unknown as Record<string, unknown>;
  const shared = { host, env: context.env, now: context.now, nodeIp: machine.advertiseAddress };
  if (target.command === 'init') {
    const overrides = collectOverrides('InitConfiguration', flags);
    const loaded = await loadConfiguration({
      kind: 'InitConfiguration',
      text,
      path: options.config,
      isStrict: false,
      overrides,
      defaultsFrom: machine,
    });
    const isAddressGiven =
      options.apiserverAdvertiseAddress !== undefined || /^\s*advertiseAddress\s*:/m.test(text ?? '');
    return buildPreflightInput({ ...shared, config: loaded.config, isAddressGiven });
  }
  if (target.command === 'join') {
    const endpoint =
      target.address && !/:\d+$/.test(target.address) ? `${target.address}:6443` : target.address;
    const overrides = {
      ...collectOverrides('JoinConfiguration', flags),
      ...(endpoint === undefined ? {} : { 'api-server-endpoint': endpoint }),
    };
    const loaded = await loadConfiguration({
      kind: 'JoinConfiguration',
      text,
      path: options.config,
      isStrict: false,
      overrides,
      defaultsFrom: machine,
    });
    return buildPreflightInput({ ...shared, config: loaded.config });
  }
  return buildClusterInput(context, { ...sources, text, scope: target.command, nodeName: machine.hostname });
}

/** For a machine that is a node already: nothing new is listened on or written. */
async function buildClusterInput(
  context: CliContext,
  {
    host,
    options,
    text,
    scope,
    nodeName,
  }: InputSources & {
    readonly text: string | undefined;
    readonly scope: 'upgrade' | 'reset';
    readonly nodeName: string;
  },
): Promise<PreflightInput> {
  const kubeconfig = options.kubeconfig ?? `${PATHS.kubernetes}/admin.conf`;
  const hasKubeconfig = await context.fileExists(kubeconfig);
  const wished =
    text === undefined
      ? { ignored: [], isDryRun: false }
      : await readWishes(text, { scope, path: options.config, nodeName, isControlPlane: hasKubeconfig });
  return {
    scope,
    nodeName,
    ports: [],
    absentFiles: [],
    presentFiles: ['kube-apiserver', 'kube-controller-manager', 'kube-scheduler'].map(
      (name) => `${PATHS.manifests}/${name}.yaml`,
    ),
    podCidrs: [],
    serviceCidrs: [],
    ignored: [...(options.ignorePreflightErrors ?? []), ...wished.ignored],
    env: context.env,
    isDryRun: options.dryRun || wished.isDryRun,
    openCri: createCriProbe,
    ...(hasKubeconfig && scope === 'upgrade'
      ? { api: async () => new ApiClient(await loadClientConfig(kubeconfig)) }
      : {}),
    ...((await host.stat(PATHS.state)) ? { engine: 'embedded' as const } : {}),
  };
}

/** What the document of a reset or an upgrade says of its checks; an upgrade has a part for each sort of node. */
async function readWishes(
  text: string,
  {
    scope,
    path,
    nodeName,
    isControlPlane,
  }: {
    readonly scope: 'upgrade' | 'reset';
    readonly path: string | undefined;
    readonly nodeName: string;
    readonly isControlPlane: boolean;
  },
): Promise<{ readonly ignored: readonly string[]; readonly isDryRun: boolean }> {
  const source = {
    text,
    path,
    isStrict: false,
    defaultsFrom: { hostname: nodeName, advertiseAddress: '127.0.0.1' },
  };
  if (scope === 'reset') {
    const { config } = await loadConfiguration({ kind: 'ResetConfiguration', ...source });
    return { ignored: config.ignorePreflightErrors, isDryRun: config.isDryRun };
  }
  const { config } = await loadConfiguration({ kind: 'UpgradeConfiguration', ...source });
  const step = isControlPlane ? config.apply : config.node;
  return { ignored: step.ignorePreflightErrors, isDryRun: step.dryRun };
}
