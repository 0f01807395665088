import { basename } from 'node:path';
import { dump } from 'js-yaml';
import { readLines } from '../../runtime/api/client.ts';
import { type ErrorCode, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { checkMachine } from './check-machine.ts';
import { connectSsh, type SshConnection, type SshSettings } from './connection.ts';
import { createSshHost, type SshHost, waitForExit } from './host.ts';
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
  /** What else is to be looked at on the machine meanwhile; it decides nothing. */
  readonly inspect?: (host: Host) => Promise<void>;
  /** One line about the connection and the upload. */
  readonly onProgress: (text: string) => void;
  /** An event of the remote command, as its `-o json` tells. */
  readonly onEvent: (event: RemoteEvent) => void;
}

/** A line of the remote command's output; the fields are those of docs/output.md. */
export interface RemoteEvent {
  readonly type: string;
  readonly phase?: string | null;
  readonly summary?: string;
  readonly message?: string;
  readonly level?: string;
  readonly isDryRun?: boolean;
  readonly preview?: string;
}

/** The last line that the remote command prints with `-o json`. */
interface RemoteResult {
  readonly type: 'result' | 'error';
  readonly ok?: boolean;
  readonly node?: string;
  readonly code?: ErrorCode;
  readonly message?: string;
  readonly hint?: string;
}

/**
 * Joins one machine: connects, sends the bundle if it is missing, runs the bundled `tkadm join` there.
 * Returns the node's name.
 * @throws SSH_CONNECT, SSH_HOST_KEY, SSH_AUTHENTICATION, JOIN_FAILED, or the remote command's own error.
 */
export async function joinOverSsh(options: RemoteJoinOptions): Promise<string> {
  const { target, settings, signal, onProgress } = options;
  onProgress('connect');
  const connection = await connectSsh(target, settings);
  const close = () => connection.close();
  signal.addEventListener('abort', close, { once: true });
  try {
    const host = createSshHost(connection, { sudoPassword: () => askSudoPassword(connection, settings) });
    await checkArchitecture(host, options.architecture);
    const inspected = options.inspect?.(host).catch(() => {});
    const wasSent = !(await hasBundle(host, options.bundleDirectory));
    if (wasSent) await sendBundle(host, options);
    onProgress(wasSent ? 'node bundle sent' : 'node bundle is there');
    const input = formatInput({ ...options.input, token: await options.getToken() });
    const channel = await host.openStream(buildCommand(options), { input });
    let errors = '';
    channel.stderr.on('data', (chunk: Buffer) => {
      errors += chunk;
    });
    const exited = waitForExit(channel);
    let last: RemoteResult | undefined;
    for await (const line of readLines(channel as AsyncIterable<Uint8Array>))
      last = readEvent(line, options) ?? last;
    const exitCode = await exited;
    await inspected;
    signal.throwIfAborted();
    if (last?.type === 'result' && last.ok && exitCode === 0) return last.node ?? target.host;
    throw new TkadmError(
      last?.code ?? 'JOIN_FAILED',
      last?.message ?? `Cannot join "${host.name}": ${errors.trim() || `exit code ${exitCode}`}`,
      {
        ...(last?.hint ? { hint: last.hint } : {}),
      },
    );
  } finally {
    signal.removeEventListener('abort', close);
    connection.close();
  }
}

/** The password of sudo there: as it was given, else the person is asked. */
export function askSudoPassword(
  { target: { user, host } }: SshConnection,
  { sudoPassword, prompts }: SshSettings,
): Promise<string | undefined> {
  return sudoPassword === undefined
    ? prompts.secret(`[sudo] password of ${user}@${host}: `)
    : Promise.resolve(sudoPassword);
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
async function sendBundle(host: SshHost, options: RemoteJoinOptions): Promise<void> {
  const { input, signal, bundleDirectory: directory, onProgress } = options;
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

function buildCommand({ bundleDirectory, input }: RemoteJoinOptions): readonly string[] {
  return [
    ...bundledCommand(basename(bundleDirectory)),
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

function readEvent(line: string, { onEvent }: RemoteJoinOptions): RemoteResult | undefined {
  let event: RemoteEvent;
  try {
    event = JSON.parse(line);
  } catch {
    return undefined;
  }
  if (event.type === 'result' || event.type === 'error') return event as RemoteResult;
  onEvent(event);
  return undefined;
}
