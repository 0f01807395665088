import { once } from 'node:events';
import { connect } from 'node:net';
import { TkadmError } from '../base/errors.ts';
import { requireRunning } from './exec-sync.ts';
import type { CriHandlers } from './handlers.ts';
import type { AttachRequest, ExecRequest } from './messages/container.ts';
import type { SandboxRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';
import { getContainer, getSandbox } from './runtime-context.ts';
import { isSandboxReady } from './sandbox-status.ts';
import type { NetnsDialer } from './streaming/netns-socket.ts';
import type { RemoteProcess } from './streaming/remote-command.ts';
import type { StreamServer } from './streaming/stream-server.ts';

type StreamHandlers = Pick<CriHandlers, 'exec' | 'attach' | 'portForward'>;

export function createStreamHandlers(
  context: RuntimeContext,
  server: StreamServer,
  dialer: NetnsDialer,
): StreamHandlers {
  return {
    async exec(request) {
      checkStreams(request);
      const record = getContainer(context, request.containerId);
      requireRunning(context, record);
      if (request.cmd.length === 0) throw new TkadmError('CRI_INVALID', 'Cannot exec: the command is empty');
      logRequest(context, 'exec', request);
      const open = () => openExec(context, record.id, request);
      return { url: server.issue({ kind: 'exec', wishes: request, open }) };
    },
    async attach(request) {
      checkStreams(request);
      const record = getContainer(context, request.containerId);
      requireRunning(context, record);
      logRequest(context, 'attach', request);
      const open = () => openAttach(context, record.id);
      return { url: server.issue({ kind: 'attach', wishes: request, open }) };
    },
    async portForward({ podSandboxId, port }) {
      const record = getSandbox(context, podSandboxId);
      if (!isSandboxReady(context, record)) {
        throw new TkadmError('CRI_STATE', `Cannot forward ports of sandbox "${record.id}": it is not ready`);
      }
      const dial = (target: number) => dialSandbox(context, dialer, record, target);
      return { url: server.issue({ kind: 'portforward', ports: port, dial }) };
    },
  };
}

/** Ties a session to the API server's audit event. */
function logRequest(context: RuntimeContext, what: string, request: ExecRequest | AttachRequest): void {
  const { containerId, auditRequestId } = request;
  if (auditRequestId !== '') context.log.info(what, { containerId, auditRequestId });
}

/** The rules of CRI's ExecRequest and AttachRequest. */
function checkStreams(request: ExecRequest | AttachRequest): void {
  if (!request.stdin && !request.stdout && !request.stderr) {
    throw new TkadmError('CRI_INVALID', 'Cannot stream: one of stdin, stdout, stderr must be set');
  }
  if (request.tty && request.stderr) {
    throw new TkadmError('CRI_INVALID', 'Cannot stream: tty and stderr cannot both be set');
  }
}

async function openExec(context: RuntimeContext, id: string, request: ExecRequest): Promise<RemoteProcess> {
  const { process: first } = getContainer(context, id);
  const env = first.env ?? [];
  const hasTerm = env.some((entry) => entry.startsWith('TERM='));
  const session = await context.engine.exec(id, {
    process: {
      ...first,
      args: request.cmd,
      terminal: request.tty,
      env: request.tty && !hasTerm ? [...env, 'TERM=xterm'] : env,
    },
    stdin: request.stdin,
  });
  return {
    stdin: session.stdin,
    stdout: session.stdout,
    stderr: session.stderr,
    exited: session.exited,
    resize: (columns, rows) => session.resize(columns, rows),
    abandon() {
      session.stdin?.end();
      if (request.tty) session.kill('SIGHUP');
    },
  };
}

async function openAttach(context: RuntimeContext, id: string): Promise<RemoteProcess> {
  const streams = context.engine.attach(id);
  return {
    stdin: streams.stdin,
    stdout: streams.stdout,
    stderr: streams.stderr,
    exited: context.engine.wait(id).then(() => undefined),
    resize: (columns, rows) => streams.resize(columns, rows),
    abandon: () => streams.close(),
  };
}

async function dialSandbox(
  context: RuntimeContext,
  dialer: NetnsDialer,
  record: SandboxRecord,
  port: number,
) {
  const pid = context.engine.status(record.id)?.pid;
  if (pid === undefined)
    throw new TkadmError('CRI_STATE', `Cannot reach sandbox "${record.id}": it has ended`);
  const isHostNetwork = record.config.linux?.securityContext?.namespaceOptions?.network === 'NODE';
  if (!isHostNetwork) return dialer.dialLocalhost(`/proc/${pid}/ns/net`, port);
  const connection = connect({ port, host: 'localhost', allowHalfOpen: true });
  await once(connection, 'connect');
  return connection;
}
