import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';

const SOURCES = join(import.meta.dirname, '../../../bootstrap');

/** What a program shows in a terminal of its own, script(1). */
async function showOf(directory: string, body: string): Promise<string> {
  const program = join(directory, 'program.mts');
  writeFileSync(
    program,
    `import { createFleetReporter } from '${SOURCES}/render/fleet.ts';
let shown = '';
const write = process.stdout.write.bind(process.stdout);
process.stdout.write = (text, ...rest) => { shown += text; return write(text, ...rest); };
const seen = async (text) => { while (!shown.includes(text)) await new Promise((done) => setTimeout(done, 20)); };
const reporter = await createFleetReporter(
  { write: (text) => process.stdout.write(text), now: () => new Date(), isTerminal: true },
  { format: 'text', command: 'apply' },
);
reporter.start([{ user: 'root', host: 'one' }, { user: 'root', host: 'two' }]);
const [one, two] = ['one', 'two'].map((host) => reporter.machine(host));
${body}
await reporter.finish([
  { host: 'one', node: 'n1', outcome: 'joined', durationMs: 1 },
  { host: 'two', durationMs: 1, error: new Error('gone') },
]);
`,
  );
  const command = `stty cols 120 rows 40; ${process.execPath} --import=tsx ${program}`;
  const { stdout } = await execa('script', ['-qec', command, '/dev/null'], {
    cwd: join(SOURCES, '..'),
    env: { TERM: 'xterm', CI: '' },
    timeout: 60_000,
  });
  return stdout;
}

t.test('createLiveReporter() has a line for each machine', async (t) => {
  const shown = await showOf(
    t.testdir(),
    `one.progress('send the node bundle: 5 MB');
await seen('send the node bundle: 5 MB');
two.warn('the clock is off');
for (const machine of [one, two]) machine.warn('no swap');
one.ended({ host: 'one', node: 'n1', outcome: 'joined', durationMs: 1200 });
two.ended({ host: 'two', durationMs: 1, error: new Error('gone') });`,
  );
  t.match(shown, /send the node bundle: 5 MB/);
  t.match(shown, /one: node "n1" has joined \(1\.2 s\)/);
  t.match(shown, /two: gone/);
  t.match(
    shown,
    /two: Warning: the clock is off\s+one, two: Warning: no swap\s+HOST +NODE +RESULT/,
    'warnings stay, below the list',
  );
});

t.test('a question ends the list, and lines follow', async (t) => {
  const shown = await showOf(
    t.testdir(),
    `const ask = reporter.askThrough(async (question) => { process.stderr.write(question + '\\n'); return 'x'; });
await ask('Password?');
one.progress('after the question');
one.ended({ host: 'one', node: 'n1', outcome: 'joined', durationMs: 1 });`,
  );
  const [, after = ''] = shown.split('Password?');
  t.match(after, /one: after the question\r?\none: node "n1" has joined/);
  t.notMatch(after, /\u001b\[\d*A/, 'nothing is drawn over it');
});
