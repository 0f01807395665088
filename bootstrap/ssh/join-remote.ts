import { basename } from 'node:path';
import { dump } from 'js-yaml';
import { checkMachine } from './check-machine.ts';
import type { SshSettings } from './connection.ts';
import type { SshHost } from './host.ts';
import { followCommand, type RemoteEvent, withMachine } from './remote-command.ts';
import type { SshTarget } from './target.ts';
import {
  acceptBundle,
  bundledCommand,
  checkArchitecture,
  hasBundle,
  removePartial,
  uploadBundle,
} from './upload-bundle.ts';

/** What a machine that joins over SSH gets to know; it travels on standard input, not in argv. */
export interface RemoteJoinInput {
  readonly apiServerEndpoint: string;
  readonly token: string;
  readonly caCertHashes: readonly string[];
  readonly nodeName?: string | undefined;
  readonly ignorePreflightErrors: readonly string[];
  readonly shouldFix: boolean;
  readonly isDryRun: boolean;
  /** Set when the machines become control-plane nodes. */
  readonly controlPlane?: { readonly certificateKey: string } | undefined;
}

export interface RemoteJoinOptions {
  readonly target: SshTarget;
  readonly settings: SshSettings;
  readonly bundleDirectory: string;
  readonly architecture: string;
  readonly input: Omit<RemoteJoinInput, 'token'>;
  /** Asked for the token once the machine is reached and has the programs. */
  readonly getToken: () => Promise<string>;
  readonly signal: AbortSignal;
  /** One line about the connection and the upload. */
  readonly onProgress: (text: string) => void;
  /** An event of the remote command, as its `-o json` tells. */
  readonly onEvent: (event: RemoteEvent) => void;
}

/**
 * Joins one machine: connects, sends the bundle if it is missing, runs the bundled `tkadm join` there.
 * Returns the node's name.
 * @throws SSH_CONNECT, SSH_HOST_KEY, SSH_AUTHENTICATION, JOIN_FAILED, or the remote command's own error.
 */
export async function joinOverSsh(options: RemoteJoinOptions): Promise<string> {
  const { target, signal, onProgress, onEvent } = options;
  onProgress('connect');
  return withMachine(target, options, async (host) => {
    await checkArchitecture(host, options.architecture);
    const wasSent = !(await hasBundle(host, options.bundleDirectory));
    if (wasSent) await sendBundle(host, options);
    onProgress(wasSent ? 'node bundle sent' : 'node bundle is there');
    const input = formatInput({ ...options.input, token: await options.getToken() });
    const argv = buildCommand(options);
    const result = await followCommand(host, {
      argv,
      input,
      verb: 'join',
      failure: 'JOIN_FAILED',
      signal,
      onEvent,
    });
    return result.node ?? target.host;
  });
}

/** Looks at the machine while the bundle is on its way, and takes back what was sent when it cannot join. */
async function sendBundle(host: SshHost, options: RemoteJoinOptions): Promise<void> {
  const { input, signal, bundleDirectory: directory, onProgress } = options;
  onProgress('check the machine');
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(signal.reason), { once: true });
  const sent = uploadBundle(host, {
    directory,
    signal: stop.signal,
    onProgress: (bytes) => onProgress(`send the node bundle: ${Math.round(bytes / 1e6)} MB`),
  });
  sent.catch(() => {});
  try {
    await checkMachine(host, input, signal);
    await sent;
    await acceptBundle(host, directory);
  } catch (error) {
    stop.abort(error);
    await sent.catch(() => {});
    // Over a line that is gone nothing can be removed; the next transfer begins with that.
    await removePartial(host, directory).catch(() => {});
    throw error;
  }
}

function buildCommand({ bundleDirectory, input }: RemoteJoinOptions): readonly string[] {
  return [
    ...bundledCommand(basename(bundleDirectory)),
    'join',
    '--config=-',
    '--output=json',
    ...(input.shouldFix ? ['--fix'] : []),
    ...(input.isDryRun ? ['--dry-run'] : []),
  ];
}

/** The JoinConfiguration document for the remote command. */
function formatInput(input: RemoteJoinInput): string {
  return dump({
    apiVersion: 'kubeadm.k8s.io/v1beta4',
    kind: 'JoinConfiguration',
    discovery: {
      bootstrapToken: {
        token: input.token,
        apiServerEndpoint: input.apiServerEndpoint,
        caCertHashes: [...input.caCertHashes],
      },
    },
    ...(input.controlPlane ? { controlPlane: { ...input.controlPlane } } : {}),
    nodeRegistration: {
      ...(input.nodeName ? { name: input.nodeName } : {}),
      ...(input.ignorePreflightErrors.length > 0
        ? { ignorePreflightErrors: [...input.ignorePreflightErrors] }
        : {}),
    },
  });
}
