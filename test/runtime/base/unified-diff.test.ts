import { execFileSync, spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { formatUnifiedDiff } from '../../../runtime/base/unified-diff.ts';

const skip = spawnSync('patch', ['--version']).status !== 0 && 'needs apt-get install patch';

t.test('formatUnifiedDiff() is a patch that patch(1) applies, for random texts', { skip }, (t) => {
  const directory = t.testdir();
  const path = join(directory, 'file');
  const random = createRandom(7);
  for (let round = 0; round < 60; round += 1) {
    const before = randomText(random);
    const after = random() < 0.2 ? randomText(random) : mutate(before, random);
    const hunks = formatUnifiedDiff(before, after);
    if (before === after) {
      t.equal(hunks, '');
      continue;
    }
    writeFileSync(path, before);
    const input = `--- file\n+++ file\n${hunks}`;
    const applied = execFileSync('patch', ['--quiet', '--output=-', path], { input, encoding: 'utf8' });
    t.equal(applied, after, input);
  }
  t.end();
});

t.test('formatUnifiedDiff() shows the change with its context alone', (t) => {
  const lines = Array.from({ length: 20 }, (_, i) => `line ${i}\n`);
  const after = lines.map((line, i) => (i === 10 ? 'other\n' : line));
  t.equal(
    formatUnifiedDiff(lines.join(''), after.join('')),
    '@@ -8,7 +8,7 @@\n line 7\n line 8\n line 9\n-line 10\n+other\n line 11\n line 12\n line 13\n',
  );
  t.equal(formatUnifiedDiff('', 'a\nb\n'), '@@ -0,0 +1,2 @@\n+a\n+b\n');
  t.equal(formatUnifiedDiff('a\n', ''), '@@ -1 +0,0 @@\n-a\n');
  t.equal(formatUnifiedDiff('a', 'a\n'), '@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+a\n');
  t.end();
});

/** A small generator (mulberry32), so that a failure can be seen again. */
function createRandom(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let value = Math.imul(state ^ (state >>> 15), 1 | state);
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value;
    return ((value ^ (value >>> 14)) >>> 0) / 4_294_967_296;
  };
}

function randomText(random: () => number): string {
  const lines = Array.from({ length: Math.floor(random() * 30) }, () => `${Math.floor(random() * 6)}`);
  return lines.length === 0 ? '' : lines.join('\n') + (random() < 0.8 ? '\n' : '');
}

function mutate(text: string, random: () => number): string {
  const lines = text.split('\n');
  const at = Math.floor(random() * lines.length);
  lines.splice(at, random() < 0.5 ? 1 : 0, ...(random() < 0.7 ? ['new'] : []));
  return lines.join('\n');
}
