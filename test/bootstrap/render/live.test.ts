import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';

const SOURCES = join(import.meta.dirname, '../../../bootstrap');

t.test('createLiveRenderer() says how each phase ended that had nothing to do', async (t) => {
  const program = join(t.testdir(), 'program.mts');
  const phases = ['preflight', 'etcd/local', 'certs/ca', 'certs/etcd-ca', 'addon/dns', 'addon/proxy'];
  writeFileSync(
    program,
    `import { createLiveRenderer } from '${SOURCES}/render/live.ts';
const phases = ${JSON.stringify(phases)}.map((name) => ({ name, summary: 'Do ' + name.split('/')[0] }));
const renderer = createLiveRenderer({ phases, write: (text) => process.stdout.write(text) });
const end = (phase, state) => {
  renderer.emit({ type: 'phase-started', phase, summary: '' });
  renderer.emit({ type: 'phase-done', phase, durationMs: 1, changes: 0, ...(state && { state }) });
};
end('preflight', 'Passed');
end('etcd/local', 'Nothing to do: the store needs none');
end('certs/ca', 'Already there');
end('certs/etcd-ca', 'Nothing to do: the store needs none');
end('addon/dns', 'Already there');
end('addon/proxy');
await renderer.finish({ isOk: true, text: '', data: {} });
`,
  );
  const command = `stty cols 100 rows 40; ${process.execPath} --import=tsx ${program}`;
  const { stdout } = await execa('script', ['-qec', command, '/dev/null'], {
    cwd: join(SOURCES, '..'),
    env: { TERM: 'xterm', CI: '' },
    timeout: 60_000,
  });
  for (const end of ['preflight (passed)', 'etcd (nothing to do)', 'certs (already there)'])
    t.match(stdout, `Do ${end}`);
  t.match(stdout, /Do addon \(\d+\.\d s\)/);
});
