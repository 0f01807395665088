import { createBatchedHost } from '../../preflight/batch.ts';
import { createTeller, previewChecks, previewJoin } from '../commands/join-preview.ts';
import type { MachineReporter } from '../render/fleet.ts';
import type { MachineToJoin } from '../ssh/check-machine.ts';
import type { SshHost } from '../ssh/host.ts';
import { hasBundle, readArchitecture } from '../ssh/upload-bundle.ts';
import type { ApplyRun } from './apply-run.ts';
import type { MachineState } from './inspect.ts';
import type { MemberEnd } from './run.ts';
import { findBundle } from './tools.ts';

export interface MemberPreview {
  readonly run: ApplyRun;
  readonly machine: MachineReporter;
  readonly toCheck: MachineToJoin;
  readonly state: MachineState;
}

/** What the join of a machine would do. Nothing is sent there, and no token is made. */
export async function previewMember(host: SshHost, preview: MemberPreview): Promise<MemberEnd> {
  const { run, machine, toCheck } = preview;
  const bundleDirectory = await findBundle(run.context);
  if (!run.known || toCheck.controlPlane) return previewBeforeCluster(host, preview, bundleDirectory);
  const { api, endpoint, pins } = run.known;
  const input = { ...toCheck, apiServerEndpoint: endpoint, caCertHashes: pins, controlPlane: undefined };
  return previewJoin(host, {
    context: run.context,
    input,
    token: undefined,
    config: api.config,
    bundleDirectory,
    machine,
  });
}

/** Of a join to what is not there, only the beginning can be shown: the files depend on the cluster. */
async function previewBeforeCluster(
  host: SshHost,
  { run, machine, toCheck, state }: MemberPreview,
  bundleDirectory: string | undefined,
): Promise<MemberEnd> {
  const architecture = await readArchitecture(host);
  const tell = createTeller(machine);
  const repairs = await previewChecks(
    createBatchedHost(host),
    { input: toCheck, context: run.context },
    tell.emit,
  );
  const isOwn = architecture === process.arch && bundleDirectory !== undefined;
  const hasPrograms = isOwn && (await hasBundle(host, bundleDirectory));
  const role = toCheck.controlPlane ? 'a control plane' : 'a worker';
  const steps = [
    ...(hasPrograms ? [] : [['bundle', 'install the node bundle'] as const]),
    [
      'kubelet-start',
      `join as ${role}; its files depend on the cluster's certificates and configuration`,
    ] as const,
  ];
  for (const [phase, summary] of steps) machine.event({ type: 'action', phase, summary, isDryRun: true });
  return { node: toCheck.nodeName ?? state.nodeName, changes: repairs + steps.length };
}
