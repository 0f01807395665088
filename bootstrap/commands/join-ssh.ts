import { realpath } from 'node:fs/promises';
import { join } from 'node:path';
import { formatCaPin } from '../../pki/certificate.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { formatError, TkadmError } from '../../runtime/base/errors.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { installBundle } from '../../runtime/host/bundle.ts';
import { createLocalHost } from '../../runtime/host/local.ts';
import type { OutputFormat } from '../render/renderer.ts';
import { type HostKeyPolicy, parseSshTarget, type SshSettings } from '../ssh/connection.ts';
import { joinOverSsh, type RemoteJoinInput } from '../ssh/join-remote.ts';
import { bundleSources } from './bundle-sources.ts';
import type { CliContext } from './context.ts';
import { createShortLivedToken } from './token.ts';

export interface SshJoinOptions {
  readonly output: OutputFormat;
  readonly token?: string;
  readonly discoveryTokenCaCertHash?: readonly string[];
  readonly sshUser?: string;
  readonly sshIdentity?: readonly string[];
  readonly sshHostKeys: HostKeyPolicy;
  readonly apiServer?: string;
  readonly nodeName?: string;
  readonly ignorePreflightErrors?: readonly string[];
  readonly fix?: boolean;
  readonly dryRun?: boolean;
}

/** Joins machines over SSH, all at the same time; one that fails does not stop the others. */
export async function runJoinOverSsh(
  context: CliContext,
  texts: readonly string[],
  options: SshJoinOptions,
): Promise<void> {
  const targets = texts.map((text) => parseSshTarget(text, { user: options.sshUser ?? 'root' }));
  if (options.nodeName !== undefined && targets.length > 1) {
    throw new TkadmError('USAGE', 'Cannot give several machines one --node-name');
  }
  const isText = options.output === 'text';
  if (isText)
    context.write(
      `Joining over SSH: ${targets.map((target) => `${target.user}@${target.host}`).join(', ')}\n`,
    );
  const input = await buildInput(context, options);
  const bundleDirectory = await ensureBundle(context);
  const failures: unknown[] = [];
  await Promise.all(
    targets.map(async (target) => {
      const startedAt = performance.now();
      const tell = isText ? progressLine(context, target.host) : () => {};
      try {
        const node = await joinOverSsh({
          target,
          settings: buildSettings(context, options),
          bundleDirectory,
          architecture: process.arch,
          input,
          signal: context.signal,
          onProgress: tell,
        });
        const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
        if (isText) context.write(`${target.host}: node "${node}" has joined (${seconds} s)\n`);
        else
          context.write(
            `${JSON.stringify({ type: 'host', host: target.host, ok: true, node, seconds: Number(seconds) })}\n`,
          );
      } catch (error) {
        failures.push(error);
        if (!isText)
          context.write(
            `${JSON.stringify({ type: 'host', host: target.host, ok: false, message: formatError(error) })}\n`,
          );
        else if (targets.length > 1) context.write(`${target.host}: ${formatError(error)}\n`);
      }
    }),
  );
  if (failures.length === 1 && targets.length === 1) throw failures[0];
  if (failures.length > 0) {
    throw new TkadmError('JOIN_FAILED', `Cannot join ${failures.length} of ${targets.length} machines`, {
      cause: failures[0],
      hint: 'Mend what is said above and run the same command again',
    });
  }
}

/** What the machines get: the endpoint and pins of this cluster, and a token, a new one unless it is given. */
async function buildInput(context: CliContext, options: SshJoinOptions): Promise<RemoteJoinInput> {
  const path = context.env['KUBECONFIG'] ?? `${PATHS.kubernetes}/admin.conf`;
  const hasKubeconfig = await context.fileExists(path);
  const config = hasKubeconfig ? await loadClientConfig(path) : undefined;
  const endpoint = options.apiServer ?? (config ? new URL(config.server).host : undefined);
  if (endpoint === undefined) {
    throw new TkadmError(
      'USAGE',
      `Cannot tell the machines where the API server is: no kubeconfig at "${path}"`,
      {
        hint: 'tkadm join ... --api-server HOST:PORT',
      },
    );
  }
  const pins = options.discoveryTokenCaCertHash ?? (config?.caPem ? [formatCaPin(config.caPem)] : []);
  if (!options.token && !config)
    throw new TkadmError('USAGE', 'Cannot join without --token: there is no kubeconfig to create one with');
  return {
    apiServerEndpoint: endpoint,
    token: options.token ?? (await createShortLivedToken(config!, context)),
    caCertHashes: pins,
    nodeName: options.nodeName,
    ignorePreflightErrors: options.ignorePreflightErrors ?? [],
    shouldFix: options.fix ?? true,
    isDryRun: options.dryRun ?? false,
  };
}

/** The bundle of this machine, assembled when it has none. */
async function ensureBundle(context: CliContext): Promise<string> {
  const current = join(PATHS.bundle, 'current');
  if (await context.fileExists(join(current, 'image.json'))) return realpath(current);
  return (await installBundle(createLocalHost(), bundleSources(context))).directory;
}

function buildSettings(context: CliContext, options: SshJoinOptions): SshSettings {
  return {
    sshDir: join(context.env['HOME'] ?? '/root', '.ssh'),
    agentSocket: context.env['SSH_AUTH_SOCK'],
    identityFiles: options.sshIdentity ?? [],
    password: context.env['TKADM_SSH_PASSWORD'],
    hostKeyPolicy: options.sshHostKeys,
  };
}

/** Progress of one machine; the many lines of an upload are thinned out. */
function progressLine(context: CliContext, host: string): (text: string) => void {
  let lastUpload = 0;
  return (text) => {
    if (text.startsWith('send the node bundle')) {
      const now = performance.now();
      if (now - lastUpload < 1000) return;
      lastUpload = now;
    }
    context.write(`${host}: ${text}\n`);
  };
}
