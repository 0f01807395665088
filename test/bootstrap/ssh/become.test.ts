import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { type BecomeChoice, buildProbe } from '../../../bootstrap/ssh/become.ts';

const ROWS: readonly (readonly [
  choice: BecomeChoice,
  programs: Readonly<Record<string, string>>,
  answer: string,
])[] = [
  ['auto', { sudo: 'exit 0', doas: 'exit 0' }, 'sudo'],
  ['auto', { sudo: 'exit 1', doas: 'exit 0' }, 'doas'],
  ['auto', { sudo: 'exit 1' }, 'sudo-password'],
  ['auto', {}, 'none'],
  ['doas', { sudo: 'exit 0', doas: 'exit 0' }, 'doas'],
  ['sudo', { sudo: 'exit 1', doas: 'exit 0' }, 'sudo-password'],
  ['none', { sudo: 'exit 0', doas: 'exit 0' }, 'none'],
];

t.test('buildProbe() tries what the person allows', async (t) => {
  const root = t.testdir();
  for (const [index, [choice, programs, answer]] of ROWS.entries()) {
    const directory = join(root, String(index));
    mkdirSync(directory, { recursive: true });
    // Of a user who is not root, whatever this one is.
    for (const [name, script] of Object.entries({ id: 'echo 1000', ...programs }))
      writeFileSync(join(directory, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const { stdout } = await execa('/bin/sh', ['-c', buildProbe(choice)], {
      env: { PATH: directory },
      extendEnv: false,
    });
    t.equal(stdout, answer, `${choice} of ${Object.keys(programs).join(', ')}`);
  }
});
