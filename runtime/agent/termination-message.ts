import { open } from 'node:fs/promises';
import { parseLogLine } from '../container/cri-log.ts';
import type { ContainerState } from './runtime-state.ts';

const MAX_FILE_BYTES = 4096;
const MAX_LOG_BYTES = 2048;
const MAX_LOG_LINES = 80;

/** What an exited container left behind to say: its termination log, or the end of its output if asked for. */
export async function readTerminationMessage(container: ContainerState): Promise<string> {
  const own = container.terminationMessageFile
    ? await readTail(container.terminationMessageFile, MAX_FILE_BYTES)
    : '';
  if (own !== '' || container.exitCode === 0) return own;
  if (container.terminationMessagePolicy !== 'FallbackToLogsOnError') return own;
  const lines = (await readTail(container.logPath, MAX_LOG_BYTES * 2)).split('\n');
  const texts = lines.flatMap((line) => {
    const parsed = parseLogLine(Buffer.from(line));
    return parsed ? [parsed.content.toString('utf8') + (parsed.isPartial ? '' : '\n')] : [];
  });
  return texts.slice(-MAX_LOG_LINES).join('').slice(-MAX_LOG_BYTES);
}

async function readTail(path: string, maxBytes: number): Promise<string> {
  try {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const buffer = Buffer.alloc(Math.min(size, maxBytes));
      const { bytesRead } = await file.read(buffer, 0, buffer.length, Math.max(0, size - maxBytes));
      return buffer.subarray(0, bytesRead).toString('utf8');
    } finally {
      await file.close();
    }
  } catch {
    return '';
  }
}
