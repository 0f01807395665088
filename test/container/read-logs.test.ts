import { appendFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { LogWriter } from '../../runtime/container/log-writer.ts';
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

t.test('LogWriter gives full files numbers, and readLogs() reads them as one log', async (t) => {
  const directory = t.testdir({});
  const path = join(directory, 'log');
  const limit = { maxBytes: 400, maxFiles: 3 };
  const print = async (writer: LogWriter, from: number, to: number) => {
    for (let index = from; index < to; index += 1)
      await writer.write('stdout', Buffer.from(`line ${String(index).padStart(3, '0')}\n`));
  };
  const abort = new AbortController();
  const read = async (query: Partial<LogQuery>) => {
    const out: Buffer[] = [];
    const source = { path, maxFiles: 3, isRunning: async () => false, signal: abort.signal };
    for await (const bytes of readLogs(source, { ...WHOLE, ...query })) out.push(bytes);
    return Buffer.concat(out).toString().trimEnd().split('\n');
  };
  const first = new LogWriter(path, () => new Date(0), limit);
  await print(first, 0, 15);
  await first.close();
  // A record has 49 bytes, a file ends behind the ninth.
  t.same(readdirSync(directory).sort(), ['log', 'log.1']);
  const second = new LogWriter(path, () => new Date(0), limit);
  await print(second, 15, 50);
  t.same(readdirSync(directory).sort(), ['log', 'log.1', 'log.2'], 'no more than three');
  const kept = await read({});
  t.same([kept[0], kept.at(-1), kept.length], ['line 027', 'line 049', 23]);
  t.same(await read({ tailLines: 2 }), ['line 048', 'line 049']);
  t.same((await read({ tailLines: 12 }))[0], 'line 038', 'over the border of two files');
  t.same(await read({ tailLines: 1000 }), kept);
  t.same(await read({ tailLines: 9, since: new Date(1) }), [''], 'other conditions hold as well');

  const followed: string[] = [];
  let isRunning = true;
  const source = { path, maxFiles: 3, isRunning: async () => isRunning, signal: abort.signal };
  const following = (async () => {
    for await (const bytes of readLogs(source, { ...WHOLE, isFollowing: true, tailLines: 1 }))
      followed.push(bytes.toString().trimEnd());
  })();
  while (followed.length < 1) await new Promise(setImmediate);
  await print(second, 50, 64);
  isRunning = false;
  await following;
  t.same([followed[0], followed.at(-1), followed.length], ['line 049', 'line 063', 15]);
  await second.close();
});
