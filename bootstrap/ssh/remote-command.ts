import { readLines } from '../../runtime/api/client.ts';
import { type ErrorCode, TkadmError } from '../../runtime/base/errors.ts';
import { connectSsh, type SshConnection, type SshSettings } from './connection.ts';
import { createSshHost, type SshHost, waitForExit } from './host.ts';
import type { SshTarget } from './target.ts';

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
export interface RemoteResult {
  readonly type: 'result' | 'error';
  readonly ok?: boolean;
  readonly node?: string;
  readonly changes?: number;
  readonly code?: ErrorCode;
  readonly message?: string;
  readonly hint?: string;
}

/** Connects, works on the machine, and closes the connection, also when the signal comes. */
export async function withMachine<T>(
  target: SshTarget,
  { settings, signal }: { readonly settings: SshSettings; readonly signal: AbortSignal },
  work: (host: SshHost) => Promise<T>,
): Promise<T> {
  const connection = await connectSsh(target, settings);
  const close = () => connection.close();
  signal.addEventListener('abort', close, { once: true });
  try {
    return await work(
      createSshHost(connection, { sudoPassword: () => askSudoPassword(connection, settings) }),
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

export interface RemoteCommand {
  readonly argv: readonly string[];
  /** Standard input. */
  readonly input?: string;
  /** What cannot be done when it fails without a word of its own: "join". */
  readonly verb: string;
  readonly failure: ErrorCode;
  readonly signal: AbortSignal;
  readonly onEvent: (event: RemoteEvent) => void;
}

/**
 * Runs tkadm with `-o json` on a machine and tells of its events; returns its result.
 * @throws the remote command's own error, or one of the code `failure`
 */
export async function followCommand(host: SshHost, command: RemoteCommand): Promise<RemoteResult> {
  const { argv, input, signal } = command;
  const channel = await host.openStream(argv, input === undefined ? {} : { input });
  let errors = '';
  channel.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  const exited = waitForExit(channel);
  let last: RemoteResult | undefined;
  for await (const line of readLines(channel as AsyncIterable<Uint8Array>))
    last = readEvent(line, command) ?? last;
  const exitCode = await exited;
  signal.throwIfAborted();
  if (last?.type === 'result' && last.ok && exitCode === 0) return last;
  throw new TkadmError(
    last?.code ?? command.failure,
    last?.message ?? `Cannot ${command.verb} "${host.name}": ${errors.trim() || `exit code ${exitCode}`}`,
    { ...(last?.hint ? { hint: last.hint } : {}) },
  );
}

function readEvent(line: string, { onEvent }: RemoteCommand): RemoteResult | undefined {
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
