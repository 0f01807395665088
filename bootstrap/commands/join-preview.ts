import { createBatchedHost } from '../../preflight/batch.ts';
import { formatWarning } from '../../preflight/format.ts';
import { selectRepairable } from '../../preflight/run.ts';
import type { ClientConfig } from '../../runtime/api/kubeconfig.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createPlannedHost } from '../../runtime/host/planned.ts';
import { loadConfiguration } from '../config/load.ts';
import type { JoinConfig } from '../config/types.ts';
import { createPatchReader } from '../phases/files.ts';
import { joinPhases } from '../phases/join.ts';
import { toRepairs } from '../phases/preflight.ts';
import type { MachineReporter } from '../render/fleet.ts';
import { toEventFields } from '../render/json.ts';
import { checkMachine, type MachineToJoin } from '../ssh/check-machine.ts';
import type { SshHost } from '../ssh/host.ts';
import type { RemoteJoinInput } from '../ssh/join-remote.ts';
import type { RemoteEvent } from '../ssh/remote-command.ts';
import { hasBundle, readArchitecture } from '../ssh/upload-bundle.ts';
import type { DiscoveredCluster } from '../tokens/cluster-info.ts';
import { checkPins, discoverCluster } from '../tokens/discover.ts';
import type { WorkflowEvent } from '../workflow/event.ts';
import { runPhases } from '../workflow/run.ts';
import { bundleChooser } from './bundle.ts';
import type { CliContext } from './context.ts';
import { observeMachine } from './machine.ts';
import { previewAndPlan } from './run.ts';

export interface JoinPreviewInput {
  readonly context: CliContext;
  readonly input: Omit<RemoteJoinInput, 'token'>;
  /** The user's, else the cluster is asked as administrator. */
  readonly token: string | undefined;
  readonly config: ClientConfig | undefined;
  /** The bundle of this machine, if it has one. */
  readonly bundleDirectory: string | undefined;
  readonly machine: MachineReporter;
}

/** What a join over SSH would do, seen from here: nothing is sent to the machine, and no token is made. */
export async function previewJoin(
  sshHost: SshHost,
  preview: JoinPreviewInput,
): Promise<{ readonly node: string; readonly changes: number }> {
  const { context, input, machine } = preview;
  const architecture = await readArchitecture(sshHost);
  const tell = createTeller(machine);
  const repairs = await previewChecks(createBatchedHost(sshHost), preview, tell.emit);
  const { config, nodeIp, hostname } = await loadRemoteConfig(sshHost, preview);
  const planned = createPlannedHost(sshHost);
  const warn = (message: string) => tell.emit({ type: 'note', level: 'warning', message });
  const bundleDirectory =
    architecture === process.arch
      ? preview.bundleDirectory
      : await bundleChooser(context, undefined)(architecture);
  await runPhases({
    phases: joinPhases(config).filter((phase) => phase.name !== 'preflight'),
    context: {
      config,
      host: planned,
      hostname,
      nodeIp,
      shouldFix: input.shouldFix,
      env: {},
      now: context.now,
      signal: context.signal,
      warn,
      discover: () => discover(preview, warn),
      joinClient: onlyForControlPlanes,
      controlPlane: onlyForControlPlanes,
      // Of a token that a join would make; a preview does not show it.
      agentCredentials: { token: preview.token ?? 'abcdef.0123456789abcdef' },
      isBundleInstalled: async () =>
        bundleDirectory !== undefined && (await hasBundle(sshHost, bundleDirectory)),
      patches: createPatchReader(planned, undefined, warn),
    },
    perform: async () => {},
    // What it would wait for cannot be there.
    isDone: async () => false,
    preview: (action) => previewAndPlan(action, planned),
    emit: tell.emit,
    signal: context.signal,
  });
  return { node: config.nodeRegistration.name, changes: repairs + tell.changes() };
}

/** Tells of events as the command on the machine would, and counts changes. */
export function createTeller(machine: MachineReporter) {
  let changes = 0;
  return {
    changes: () => changes,
    emit(event: WorkflowEvent) {
      if (event.type === 'phase-done') changes += event.changes;
      machine.event(toEventFields(event) as RemoteEvent);
    },
  };
}

/** Shows what the checks find and what would be repaired; returns the number of repairs. @throws PREFLIGHT_FAILED */
export async function previewChecks(
  host: Host,
  { input, context }: { readonly input: MachineToJoin; readonly context: Pick<CliContext, 'signal'> },
  emit: (event: WorkflowEvent) => void,
): Promise<number> {
  const findings = await checkMachine(host, input, context.signal);
  const repairable = input.shouldFix ? selectRepairable(findings) : [];
  for (const finding of findings) {
    if (finding.severity !== 'warning' || repairable.includes(finding)) continue;
    emit({ type: 'note', level: 'warning', message: formatWarning(finding) });
  }
  const repairs = repairable.flatMap(toRepairs);
  for (const action of repairs) emit({ type: 'action', phase: 'preflight', action, isDryRun: true });
  return repairs.length;
}

async function loadRemoteConfig(
  host: Host,
  { input, token }: JoinPreviewInput,
): Promise<{ readonly config: JoinConfig; readonly nodeIp: string; readonly hostname: string }> {
  const hostname = ((await host.readFile('/proc/sys/kernel/hostname')) ?? '').trim();
  const machine = { ...(await observeMachine(host)), hostname: hostname.toLowerCase() };
  const discovery =
    token === undefined
      ? // The administrator is asked; the file stands for his kubeconfig.
        { 'discovery-file': '/etc/kubernetes/admin.conf' }
      : {
          'api-server-endpoint': input.apiServerEndpoint,
          'discovery-token-ca-cert-hash': input.caCertHashes,
          token,
        };
  const { config } = await loadConfiguration({
    kind: 'JoinConfiguration',
    overrides: {
      ...discovery,
      'node-name': input.nodeName,
      'ignore-preflight-errors': input.ignorePreflightErrors,
      'dry-run': true,
    },
    defaultsFrom: machine,
  });
  return { config, nodeIp: machine.advertiseAddress, hostname };
}

async function discover(
  { input, token, config, context }: JoinPreviewInput,
  warn: (message: string) => void,
): Promise<DiscoveredCluster> {
  const { apiServerEndpoint: endpoint, caCertHashes: pins } = input;
  if (token === undefined && config) {
    const { caPem = '', certPem, keyPem, token: bearer } = config;
    checkPins(caPem, pins, endpoint);
    return { server: `https://${endpoint}`, caPem, credentials: { certPem, keyPem, token: bearer } };
  }
  return discoverCluster({
    endpoint,
    pins,
    token: token ?? '',
    unsafeSkipCaVerification: false,
    now: context.now,
    signal: context.signal,
    warn,
  });
}

/** Control-plane nodes have been refused before. */
async function onlyForControlPlanes(): Promise<never> {
  throw new Error('a preview over SSH is that of a worker');
}
