import { ApiClient } from '../../runtime/api/client.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createPlannedHost } from '../../runtime/host/planned.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { createRenderer, type OutputFormat, type Renderer } from '../render/renderer.ts';
import type { Action } from '../workflow/action.ts';
import { performAction } from '../workflow/perform.ts';
import type { Phase } from '../workflow/phase.ts';
import { isSelected } from '../workflow/phase.ts';
import { runPhases } from '../workflow/run.ts';
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
  readonly finish: () => Promise<{ readonly text: string; readonly data: Readonly<Record<string, unknown>> }>;
}

/** What a phase's context is built from. */
export interface RunTools {
  /** The machine for phases to look at: in a dry run, with what earlier phases would have written. */
  readonly host: Host;
  readonly api: () => Promise<ApiClient>;
  readonly warn: (message: string) => void;
}

/** Runs the phases of a command with the renderer that fits, and shows the result. */
export async function runCommandPhases<C>(run: CommandRun<C>): Promise<void> {
  const { cli, host, phases } = run;
  const planned = createPlannedHost(host);
  const shown = phases.filter((phase) => run.only === undefined || isSelected(phase.name, run.only));
  const renderer: Renderer = await createRenderer({
    format: run.output,
    isTerminal: cli.isTerminal,
    command: run.command,
    write: cli.write,
    phases: shown,
  });
  const api = clientOnce(run.kubeconfig);
  const superApi = clientOnce(run.superKubeconfig ?? run.kubeconfig);
  const initSystem = await detectInitSystem(host);
  const tools: RunTools = {
    host: run.isDryRun ? planned : host,
    api,
    warn: (message) => renderer.emit({ type: 'note', level: 'warning', message }),
  };
  try {
    await runPhases({
      phases,
      context: run.buildContext(tools),
      perform: (action) =>
        performAction(action, {
          host,
          initSystem,
          signal: cli.signal,
          api,
          superApi,
          bundleSources: bundleSources(cli),
        }),
      emit: renderer.emit,
      signal: cli.signal,
      skip: run.skip,
      ...(run.only ? { only: run.only } : {}),
      isDryRun: run.isDryRun,
      planned: (action) => planAction(action, planned),
    });
  } catch (error) {
    await renderer.finish({ isOk: false, text: '', data: {} });
    throw error;
  }
  await renderer.finish({ isOk: true, ...(await run.finish()) });
}

/** In a dry run: puts the files of an action where later phases look, on the machine that is only planned. */
async function planAction(action: Action, host: Host): Promise<void> {
  if (action.kind === 'write-file') await host.writeFile(action.path, action.content, { mode: action.mode });
  if (action.kind === 'make-directory') await host.mkdir(action.path, { mode: action.mode });
  if (action.kind === 'remove') await host.remove(action.path);
}

/** A client that is made when it is first asked for: its kubeconfig may be one of the run's results. */
function clientOnce(path: string): () => Promise<ApiClient> {
  let client: Promise<ApiClient> | undefined;
  return () => {
    client ??= loadClientConfig(path).then((config) => new ApiClient(config));
    return client;
  };
}
