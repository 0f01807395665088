import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { DIAGNOSES } from '../../../bootstrap/diagnose/table.ts';

const PAGE = readFileSync(join(import.meta.dirname ?? '.', '../../../docs/why.md'), 'utf8');

t.test('docs/why.md has every cause, in order', async (t) => {
  const rows = PAGE.split('\n')
    .filter((line) => line.startsWith('| `'))
    .map((line) =>
      line
        .slice(1, -1)
        .split(' | ')
        .map((cell) => cell.trim()),
    );
  t.same(
    rows,
    DIAGNOSES.map(({ name, of, confidence, summary }) => [`\`${name}\``, of, confidence, summary]),
  );
});
