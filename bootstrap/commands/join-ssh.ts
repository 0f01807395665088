import { parseCertificateKey } from '../../pki/certificate-secret.ts';
import { ApiClient } from '../../runtime/api/client.ts';
import { type ClientConfig, loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { joinMember } from '../fleet/join-member.ts';
import { withMember } from '../fleet/member.ts';
import { failureOf, runMembers } from '../fleet/run.ts';
import { createFleetTools, describeTarget, findBundle } from '../fleet/tools.ts';
import { createFleetReporter } from '../render/fleet.ts';
import type { OutputFormat } from '../render/renderer.ts';
import type { RemoteJoinInput } from '../ssh/join-remote.ts';
import { parseSshTarget, type SshTarget } from '../ssh/target.ts';
import { parseCaPins, pinsOf } from '../tokens/pin.ts';
import { parseToken } from '../tokens/token.ts';
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
  refuseTwins(targets);
  refuseLocalFlags(options);
  const { output, dryRun: isDryRun = false } = options;
  const reporter = await createFleetReporter(context, { format: output, command: 'join', isDryRun });
  const settings = buildSshSettings({ ...context, ask: reporter.askThrough(context.ask) }, options);
  const admin = await readAdminConfig(context);
  const input = { ...buildInput(admin, options), ...(await prepareControlPlane(context, admin, options)) };
  reporter.start(targets.map((target) => describeTarget(target, settings)));
  const members = targets.map((target) => ({ name: target.host, target, settings, isLocal: false }));
  const run = {
    reporter,
    concurrency: members.length,
    signal: context.signal,
    isSaidLater: members.length === 1,
  };
  const api = admin && new ApiClient(admin);
  const plan = { input, admin: api, token: options.token };
  const tools = createFleetTools(context);
  const bundleDirectory = isDryRun ? await findBundle(context) : undefined;
  const results = await runMembers(members, run, (member, machine) => {
    machine.progress('connect');
    return withMember(member, { signal: context.signal, onNotice: machine.progress }, async (host) => {
      if (!isDryRun) return joinMember(host, { machine, tools, toCheck: input, plan: async () => plan });
      const { previewJoin } = await import('./join-preview.ts');
      return previewJoin(host, {
        context,
        input,
        machine,
        bundleDirectory,
        token: plan.token,
        config: admin,
      });
    });
  }).finally(() => {
    api?.close();
    return tools.archives.close();
  });
  const failure = failureOf(results, { code: 'JOIN_FAILED', verb: 'join' });
  await reporter.finish(results, failure ? undefined : { nodes: results.map(({ node }) => node) });
  if (failure) throw failure;
}

/** @throws USAGE for a machine that is named twice: two runs would be in each other's way */
function refuseTwins(targets: readonly SshTarget[]): void {
  const twin = targets.find(
    ({ host, port }, i) => targets.findIndex((other) => other.host === host && other.port === port) < i,
  );
  if (twin) throw new TkadmError('USAGE', `Cannot join "${twin.host}" twice: name each machine once`);
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

async function readAdminConfig(context: CliContext): Promise<ClientConfig | undefined> {
  const path = context.env['KUBECONFIG'] || `${PATHS.kubernetes}/admin.conf`;
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
