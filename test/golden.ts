import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';

const DIRECTORY = join(import.meta.dirname ?? '.', 'golden');

/** Compares text with test/golden/NAME; UPDATE_GOLDEN=1 writes the file instead. */
export function matchGolden(t: Test, name: string, text: string): void {
  const path = join(DIRECTORY, name);
  if (process.env['UPDATE_GOLDEN'] === '1') {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  t.equal(text, readFileSync(path, 'utf8'), `test/golden/${name}`);
}
