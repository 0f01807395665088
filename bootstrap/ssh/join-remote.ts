import { basename } from 'node:path';
import { dump } from 'js-yaml';
import { isTkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import type { Architecture } from '../../runtime/host/elf-architecture.ts';
import { checkMachine } from './check-machine.ts';
import type { SshSettings } from './connection.ts';
import type { SshHost } from './host.ts';
import { followCommand, type RemoteEvent, withMachine } from './remote-command.ts';
import type { SshTarget } from './target.ts';
import {
  acceptBundle,
  bundledCommand,
  hasBundle,
  readArchitecture,
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
  /** Set when the machines become control-plane nodes. */
  readonly controlPlane?: { readonly certificateKey: string } | undefined;
}

export interface RemoteJoinOptions {
  readonly target: SshTarget;
  readonly settings: SshSettings;
  /** Directory of the bundle for an architecture, here. */
  readonly bundleFor: (architecture: Architecture) => Promise<string>;
  readonly input: Omit<RemoteJoinInput, 'token'>;
  /** Asked for the token once the machine is reached and has the programs. */
  readonly getToken: () => Promise<string>;
  readonly signal: AbortSignal;
  /** What else is to be looked at on the machine meanwhile; it decides nothing. */
  readonly inspect?: (host: Host) => Promise<void>;
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
    const directory = await options.bundleFor(await readArchitecture(host));
    const inspected = options.inspect?.(host).catch(() => {});
    const wasSent = !(await hasBundle(host, directory));
    if (wasSent) await sendBundle(host, directory, options);
    onProgress(wasSent ? 'node bundle sent' : 'node bundle is there');
    const input = formatInput({ ...options.input, token: await options.getToken() });
    const argv = buildCommand(directory, options);
    const result = await followCommand(host, {
      argv,
      input,
      verb: 'join',
      failure: 'JOIN_FAILED',
      signal,
      onEvent,
    }).finally(() => inspected);
    return result.node ?? target.host;
  });
}

/** "45 MB, 60 MB/s" of the bytes so far; what an earlier transfer has brought does not count for the rate. */
function createRateMeter(tell: (text: string) => void): (bytes: number) => void {
  const startedAt = performance.now();
  let first: number | undefined;
  return (bytes) => {
    first ??= bytes;
    const seconds = (performance.now() - startedAt) / 1000;
    const rate = seconds > 0.5 ? `, ${((bytes - first) / 1e6 / seconds).toFixed(0)} MB/s` : '';
    tell(`${Math.round(bytes / 1e6)} MB${rate}`);
  };
}

/** Looks at the machine while the bundle is on its way, and takes back what was sent when it cannot join. */
async function sendBundle(host: SshHost, directory: string, options: RemoteJoinOptions): Promise<void> {
  const { input, signal, onProgress } = options;
  onProgress('check the machine');
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(signal.reason), { once: true });
  const sent = uploadBundle(host, {
    directory,
    signal: stop.signal,
    onProgress: createRateMeter((text) => onProgress(`send the node bundle: ${text}`)),
  });
  sent.catch(() => {});
  try {
    await checkMachine(host, input, signal);
    await sent;
    await acceptBundle(host, directory);
  } catch (error) {
    stop.abort(error);
    await sent.catch(() => {});
    // A machine that cannot join keeps nothing; a transfer that broke off is gone on with.
    if (isTkadmError(error) && error.code === 'PREFLIGHT_FAILED') await removePartial(host, directory);
    throw error;
  }
}

function buildCommand(directory: string, { input }: RemoteJoinOptions): readonly string[] {
  return [
    'env',
    // A join whose connection is lost ends, so that the next one can go on.
    'TKADM_FOLLOWED=1',
    ...bundledCommand(basename(directory)),
    'join',
    '--config=-',
    '--output=json',
    ...(input.shouldFix ? ['--fix'] : []),
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
