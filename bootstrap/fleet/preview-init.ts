import { createBatchedHost } from '../../preflight/batch.ts';
import { createPlannedHost } from '../../runtime/host/planned.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { checkEngine } from '../commands/init.ts';
import { createTeller } from '../commands/join-preview.ts';
import { observeMachine } from '../commands/machine.ts';
import { previewAndPlan } from '../commands/run.ts';
import { loadConfiguration } from '../config/load.ts';
import { createPatchReader } from '../phases/files.ts';
import { INIT_PHASES } from '../phases/init.ts';
import type { MachineReporter } from '../render/fleet.ts';
import type { SshHost } from '../ssh/host.ts';
import { readArchitecture } from '../ssh/upload-bundle.ts';
import { runPhases } from '../workflow/run.ts';
import type { ApplyMember, ApplyRun } from './apply-run.ts';
import { formatInitDocuments } from './documents.ts';
import type { MemberEnd } from './run.ts';

/** What an `init` would do on a machine that has no bundle yet, seen from here: nothing is sent there. */
export async function previewInit(
  sshHost: SshHost,
  input: {
    readonly run: ApplyRun;
    readonly member: ApplyMember;
    readonly machine: MachineReporter;
    readonly nodeIp: string | undefined;
  },
): Promise<MemberEnd> {
  const { run, member, machine, nodeIp } = input;
  await readArchitecture(sshHost);
  const host = createBatchedHost(sshHost);
  const hostname = ((await host.readFile('/proc/sys/kernel/hostname')) ?? '').trim().toLowerCase();
  const { config } = await loadConfiguration({
    kind: 'InitConfiguration',
    text: formatInitDocuments(run.fleet.documents, { host: member.host, nodeIp }),
    isStrict: false,
    defaultsFrom: { ...(await observeMachine(host)), hostname },
  });
  checkEngine(config, undefined);
  const planned = createPlannedHost(host);
  const tell = createTeller(machine);
  const warn = (message: string) => tell.emit({ type: 'note', level: 'warning', message });
  await runPhases({
    phases: INIT_PHASES,
    context: {
      config: { ...config, isDryRun: true },
      host: planned,
      now: run.tools.now,
      shouldFix: run.shouldFix,
      initSystem: await detectInitSystem(host),
      env: {},
      warn,
      api: nothingThere,
      find: async () => undefined,
      tokens: async () => [],
      patches: createPatchReader(planned, undefined, warn),
      isBundleInstalled: async () => false,
    },
    perform: async () => {},
    // What it would wait for cannot be there.
    isDone: async () => false,
    preview: (action) => previewAndPlan(action, planned),
    emit: tell.emit,
    signal: run.tools.signal,
  });
  return { node: config.nodeRegistration.name, changes: tell.changes() };
}

/** There is no cluster to be asked. */
async function nothingThere(): Promise<never> {
  throw new Error('the cluster is not there yet');
}
