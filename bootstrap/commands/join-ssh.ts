import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { parseCertificateKey } from '../../pki/certificate-secret.ts';
import { formatWarning } from '../../preflight/format.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { type ClientConfig, loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { formatError, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { installBundle } from '../../runtime/host/bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import { maskSecrets } from '../render/mask.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { createSshReporter, type MachineReporter, type SshReporter } from '../render/ssh-join.ts';
import { findTwin } from '../ssh/check-machine.ts';
import { resolveSshHost } from '../ssh/config-resolve.ts';
import type { SshSettings } from '../ssh/connection.ts';
import { joinOverSsh, type RemoteJoinInput } from '../ssh/join-remote.ts';
import { parseSshTarget, type SshTarget } from '../ssh/target.ts';
import { parseCaPins, pinsOf } from '../tokens/pin.ts';
import { createShortLivedToken, type ShortLivedToken } from '../tokens/short-lived.ts';
import { parseToken } from '../tokens/token.ts';
import { bundleChooser } from './bundle.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';
import { buildSshSettings, type SshOptions } from './ssh-settings.ts';

export interface SshJoinOptions extends SshOptions {
  readonly output: OutputFormat;
  readonly token?: string;
  readonly discoveryTokenCaCertHash?: readonly string[];
  readonly apiServer?: string;
  readonly nodeName?: string;
  readonly ignorePreflightErrors?: readonly string[];
  readonly fix?: boolean;
  readonly dryRun?: boolean;
  readonly controlPlane?: boolean;
  readonly certificateKey?: string;
}

/** Flags of a join on the machine itself. */
const LOCAL_FLAGS = [
  'config',
  'patches',
  'skip-phases',
  'discovery-file',
  'discovery-token',
  'discovery-token-unsafe-skip-ca-verification',
  'tls-bootstrap-token',
  'cri-socket',
  'apiserver-advertise-address',
  'apiserver-bind-port',
] as const;

/** What all machines of one command share. */
interface SshJoin {
  readonly context: CliContext;
  readonly options: SshJoinOptions;
  /** The administrator's; without one, --token, --api-server and a pin are needed. */
  readonly config: ClientConfig | undefined;
  readonly input: Omit<RemoteJoinInput, 'token'>;
  readonly settings: SshSettings;
  /** Undefined in a dry run on a machine that has none. */
  readonly bundleDirectory: string | undefined;
  readonly reporter: SshReporter;
}

/** Joins machines over SSH, all at the same time; one that fails does not stop the others. */
export async function runJoinOverSsh(
  context: CliContext,
  texts: readonly string[],
  options: SshJoinOptions,
): Promise<void> {
  const targets = texts.map(
    (text) => ({ user: options.sshUser, ...parseSshTarget(text) }) satisfies SshTarget,
  );
  if (options.nodeName !== undefined && targets.length > 1) {
    throw new TkadmError('USAGE', 'Cannot give several machines one --node-name');
  }
  refuseLocalFlags(options);
  const reporter = createSshReporter(context, options.output);
  const settings = buildSshSettings(context, options);
  const config = await readAdminConfig(context);
  const input = { ...buildInput(config, options), ...(await prepareControlPlane(context, config, options)) };
  reporter.start(
    targets.map((target) => ({
      host: target.host,
      user: resolveSshHost(target, settings.person).user ?? settings.defaultUser,
    })),
  );
  const shared: SshJoin = {
    context,
    options,
    config,
    input,
    settings,
    bundleDirectory: await (options.dryRun ? findBundle(context) : ensureBundle(context)),
    reporter,
  };
  const results = await Promise.all(targets.map((target) => joinOne(target, shared, targets.length)));
  const failures = results.flatMap((result) => ('error' in result ? [result.error] : []));
  if (failures.length === 1 && targets.length === 1) throw failures[0];
  if (failures.length > 0) {
    throw new TkadmError('JOIN_FAILED', `Cannot join ${failures.length} of ${targets.length} machines`, {
      cause: failures[0],
      hint: 'Mend what is said above and run the same command again',
    });
  }
  reporter.finish(results.flatMap((result) => ('node' in result ? [result.node] : [])));
}

/** @throws USAGE for flags that a machine behind SSH would not get */
function refuseLocalFlags(options: SshJoinOptions): void {
  const given = LOCAL_FLAGS.find((flag) => {
    const name = flag.replace(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
    return (options as unknown as Readonly<Record<string, unknown>>)[name] !== undefined;
  });
  if (given === undefined) return;
  throw new TkadmError(
    'USAGE',
    `Cannot use --${given} in a join over SSH: it is for a join on the machine itself`,
    {
      hint: `tkadm join HOST:PORT --${given} ..., on the machine itself`,
    },
  );
}

/**
 * What machines get that become control-plane nodes: the key of certificates that were uploaded, or that are uploaded
 * now, which only a control-plane node can do.
 * @throws USAGE, UNSUPPORTED, PKI_KEY_MISSING before any connection
 */
async function prepareControlPlane(
  context: CliContext,
  config: ClientConfig | undefined,
  { controlPlane, certificateKey, dryRun }: SshJoinOptions,
): Promise<Pick<RemoteJoinInput, 'controlPlane'>> {
  if (!controlPlane) {
    if (certificateKey === undefined) return {};
    throw new TkadmError('USAGE', 'Cannot use --certificate-key: the machines join without --control-plane');
  }
  if (dryRun) {
    throw new TkadmError(
      'UNSUPPORTED',
      'Cannot show over SSH what a join as control plane would do: the certificates are looked at on the machine itself',
      { hint: 'tkadm join HOST:PORT --control-plane --dry-run ..., on the machine itself' },
    );
  }
  if (certificateKey !== undefined) {
    parseCertificateKey(certificateKey);
    return { controlPlane: { certificateKey } };
  }
  if (!config) {
    const message =
      'Cannot join as control plane without --certificate-key: there is no kubeconfig to upload the certificates with';
    throw new TkadmError('USAGE', message, {
      hint: 'tkadm init phase upload-certs --upload-certs, on a control-plane node',
    });
  }
  const { uploadCertificates } = await import('./upload-certificates.ts');
  return { controlPlane: { certificateKey: await uploadCertificates(context, config) } };
}

/** Joins one machine, or shows what that would do. */
async function joinOne(
  target: SshTarget,
  shared: SshJoin,
  count: number,
): Promise<{ readonly node: string } | { readonly error: unknown }> {
  const machine = shared.reporter.machine(target.host);
  try {
    const join = shared.options.dryRun ? previewMachine : joinMachine;
    return { node: await join(target, shared, machine) };
  } catch (error) {
    machine.failed(isTkadmError(error) ? error : new Error(maskSecrets(formatError(error))), count > 1);
    return { error };
  }
}

/** The token is made when the connection stands, and removed whatever happens. */
async function joinMachine(target: SshTarget, shared: SshJoin, machine: MachineReporter): Promise<string> {
  const { context, options, config, input, settings, bundleDirectory } = shared;
  const startedAt = performance.now();
  let made: ShortLivedToken | undefined;
  const getToken = async (): Promise<string> => {
    if (options.token) return options.token;
    made = await createShortLivedToken(config!, context.now());
    return made.token;
  };
  try {
    const node = await joinOverSsh({
      target,
      settings: { ...settings, onNotice: machine.progress },
      bundleFor: bundleChooser(context, bundleDirectory),
      input,
      getToken,
      signal: context.signal,
      onProgress: machine.progress,
      onEvent: machine.event,
      ...(config ? { inspect: (host: Host) => warnOfTwin(host, config, { ...shared, machine }) } : {}),
    });
    machine.done(node, performance.now() - startedAt);
    return node;
  } finally {
    await made?.remove().catch((error) => {
      machine.warn(`the token of this join could not be removed and ends by itself: ${formatError(error)}`);
    });
  }
}

async function previewMachine(
  target: SshTarget,
  { context, options, config, input, settings, bundleDirectory }: SshJoin,
  machine: MachineReporter,
): Promise<string> {
  const { previewJoinOverSsh } = await import('./join-preview.ts');
  const { node, changes } = await previewJoinOverSsh({
    context,
    target,
    settings: { ...settings, onNotice: machine.progress },
    input,
    token: options.token,
    config,
    bundleDirectory,
    machine,
  });
  machine.previewed(node, changes);
  return node;
}

/** Only the administrator may list Nodes, so the machine itself cannot tell whose copy it is. */
async function warnOfTwin(
  host: Host,
  config: ClientConfig,
  { context, input, machine }: SshJoin & { readonly machine: MachineReporter },
): Promise<void> {
  const api = new ApiClient(config);
  try {
    for (const finding of await findTwin(host, { ...input, api: async () => api }, context.signal))
      machine.warn(formatWarning(finding));
  } finally {
    api.close();
  }
}

async function readAdminConfig(context: CliContext): Promise<ClientConfig | undefined> {
  const path = context.env['KUBECONFIG'] ?? `${PATHS.kubernetes}/admin.conf`;
  return (await context.fileExists(path)) ? loadClientConfig(path) : undefined;
}

/**
 * What the machines get besides a token: the endpoint and pins of this cluster.
 * @throws USAGE, TOKEN_INVALID, CA_PIN_INVALID before any connection
 */
function buildInput(
  config: ClientConfig | undefined,
  options: SshJoinOptions,
): Omit<RemoteJoinInput, 'token'> {
  const endpoint = options.apiServer ?? (config ? new URL(config.server).host : undefined);
  if (endpoint === undefined) {
    throw new TkadmError(
      'USAGE',
      `Cannot tell the machines where the API server is: there is no kubeconfig at "${PATHS.kubernetes}/admin.conf"`,
      { hint: 'tkadm join ... --api-server HOST:PORT' },
    );
  }
  if (options.token) parseToken(options.token);
  else if (!config)
    throw new TkadmError('USAGE', 'Cannot join without --token: there is no kubeconfig to create one with');
  const given = parseCaPins(options.discoveryTokenCaCertHash ?? []);
  const pins = given.length > 0 ? given : pinsOf(config?.caPem ?? '');
  if (pins.length === 0) {
    throw new TkadmError(
      'CA_PIN_INVALID',
      'Cannot join over SSH without --discovery-token-ca-cert-hash: there is no kubeconfig whose CA to pin',
      { hint: 'tkadm token create --print-join-command, on the control plane' },
    );
  }
  return {
    apiServerEndpoint: endpoint,
    caCertHashes: pins,
    nodeName: options.nodeName,
    ignorePreflightErrors: options.ignorePreflightErrors ?? [],
    shouldFix: options.fix ?? true,
  };
}

/** The bundle of this machine, assembled when it has none. */
async function ensureBundle(context: CliContext): Promise<string> {
  return (
    (await findBundle(context)) ?? (await installBundle(createLocalHost(), bundleSources(context))).directory
  );
}

async function findBundle(context: CliContext): Promise<string | undefined> {
  const current = join(PATHS.bundle, 'current');
  return (await context.fileExists(join(current, 'image.json'))) ? realpath(current) : undefined;
}
