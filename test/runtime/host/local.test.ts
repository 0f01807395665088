import t from 'tap';
import type { CommandOptions } from '../../../runtime/base/host.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';

interface Row {
  readonly text: string;
  readonly argv: readonly string[];
  readonly options?: CommandOptions;
  readonly wanted: { readonly exitCode: number; readonly stdout?: string; readonly stderr?: string | RegExp };
}

const ROWS: readonly Row[] = [
  {
    text: 'output, error output and exit code',
    argv: ['sh', '-c', 'echo "$1"; printf err >&2; exit 3', 'sh', 'a  ä'],
    wanted: { exitCode: 3, stdout: 'a  ä\n', stderr: 'err' },
  },
  { text: 'text as input', argv: ['cat'], options: { input: 'in' }, wanted: { exitCode: 0, stdout: 'in' } },
  {
    text: 'a stream as input',
    argv: ['cat'],
    options: { input: pieces(['one ', 'two']) },
    wanted: { exitCode: 0, stdout: 'one two' },
  },
  {
    text: 'input that nobody reads',
    argv: ['true'],
    options: { input: 'x'.repeat(1_000_000) },
    wanted: { exitCode: 0, stdout: '' },
  },
  { text: 'no input', argv: ['cat'], wanted: { exitCode: 0, stdout: '' } },
  {
    text: 'a variable beside those that are there',
    argv: ['sh', '-c', 'printf "%s " "$NEW"; [ -n "$PATH" ] && printf path'],
    options: { env: { NEW: 'a b' } },
    wanted: { exitCode: 0, stdout: 'a b path' },
  },
  { text: 'a signal', argv: ['sh', '-c', 'kill -KILL $$'], wanted: { exitCode: 137 } },
  {
    text: 'a program that is not there',
    argv: ['no-such-program'],
    wanted: { exitCode: 127, stderr: /ENOENT/ },
  },
  { text: 'what is no program', argv: ['/etc/passwd'], wanted: { exitCode: 126, stderr: /EACCES/ } },
  { text: 'a time-out', argv: ['sleep', '600'], options: { timeoutMs: 50 }, wanted: { exitCode: 124 } },
];

async function* pieces(texts: readonly string[]): AsyncGenerator<Uint8Array> {
  for (const text of texts) yield Buffer.from(text);
}

for (const { text, argv, options, wanted } of ROWS) {
  t.test(`createLocalHost().run() takes ${text}`, async (t) => {
    t.match(await createLocalHost().run(argv, options), wanted);
  });
}

t.test('createLocalHost().run() ends with its signal', async (t) => {
  const stop = new AbortController();
  const running = createLocalHost().run(['sleep', '600'], { signal: stop.signal });
  stop.abort(new Error('enough'));
  await t.rejects(running, { message: 'enough' });
  await t.rejects(createLocalHost().run(['true'], { signal: stop.signal }), { message: 'enough' });
});
