import { type ErrorCode, TkadmError } from '../../runtime/base/errors.ts';
import { readLines } from '../../runtime/base/lines.ts';
import { waitForExit } from './channel.ts';
import { connectSsh, type SshConnection, type SshSettings } from './connection.ts';
import { createSshHost, type SshHost } from './host.ts';
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
  /** Of an `init` that uploads certificates. */
  readonly certificateKey?: string;
}

/** What is at work when the signal comes has this long to end, and to say what it leaves. */
const GRACE_MS = 10_000;

/** Connects, works on the machine, and closes the connection; soon when the signal comes. */
export async function withMachine<T>(
  target: SshTarget,
  { settings, signal }: { readonly settings: SshSettings; readonly signal: AbortSignal },
  work: (host: SshHost) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const connection = await connectSsh(target, settings);
  let timer: NodeJS.Timeout | undefined;
  const close = () => {
    timer = setTimeout(() => connection.close(), GRACE_MS);
  };
  signal.addEventListener('abort', close, { once: true });
  try {
    signal.throwIfAborted();
    return await work(openHost(connection, settings));
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', close);
    connection.close();
  }
}

/** The machine at the other end, whose commands are root's. */
function openHost(connection: SshConnection, settings: SshSettings): SshHost {
  return createSshHost(connection, {
    becomePassword: (program) => askBecomePassword(program, connection, settings),
    become: settings.become,
  });
}

/** The password of sudo or doas there: as it was given, else the person is asked. */
function askBecomePassword(
  program: string,
  { target: { user, host } }: SshConnection,
  { becomePassword, prompts }: SshSettings,
): Promise<string | undefined> {
  return becomePassword === undefined
    ? prompts.secret(`[${program}] password of ${user}@${host}: `)
    : Promise.resolve(becomePassword);
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

/** Tells its own process id, which the command then has. One whose connection is lost ends, so that the next can go on. */
const TELL_PID = 'echo "{\\"type\\":\\"pid\\",\\"pid\\":$$}"; export TKADM_FOLLOWED=1; exec "$@"';

/**
 * Runs tkadm with `-o json` on a machine and tells of its events; returns its result. When the signal comes, the
 * command there gets SIGINT: it would not notice that its reader is gone.
 * @throws the remote command's own error, or one of the code `failure`
 */
export async function followCommand(host: SshHost, command: RemoteCommand): Promise<RemoteResult> {
  const { argv, input, signal } = command;
  const channel = await host.openStream(
    ['sh', '-c', TELL_PID, 'sh', ...argv],
    input === undefined ? {} : { input },
  );
  let errors = '';
  channel.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  const exited = waitForExit(channel);
  let pid: number | undefined;
  const interrupt = () => {
    const sent = pid === undefined ? undefined : host.run(['kill', '-INT', String(pid)]);
    if (sent) sent.catch(() => channel.close());
    else channel.close();
  };
  signal.addEventListener('abort', interrupt, { once: true });
  let last: RemoteResult | undefined;
  try {
    for await (const line of readLines(channel as AsyncIterable<Uint8Array>)) {
      const event = parseEvent(line);
      if (event?.type === 'pid') pid = event.pid;
      else if (event?.type === 'result' || event?.type === 'error') last = event as RemoteResult;
      else if (event) command.onEvent(event);
    }
  } finally {
    signal.removeEventListener('abort', interrupt);
  }
  const exitCode = await exited;
  signal.throwIfAborted();
  if (last?.type === 'result' && last.ok && exitCode === 0) return last;
  throw new TkadmError(
    last?.code ?? command.failure,
    last?.message ?? `Cannot ${command.verb} "${host.name}": ${errors.trim() || describeEnd(host, exitCode)}`,
    { ...(last?.hint ? { hint: last.hint } : {}) },
  );
}

/** 255 is the end of the connection, as ssh(1) has it. */
function describeEnd(host: SshHost, exitCode: number): string {
  if (exitCode !== 255) return `exit code ${exitCode}`;
  return `the connection was lost${host.lossReason() === undefined ? '' : `: ${host.lossReason()}`}`;
}

function parseEvent(line: string): (RemoteEvent & { readonly pid?: number }) | undefined {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
