import { hostname } from 'node:os';
import { createInterface } from 'node:readline/promises';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { RESET_PHASES } from '../phases/reset.ts';
import { createRenderer, type OutputFormat } from '../render/renderer.ts';
import { performAction } from '../workflow/perform.ts';
import { runPhases } from '../workflow/run.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';
import { requireRoot } from './require-root.ts';

export interface ResetOptions {
  readonly force?: boolean;
  readonly dryRun?: boolean;
  readonly kubeconfig?: string;
  readonly output: OutputFormat;
}

/** `tkadm reset`: takes this machine out of its cluster and removes what tkadm put on it. */
export async function runReset(context: CliContext, options: ResetOptions): Promise<void> {
  requireRoot(context);
  if (!options.force && !options.dryRun) await confirm(context);
  const host = createLocalHost();
  const initSystem = await detectInitSystem(host);
  const kubeconfig = options.kubeconfig ?? `${PATHS.kubernetes}/admin.conf`;
  const renderer = await createRenderer({
    format: options.output,
    isTerminal: context.isTerminal,
    command: 'reset',
    write: context.write,
    phases: RESET_PHASES,
  });
  const unavailable = async () => {
    throw new Error('reset needs no API client');
  };
  try {
    await runPhases({
      phases: RESET_PHASES,
      context: {
        host,
        nodeName: await findNodeName(host),
        kubeconfig: (await host.stat(kubeconfig)) ? kubeconfig : undefined,
        certificatesDir: PATHS.pki,
      },
      perform: (action) =>
        performAction(action, {
          host,
          initSystem,
          signal: context.signal,
          api: unavailable,
          bundleSources: bundleSources(context),
        }),
      emit: renderer.emit,
      signal: context.signal,
      isDryRun: options.dryRun ?? false,
    });
  } catch (error) {
    await renderer.finish({ isOk: false, text: '', data: {} });
    throw error;
  }
  const text = options.dryRun
    ? ''
    : 'This machine is no node any more. Kubeconfig copies such as ~/.kube/config are yours and were kept.\n';
  await renderer.finish({ isOk: true, text, data: { node: hostname() } });
}

/** The name in the flags file of the agent, else the host's. */
async function findNodeName(host: ReturnType<typeof createLocalHost>): Promise<string> {
  const flags = (await host.readFile(`${PATHS.kubelet}/kubeadm-flags.env`)) ?? '';
  return /--hostname-override=([^\s"]+)/.exec(flags)?.[1] ?? hostname().toLowerCase();
}

async function confirm(context: CliContext): Promise<void> {
  if (!context.isInputTerminal) {
    throw new TkadmError('USAGE', 'Cannot reset without an answer: standard input is no terminal', {
      hint: 'tkadm reset -f',
    });
  }
  const prompt = createInterface({
    input: context.stdin as never,
    output: { write: context.write } as never,
  });
  const answer = await prompt.question(
    'This removes the node, its pods and the cluster data on this machine. Go on? [y/N] ',
  );
  prompt.close();
  if (!/^y(es)?$/i.test(answer.trim())) throw new TkadmError('USAGE', 'Cannot reset: the answer was not "y"');
}
