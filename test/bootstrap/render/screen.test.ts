import t from 'tap';
import { formatScreen } from '../../../bootstrap/render/screen.ts';

/** What a terminal shows after it: enough of ECMA-48 for these sequences. */
function show(before: readonly string[], written: string): readonly string[] {
  const lines = [...before];
  const [body = '', isCleared] = written.replace('\x1b[H', '').split('\x1b[J');
  const rows = body.split('\n').slice(0, -1);
  for (const [i, row] of rows.entries()) {
    const text = row.replace('\x1b[K', '');
    lines[i] = row.endsWith('\x1b[K') ? text : text + (lines[i] ?? '').slice(text.length);
  }
  return isCleared === undefined ? lines : lines.slice(0, rows.length);
}

t.test('formatScreen() writes over what was there, and leaves nothing of it', async (t) => {
  const size = { columns: 20, rows: 10 };
  t.same(show(['a longer line', 'second', 'third'], formatScreen('short\n2\n', size)), ['short', '2']);
  t.notMatch(formatScreen('a', size), /^\x1b\[H\x1b\[J/, 'the screen is not empty in between');
});

t.test('formatScreen() shows what a terminal has room for', async (t) => {
  t.same(show([], formatScreen('123456\n2\n3\n4', { columns: 4, rows: 3 })), ['123…', '2']);
});
