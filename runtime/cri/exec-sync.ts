import type { Readable } from 'node:stream';
import { TkadmError } from '../base/errors.ts';
import type { ContainerRecord } from './records.ts';
import type { RuntimeContext } from './runtime-context.ts';

/** Each stream of the answer, CRI ExecSyncResponse; more is read and dropped. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;
/** gRPC's limit holds for both streams and the message around them. */
const MAX_STREAM_BYTES = MAX_OUTPUT_BYTES / 2 - 1024;

/**
 * Runs a command in a container as the container's user and waits for its end.
 * @throws CRI_TIMEOUT after `timeoutMs`, 0 waits for ever; CRI_STATE when the container does not run.
 */
export async function runSync(
  context: RuntimeContext,
  record: ContainerRecord,
  cmd: readonly string[],
  timeoutMs: number,
) {
  if (cmd.length === 0)
    throw new TkadmError('CRI_INVALID', 'Cannot run a command in a container: it is empty');
  requireRunning(context, record);
  const session = await context.engine.exec(record.id, {
    process: { ...record.process, terminal: false, args: cmd },
  });
  let isTimedOut = false;
  const timer =
    timeoutMs > 0
      ? setTimeout(() => {
          isTimedOut = true;
          session.kill('SIGKILL');
        }, timeoutMs)
      : undefined;
  const outputs = Promise.all([collect(session.stdout), collect(session.stderr)]);
  const exitCode = await session.exited;
  clearTimeout(timer);
  if (isTimedOut) {
    throw new TkadmError(
      'CRI_TIMEOUT',
      `Cannot wait for command "${cmd[0]}": timeout of ${timeoutMs} ms exceeded`,
    );
  }
  const [stdout, stderr] = await outputs;
  return { stdout, stderr, exitCode };
}

/** @throws CRI_STATE */
export function requireRunning(context: RuntimeContext, record: ContainerRecord): void {
  if (context.engine.status(record.id)?.state === 'running') return;
  throw new TkadmError('CRI_STATE', `Cannot use container "${record.id}": it is not running`);
}

async function collect(stream: Readable | undefined): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let sizeBytes = 0;
  for await (const chunk of (stream ?? []) as AsyncIterable<Buffer>) {
    const rest = MAX_STREAM_BYTES - sizeBytes;
    if (rest > 0) chunks.push(chunk.subarray(0, rest));
    sizeBytes += chunk.byteLength;
  }
  return Buffer.concat(chunks);
}
