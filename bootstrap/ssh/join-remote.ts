import { basename } from 'node:path';
import { dump } from 'js-yaml';
import { isTkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import type { Architecture } from '../../runtime/host/elf-architecture.ts';
import type { BundleArchives } from './bundle-archive.ts';
import type { SshHost } from './host.ts';
import { followCommand, type RemoteEvent } from './remote-command.ts';
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
  readonly controlPlane?:
    | { readonly certificateKey: string; readonly localAPIEndpoint?: { readonly advertiseAddress: string } }
    | undefined;
  /** Fields of nodeRegistration beside these. */
  readonly registration?: Readonly<Record<string, unknown>> | undefined;
  /** Fields of the user's JoinConfiguration beside these. */
  readonly document?: Readonly<Record<string, unknown>> | undefined;
}

/** Lets some of the uploads run at one time. */
export interface UploadSlots {
  run<T>(task: () => Promise<T>): Promise<T>;
}

export interface BundleOptions {
  /** Directory of the bundle for an architecture, here. */
  readonly bundleFor: (architecture: Architecture) => Promise<string>;
  /** The machine is a node of the cluster already: its own programs go on. */
  readonly isMember: (host: SshHost) => Promise<boolean>;
  /** What the machine is checked for while the bundle is on its way. */
  readonly check: (host: Host) => Promise<unknown>;
  readonly uploads: UploadSlots;
  readonly archives: BundleArchives;
  readonly signal: AbortSignal;
  /** One line about the upload. */
  readonly onProgress: (text: string) => void;
}

export interface RemoteJoinOptions {
  /** The directory of the bundle whose `tkadm` joins the machine, or "current". */
  readonly bundleDirectory: string;
  readonly input: RemoteJoinInput;
  readonly signal: AbortSignal;
  /** An event of the remote command, as its `-o json` tells. */
  readonly onEvent: (event: RemoteEvent) => void;
}

/**
 * Sends the bundle for the machine if it does not have it; returns the bundle's directory, or "current" for the one that
 * a node of the cluster uses.
 * @throws JOIN_FAILED, PREFLIGHT_FAILED
 */
export async function bringBundle(host: SshHost, options: BundleOptions): Promise<string> {
  const directory = await options.bundleFor(await readArchitecture(host));
  const isThere = await hasBundle(host, directory);
  if (!isThere && (await options.isMember(host))) return 'current';
  if (!isThere) await sendBundle(host, directory, options);
  options.onProgress(isThere ? 'node bundle is there' : 'node bundle sent');
  return directory;
}

/** How a machine's join has ended. */
export interface JoinedMachine {
  readonly node: string;
  readonly outcome: 'joined' | 'unchanged';
}

/**
 * Joins a machine that has the bundle: runs the bundled `tkadm join` there.
 * @throws JOIN_FAILED, or the remote command's own error.
 */
export async function joinMachine(host: SshHost, options: RemoteJoinOptions): Promise<JoinedMachine> {
  const { signal, onEvent, input } = options;
  const result = await followCommand(host, {
    argv: buildCommand(options),
    input: formatInput(input),
    verb: 'join',
    failure: 'JOIN_FAILED',
    signal,
    onEvent,
  });
  return { node: result.node ?? host.name, outcome: result.changes === 0 ? 'unchanged' : 'joined' };
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
async function sendBundle(host: SshHost, directory: string, options: BundleOptions): Promise<void> {
  const { archives, check, signal, onProgress } = options;
  onProgress('check the machine');
  const stop = new AbortController();
  signal.addEventListener('abort', () => stop.abort(signal.reason), { once: true });
  const sent = options.uploads.run(async () => {
    stop.signal.throwIfAborted();
    await uploadBundle(host, {
      directory,
      archives,
      signal: stop.signal,
      onProgress: createRateMeter((text) => onProgress(`send the node bundle: ${text}`)),
    });
  });
  sent.catch(() => {});
  try {
    await check(host);
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
  const { document = {}, registration = {}, controlPlane, ignorePreflightErrors } = input;
  return dump({
    apiVersion: 'kubeadm.k8s.io/v1beta4',
    kind: 'JoinConfiguration',
    ...document,
    discovery: {
      bootstrapToken: {
        token: input.token,
        apiServerEndpoint: input.apiServerEndpoint,
        caCertHashes: [...input.caCertHashes],
      },
    },
    ...(controlPlane ? { controlPlane } : {}),
    nodeRegistration: {
      ...(document['nodeRegistration'] as object | undefined),
      ...registration,
      ...(input.nodeName ? { name: input.nodeName } : {}),
      ...(ignorePreflightErrors.length > 0 ? { ignorePreflightErrors: [...ignorePreflightErrors] } : {}),
    },
  });
}
