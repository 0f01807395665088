import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { ApiClient } from '../../runtime/api/client.ts';
import { CONFIG_MAPS } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { detectInitSystem } from '../../runtime/host/services.ts';
import { localServer } from '../../templates/kubeconfig.ts';
import { KUBE_SYSTEM } from '../addons/objects.ts';
import { buildJoinedConfig } from '../config/joined-cluster.ts';
import { loadConfiguration } from '../config/load.ts';
import type { InitConfig, JoinConfig, MachineDefaults } from '../config/types.ts';
import { createPatchReader } from '../phases/files.ts';
import { joinPhases, selectCredentials } from '../phases/join.ts';
import { formatDryRunEnd } from '../render/count.ts';
import type { OutputFormat } from '../render/renderer.ts';
import type { DiscoveredCluster, LookOptions } from '../tokens/cluster-info.ts';
import { discoverCluster, patienceOf } from '../tokens/discover.ts';
import { discoverFromFile } from '../tokens/discover-file.ts';
import { refusePhases } from '../workflow/run.ts';
import { type CliContext, readInput } from './context.ts';
import { listJoinTraces, settleFailedJoin } from './join-left.ts';
import { observeMachine } from './machine.ts';
import { once } from './once.ts';
import { collectOverrides } from './overrides.ts';
import { requireRoot, requireRootUnlessDry } from './require-root.ts';
import { runCommandPhases } from './run.ts';

export interface JoinOptions {
  readonly config?: string;
  readonly fix?: boolean;
  readonly output: OutputFormat;
  readonly ssh?: readonly string[];
  readonly token?: string;
  readonly dryRun?: boolean;
  /** Of `join phase`. */
  readonly onlyPhase?: string;
  readonly discoveryFile?: string;
  readonly tlsBootstrapToken?: string;
}

/**
 * `tkadm join`: this machine through the address of an API server, or other machines over SSH from one that
 * has the administrator's kubeconfig. The first line says which of the two it is.
 */
export async function runJoin(
  context: CliContext,
  addresses: readonly string[],
  options: JoinOptions,
): Promise<void> {
  const targets = [...(options.ssh ?? [])];
  if (targets.length > 0 && addresses.length > 0) {
    throw new TkadmError(
      'USAGE',
      `Cannot join "${addresses[0]}": give machines either as --ssh or as addresses`,
    );
  }
  if (targets.length === 0 && (await meansMachines(context, addresses))) targets.push(...addresses);
  if (targets.length > 0) {
    const { runJoinOverSsh } = await import('./join-ssh.ts');
    return runJoinOverSsh(context, targets, options as never);
  }
  if (addresses.length > 1)
    throw new TkadmError('USAGE', `Cannot join this machine to ${addresses.length} API servers`);
  await joinThisMachine(context, addresses[0], options);
}

/** Addresses are machines when this one reaches the cluster as administrator and they are not its API server. */
async function meansMachines(context: CliContext, addresses: readonly string[]): Promise<boolean> {
  const [address] = addresses;
  if (address === undefined) return false;
  if (addresses.length > 1 || address.includes('@')) return true;
  const kubeconfig = context.env['KUBECONFIG'] || `${PATHS.kubernetes}/admin.conf`;
  if (!(await context.fileExists(kubeconfig))) return false;
  const server = new URL((await loadClientConfig(kubeconfig)).server);
  return address !== server.host && address !== server.hostname;
}

/** Joins the machine that this runs on, or runs one phase of that. */
export async function joinThisMachine(
  context: CliContext,
  address: string | undefined,
  options: JoinOptions,
): Promise<void> {
  const host = createLocalHost();
  const only = options.onlyPhase === undefined ? undefined : [options.onlyPhase];
  const text = options.config === undefined ? undefined : await readInput(context, options.config);
  const endpoint = address === undefined || /:\d+$/.test(address) ? address : `${address}:6443`;
  const overrides = collectOverrides('JoinConfiguration', asFileFlags(context, address, options));
  const machine = await observeMachine(host);
  const { config, warnings } = await loadConfiguration({
    kind: 'JoinConfiguration',
    text,
    path: options.config,
    isStrict: false,
    fileExists: context.fileExists,
    overrides: { ...overrides, ...(endpoint === undefined ? {} : { 'api-server-endpoint': endpoint }) },
    defaultsFrom: machine,
  });
  const phases = joinPhases(config);
  refusePhases(phases, only ?? []);
  const need = {
    isDryRun: config.isDryRun,
    ignored: config.nodeRegistration.ignorePreflightErrors,
    onlyPhase: options.onlyPhase,
  };
  requireRoot(context, need);
  if (options.output === 'text' && only === undefined)
    context.write(
      `Joining this machine, "${config.nodeRegistration.name}", to the cluster at ${describe(config)}\n`,
    );
  const before = await listJoinTraces(host, config.caCertPath);
  const initSystem = await detectInitSystem(host);
  await runCommandPhases({
    command: 'join',
    cli: context,
    host,
    phases,
    output: options.output,
    skip: config.skipPhases,
    only,
    isDryRun: config.isDryRun,
    kubeconfig: `${PATHS.kubernetes}/${config.controlPlane ? 'admin' : 'kubelet'}.conf`,
    // The stable address of the control plane may lead to another one.
    server: config.controlPlane && localServer(config.controlPlane),
    buildContext: (tools) => {
      const { host: seenHost, isBundleInstalled, warn } = tools;
      for (const warning of warnings) warn(warning);
      requireRootUnlessDry(context, need, warn);
      const look = { now: context.now, signal: context.signal, warn };
      const discover = discoverOnce(config, look);
      const joinClient = async () => {
        const { server, caPem, ...cluster } = await discover();
        return new ApiClient({ server, caPem, ...selectCredentials(config, { server, caPem, ...cluster }) });
      };
      const patches = createPatchReader(seenHost, config.patchesDirectory, warn);
      return {
        config,
        host: seenHost,
        shouldFix: options.fix ?? false,
        env: context.env,
        nodeIp: machine.advertiseAddress,
        ...look,
        discover,
        isBundleInstalled,
        patches,
        joinClient,
        controlPlane: once(async () => ({
          ...tools,
          config: await readJoinedConfig(config, machine, joinClient),
          now: context.now,
          shouldFix: options.fix ?? false,
          initSystem,
          env: context.env,
          tokens: async () => [],
          patches,
        })),
      };
    },
    onFailure: async ({ warn }) => {
      if (config.isDryRun) return;
      const left = await settleFailedJoin(host, { before, caCertPath: config.caCertPath });
      if (left !== undefined) warn(left);
    },
    finish: async ({ changes }) => ({
      text: config.isDryRun ? formatDryRunEnd(changes) : only ? '' : formatEnd(config, changes),
      data: { node: config.nodeRegistration.name, host: hostname(), changes },
    }),
  });
}

/** With a discovery file and no address, --token is for TLS bootstrap alone; the file's path may be relative. */
function asFileFlags(
  { cwd }: CliContext,
  address: string | undefined,
  options: JoinOptions,
): Record<string, unknown> {
  const { discoveryFile, token, ...others } = options;
  if (discoveryFile === undefined) return { ...options };
  return {
    ...others,
    discoveryFile: discoveryFile.includes('://') ? discoveryFile : resolve(cwd, discoveryFile),
    ...(address === undefined ? { tlsBootstrapToken: others.tlsBootstrapToken ?? token } : { token }),
  };
}

function formatEnd({ nodeRegistration: { name } }: JoinConfig, changes: number): string {
  if (changes === 0)
    return `\nThis machine is node "${name}" of the cluster already: nothing was to be done.\n`;
  return `\nThis machine is node "${name}" of the cluster now.\nSee it from the control plane: kubectl get nodes\n`;
}

function describe({ discovery }: JoinConfig): string {
  return (
    discovery.bootstrapToken?.apiServerEndpoint ?? discovery.file?.kubeConfigPath ?? 'an unknown address'
  );
}

/** The cluster's configuration as this machine has it, which joins as control plane. */
async function readJoinedConfig(
  config: JoinConfig,
  machine: MachineDefaults,
  joinClient: () => Promise<ApiClient>,
): Promise<InitConfig> {
  const client = await joinClient();
  try {
    const { data } = await client.get(CONFIG_MAPS, { namespace: KUBE_SYSTEM, name: 'kubeadm-config' });
    return await buildJoinedConfig(data ?? {}, config, machine);
  } finally {
    client.close();
  }
}

function discoverOnce(
  config: JoinConfig,
  look: Omit<LookOptions, 'endpoint'> & { readonly warn: (message: string) => void },
): () => Promise<DiscoveredCluster> {
  return once((): Promise<DiscoveredCluster> => {
    const { bootstrapToken, file } = config.discovery;
    if (file) return discoverFromFile(file.kubeConfigPath, look);
    return discoverCluster({
      ...look,
      endpoint: bootstrapToken?.apiServerEndpoint ?? '',
      token: bootstrapToken?.token ?? '',
      pins: bootstrapToken?.caCertHashes ?? [],
      unsafeSkipCaVerification: bootstrapToken?.unsafeSkipCAVerification ?? false,
      patienceMs: patienceOf(config.timeouts),
    });
  });
}
