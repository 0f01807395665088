import { appendFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type LogQuery, readLogs } from '../../runtime/container/read-logs.ts';

const WHOLE: LogQuery = {
  isFollowing: false,
  tailLines: undefined,
  since: undefined,
  hasTimestamps: false,
  limitBytes: undefined,
  stream: 'All',
};

function record(text: string): string {
  return `2026-01-02T03:04:05.000000006Z stdout F ${text}\n`;
}

/** Reads the log while each look at it lets the container print once more. */
async function readWhilePrinting(path: string, query: LogQuery): Promise<string> {
  const out: Buffer[] = [];
  const isRunning = async () => true;
  const { signal } = new AbortController();
  for await (const bytes of readLogs({ path, isRunning, signal }, query)) {
    out.push(bytes);
    appendFileSync(path, record('printed meanwhile'));
  }
  return Buffer.concat(out).toString();
}

t.test('a log that grows while it is read ends where it ended', async (t) => {
  const path = join(t.testdir(), '0.log');
  const lines = Array.from({ length: 10 }, (_, index) => `tick ${index}`);
  const reset = () => writeFileSync(path, lines.map(record).join(''));
  reset();
  t.equal(await readWhilePrinting(path, { ...WHOLE, tailLines: 2 }), 'tick 8\ntick 9\n');
  reset();
  t.equal(await readWhilePrinting(path, WHOLE), `${lines.join('\n')}\n`);
  writeFileSync(path, '');
  t.equal(await readWhilePrinting(path, WHOLE), '');
});
