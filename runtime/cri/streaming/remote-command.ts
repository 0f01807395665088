import type { Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { formatError } from '../../base/errors.ts';
import type { ProcessStreams } from '../../container/engine.ts';

/** The channels of one exec or attach, whatever carries them; a channel not asked for is undefined. */
export interface RemoteChannels {
  readonly stdin: Readable | undefined;
  readonly stdout: Writable | undefined;
  readonly stderr: Writable | undefined;
  readonly resizes: AsyncIterable<TerminalSize>;
  /** Resolves when the client has gone. */
  readonly closed: Promise<void>;
  /** Sends the last message and ends the connection. */
  finish(status: RemoteStatus): Promise<void>;
}

export interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

/** metav1.Status as the error channel carries it. */
export interface RemoteStatus {
  readonly metadata: object;
  readonly status: 'Success' | 'Failure';
  readonly message?: string;
  readonly reason?: string;
  readonly code?: number;
  readonly details?: { readonly causes: readonly { readonly reason: string; readonly message: string }[] };
}

/** A process to connect: its streams and its end. */
export interface RemoteProcess extends ProcessStreams {
  /** The exit code; undefined for attach, which ends without one. */
  readonly exited: Promise<number | undefined>;
  /** The client has gone before the end. */
  abandon(): void;
}

/** Connects the channels with a process until it ends or the client goes. */
export async function connectRemote(
  channels: RemoteChannels,
  open: () => Promise<RemoteProcess>,
): Promise<void> {
  let status: RemoteStatus;
  try {
    const remote = await open();
    status = await runRemote(channels, remote);
  } catch (error) {
    status = failureStatus(formatError(error));
  }
  await channels.finish(status);
}

async function runRemote(channels: RemoteChannels, remote: RemoteProcess): Promise<RemoteStatus> {
  if (channels.stdin !== undefined && remote.stdin !== undefined) {
    pipeline(channels.stdin, remote.stdin).catch(() => {});
  } else remote.stdin?.end();
  followResizes(channels, remote).catch(() => {});
  const outputs = Promise.all([
    copyOutput(remote.stdout, channels.stdout),
    copyOutput(remote.stderr, channels.stderr),
  ]);
  const isEnded = await Promise.race([
    Promise.all([remote.exited, outputs]).then(([code]) => ({ code })),
    channels.closed.then(() => undefined),
  ]);
  if (isEnded === undefined) {
    remote.abandon();
    return { metadata: {}, status: 'Success' };
  }
  return exitStatus(isEnded.code ?? 0);
}

/** Output without a taker is read and dropped, so that the process does not block. */
async function copyOutput(source: Readable | undefined, target: Writable | undefined): Promise<void> {
  if (source === undefined) return;
  if (target === undefined) {
    source.resume();
    return;
  }
  try {
    await pipeline(source, target, { end: false });
  } catch {
    source.resume();
  }
}

async function followResizes(channels: RemoteChannels, remote: RemoteProcess): Promise<void> {
  for await (const { columns, rows } of channels.resizes) remote.resize(columns, rows);
}

/** Success for 0; otherwise kubectl reads the code from the cause "ExitCode". */
function exitStatus(code: number): RemoteStatus {
  if (code === 0) return { metadata: {}, status: 'Success' };
  return {
    metadata: {},
    status: 'Failure',
    message: `command terminated with non-zero exit code: exit status ${code}`,
    reason: 'NonZeroExitCode',
    details: { causes: [{ reason: 'ExitCode', message: String(code) }] },
  };
}

function failureStatus(message: string): RemoteStatus {
  return {
    metadata: {},
    status: 'Failure',
    message,
    reason: 'InternalError',
    details: { causes: [{ reason: '', message }] },
    code: 500,
  };
}

/** `{"Width":80,"Height":24}` messages, one or several behind each other. */
export function parseResizes(text: string): {
  readonly sizes: readonly TerminalSize[];
  readonly rest: string;
} {
  const sizes: TerminalSize[] = [];
  let rest = text;
  for (;;) {
    const end = rest.indexOf('}');
    if (end < 0) return { sizes, rest };
    const { Width, Height } = JSON.parse(rest.slice(0, end + 1)) as {
      readonly Width?: number;
      readonly Height?: number;
    };
    if (Width !== undefined && Height !== undefined) sizes.push({ columns: Width, rows: Height });
    rest = rest.slice(end + 1);
  }
}
