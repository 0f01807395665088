import { isTkadmError, TkadmError } from '../base/errors.ts';
import type { ExecSession } from '../container/engine.ts';
import { type CtrContext, engineId, publishContainer } from './ctr-context.ts';
import { requireRunning } from './ctr-lifecycle.ts';
import type { ExecRequest, ExitResult } from './ctr-messages.ts';
import { buildExecProcess } from './ctr-process.ts';
import type { CtrRecord } from './ctr-record.ts';
import type { CtrConnection } from './ctr-socket.ts';
import { launchExitCode } from './ctr-start.ts';
import { joinStreams } from './ctr-streams.ts';

/**
 * Runs a further process in a container. It goes on when its client goes.
 * @throws CTR_STATE, CTR_START with `details.exitCode`: 127 without the program, 126 when it cannot be run
 */
export async function execInContainer(
  context: CtrContext,
  record: CtrRecord,
  request: ExecRequest,
  client: CtrConnection<'exec'>,
): Promise<ExitResult | null> {
  requireRunning(record, 'run a process in');
  if (record.state.status === 'paused') {
    throw new TkadmError('CTR_STATE', `Cannot run a process in container "${record.name}": it is paused`, {
      hint: `tkadm ctr unpause ${record.name}`,
    });
  }
  const session = await open(context, record, request);
  publishContainer(context, record, 'exec_start', { execCommand: request.args.join(' ') });
  const { isDetached, hasInput, size } = request;
  if (isDetached) {
    for (const stream of [session.stdout, session.stderr]) stream?.on('error', () => {}).resume();
    return null;
  }
  const [exitCode] = await Promise.all([session.exited, joinStreams(session, client, { hasInput, size })]);
  publishContainer(context, record, 'exec_die', { exitCode: String(exitCode) });
  return { exitCode };
}

async function open(context: CtrContext, record: CtrRecord, request: ExecRequest): Promise<ExecSession> {
  const process = await buildExecProcess(context, record.id, request);
  try {
    return await context.engine.exec(engineId(record.id), {
      process,
      stdin: request.hasInput && !request.isDetached,
    });
  } catch (error) {
    if (!isTkadmError(error, 'CONTAINER_EXEC')) throw error;
    const reason = error.message.replace(/^Cannot run a process in container "[^"]*": /, '');
    throw new TkadmError(
      'CTR_START',
      `Cannot run "${request.args[0]}" in container "${record.name}": ${reason}`,
      {
        cause: error,
        details: { exitCode: launchExitCode(reason) },
      },
    );
  }
}
