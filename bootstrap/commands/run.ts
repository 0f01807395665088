import { PrimeSearches } from '../../pki/rsa.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { isTkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { type BundleSources, isBundleInstalled, readBundleId } from '../../runtime/host/bundle.ts';
import { createPlannedHost } from '../../runtime/host/planned.ts';
import { detectInitSystem, type InitSystem } from '../../runtime/host/services.ts';
import type { Finding } from '../diagnose/diagnosis.ts';
import type { Unfinished } from '../journal/entries.ts';
import { openSession } from '../journal/session.ts';
import { createRenderer, type OutputFormat, type Renderer } from '../render/renderer.ts';
import type { Action } from '../workflow/action.ts';
import { createFinder, type FindObject, isActionDone, type Observation } from '../workflow/observe.ts';
import { performAction } from '../workflow/perform.ts';
import { checkPhaseNames, isSelected, type Phase } from '../workflow/phase.ts';
import { previewAction } from '../workflow/preview.ts';
import { runPhases } from '../workflow/run.ts';
import type { OnProgress } from '../workflow/wait.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';

export interface CommandRun<C> {
  readonly command: string;
  readonly cli: CliContext;
  readonly host: Host;
  readonly phases: readonly Phase<C>[];
  /** Builds what the phases look at, once the renderer is there to tell. */
  readonly buildContext: (tools: RunTools) => C;
  readonly output: OutputFormat;
  readonly skip: readonly string[];
  readonly only: readonly string[] | undefined;
  readonly isDryRun: boolean;
  /** Where the administrator's kubeconfig is, or will be. */
  readonly kubeconfig: string;
  readonly superKubeconfig?: string;
  /** Where to reach the API server whatever the kubeconfig says: this machine's own. */
  readonly server?: string | undefined;
  /** What is to be done, and told, when the run has failed. */
  readonly onFailure?: (tools: RunTools) => Promise<void>;
  readonly finish: (
    tools: RunTools & { readonly changes: number },
  ) => Promise<{ readonly text: string; readonly data: Readonly<Record<string, unknown>> }>;
}

/** What a phase's context is built from. */
export interface RunTools {
  /** The machine for phases to look at: in a dry run, with what earlier phases would have written. */
  readonly host: Host;
  readonly api: () => Promise<ApiClient>;
  readonly find: FindObject;
  readonly observation: Observation;
  readonly isBundleInstalled: () => Promise<boolean>;
  /** Digest of the bundle that this package makes; undefined where its parts are not at hand. */
  readonly bundleId: () => Promise<string | undefined>;
  readonly warn: (message: string) => void;
  /** The run before, when it has not come to its end. */
  readonly unfinished: Unfinished | undefined;
  /** For the keys that phases make at the same time. */
  readonly searches: PrimeSearches;
}

/** Runs the phases of a command with the renderer that fits, and shows the result. */
export async function runCommandPhases<C>(run: CommandRun<C>): Promise<void> {
  const { cli, host, phases, isDryRun } = run;
  checkPhaseNames(phases, [...run.skip, ...(run.only ?? [])]);
  const planned = createPlannedHost(host);
  const initSystem = await detectInitSystem(host);
  // Without root there is nothing of the machine that could be changed.
  const session = isDryRun || cli.uid !== 0 ? undefined : await open(run, initSystem);
  const renderer: Renderer = await createRenderer({
    format: run.output,
    // A dry run is a text to read, in order.
    isTerminal: cli.isTerminal && !isDryRun,
    command: run.command,
    write: cli.write,
    columns: cli.terminal.size()?.columns,
    phases: phases.filter(
      (phase) => phase.refusal === undefined && (run.only === undefined || isSelected(phase.name, run.only)),
    ),
  });
  const { signal } = cli;
  const api = clientOnce(run.kubeconfig, run.server);
  const superApi = clientOnce(run.superKubeconfig ?? run.kubeconfig, run.server);
  const sources = bundleSources(cli);
  const observation = { api, isDryRun, signal };
  const find = createFinder(observation);
  const tools: RunTools = {
    host: isDryRun ? planned : host,
    api,
    find,
    observation,
    isBundleInstalled: () => isBundleInstalled(host, sources),
    bundleId: () => findBundleId(host, sources),
    warn: (message) => renderer.emit({ type: 'note', level: 'warning', message }),
    unfinished: session?.unfinished,
    searches: new PrimeSearches(),
  };
  const context = {
    host,
    initSystem,
    signal,
    api,
    superApi,
    bundleSources: sources,
    diagnose: () => diagnoseMachine(run, api),
  };
  const perform = (action: Action, phase: string, onProgress?: OnProgress) => {
    const task = () => performAction(action, { ...context, onProgress });
    return session ? session.record(action, phase, task) : task();
  };
  let changes = 0;
  let state: 'done' | 'failed' | 'interrupted' = 'failed';
  try {
    tellInterruption(session?.unfinished, run, renderer);
    for (const action of (await session?.planHalfDone()) ?? []) await perform(action, 'interruption');
    await runPhases({
      phases,
      context: run.buildContext(tools),
      perform: (action, onProgress, phase) => perform(action, phase, onProgress),
      isDone: (action) => isActionDone(action, { host, api, signal, find }),
      emit(event) {
        if (event.type === 'phase-done') changes += event.changes;
        renderer.emit(event);
      },
      signal,
      skip: run.skip,
      ...(run.only ? { only: run.only } : {}),
      ...(isDryRun ? { preview: (action) => previewAndPlan(action, planned) } : {}),
    });
    await renderer.finish({ isOk: true, ...(await run.finish({ ...tools, changes })) });
    state = 'done';
  } catch (error) {
    if (signal.aborted) state = 'interrupted';
    // The run's own failure is what is told.
    await run.onFailure?.(tools).catch(() => {});
    await renderer.finish({ isOk: false, text: '', data: {} });
    throw error;
  } finally {
    await session?.end(state);
  }
}

/** What a wait that fails tells of this machine. Its sources are loaded for that alone. */
async function diagnoseMachine<C>(
  { cli, host }: CommandRun<C>,
  api: () => Promise<ApiClient>,
): Promise<readonly Finding[]> {
  const { diagnose } = await import('../diagnose/diagnose.ts');
  // Before it has a certificate of its own, a node asks with its token.
  const ask = () => api().catch(() => clientOnce(`${PATHS.kubernetes}/bootstrap-kubelet.conf`, undefined)());
  const { findings } = await diagnose({
    subject: { kind: 'machine' },
    host,
    nodePath: cli.nodePath,
    remoteNodePath: cli.nodePath,
    api: ask,
    now: cli.now,
    lookMs: 5_000,
  });
  return findings.filter(({ confidence }) => confidence !== 'possible');
}

/** From here on the machine is this command's. @throws MACHINE_BUSY, JOURNAL_DAMAGED */
function open<C>({ cli, host, command, only }: CommandRun<C>, initSystem: InitSystem) {
  return openSession({
    host,
    initSystem,
    command,
    pid: cli.pid,
    now: cli.now,
    extent: only === undefined ? 'run' : 'phase',
    // One whose connection was lost ends by itself within seconds.
    waitMs: cli.env['TKADM_FOLLOWED'] ? 20_000 : 0,
  });
}

/** Says in a line that a run goes on, or what another one has left half done. */
function tellInterruption<C>(
  unfinished: Unfinished | undefined,
  { command }: CommandRun<C>,
  renderer: Renderer,
): void {
  if (!unfinished?.isInterrupted) return;
  const { phase, summary } = unfinished;
  const at = phase === undefined ? '' : ` at ${phase} (${summary})`;
  const isSame = unfinished.command === command;
  const message = isSame
    ? `Going on after an interruption${at}`
    : `"tkadm ${unfinished.command}" was interrupted${at}`;
  renderer.emit({ type: 'note', level: isSame ? 'info' : 'warning', message });
}

async function findBundleId(host: Host, sources: BundleSources): Promise<string | undefined> {
  try {
    return await readBundleId(host, sources);
  } catch (error) {
    if (!isTkadmError(error, 'BUNDLE_BUILD')) throw error;
    return undefined;
  }
}

/** The preview of an action, which later steps see done on the planned machine. */
export async function previewAndPlan(action: Action, planned: Host): Promise<string | undefined> {
  const preview = await previewAction(action, planned);
  await planAction(action, planned);
  return preview;
}

/** In a dry run: puts the files of an action where later phases look, on the machine that is only planned. */
async function planAction(action: Action, host: Host): Promise<void> {
  if (action.kind === 'write-file') await host.writeFile(action.path, action.content, { mode: action.mode });
  if (action.kind === 'write-files') for (const file of action.files) await planAction(file, host);
  if (action.kind === 'make-directory') await host.mkdir(action.path, { mode: action.mode });
  if (action.kind === 'remove') await host.remove(action.path);
}

/** A client that is made when it is first asked for: its kubeconfig may be one of the run's results. */
function clientOnce(path: string, server: string | undefined): () => Promise<ApiClient> {
  let client: ApiClient | undefined;
  return async () => {
    if (client) return client;
    const config = await loadClientConfig(path);
    client ??= new ApiClient(server === undefined ? config : { ...config, server });
    return client;
  };
}
