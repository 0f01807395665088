import { existsSync, readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import t from 'tap';
import { codePath, keepCode, runCompiled } from '../../../runtime/base/code-cache.ts';

const OUTCOME = 'tkadmCodeCacheTest';
const program = (text: string) =>
  `globalThis.${OUTCOME} = [${JSON.stringify(text)}, require('node:path').basename(__filename), typeof module.exports];\n`;
const outcome = () => (globalThis as Record<string, unknown>)[OUTCOME];

t.test('runCompiled() runs a module and keeps its code for the next time', async (t) => {
  const directory = t.testdir({ 'main.cjs': program('one') });
  const path = join(directory, 'main.cjs');
  const code = codePath(path);
  utimesSync(path, 1, 1);

  runCompiled(path);
  t.same(outcome(), ['one', 'main.cjs', 'object']);
  t.notOk(existsSync(code), 'nothing is kept unless it is asked for');
  runCompiled(path, join(directory, 'main.js'))();
  t.same(outcome(), ['one', 'main.js', 'object'], 'the module takes itself for what was asked for');
  t.equal(statSync(code).mode & 0o777, 0o644);
  t.same(readdirSync(directory).sort(), ['main.cjs', basename(code)]);

  utimesSync(code, 1, 1);
  runCompiled(path)();
  t.same(outcome(), ['one', 'main.cjs', 'object']);
  t.equal(statSync(code).mtimeMs, 1000, 'good code is not written again, an archive gives all one date');

  // V8 itself looks at the length of the source alone.
  writeFileSync(path, program('two'));
  runCompiled(path)();
  t.same(outcome(), ['two', 'main.cjs', 'object'], 'code older than its file is of no use');
  t.not(statSync(code).mtimeMs, 1000);

  // A text that this process has not compiled yet.
  writeFileSync(path, program('six'));
  utimesSync(path, 1, 1);
  const broken = Buffer.alloc(1000, 7);
  writeFileSync(code, broken);
  runCompiled(path)();
  t.same(outcome(), ['six', 'main.cjs', 'object'], 'nor is code that is broken');
  t.notSame(readFileSync(code), broken);
});

t.test('keepCode() makes the code of a module without running it', async (t) => {
  const directory = t.testdir({ 'main.cjs': `${program('seven')}// ${'x'.repeat(100)}` });
  const path = join(directory, 'main.cjs');
  utimesSync(path, 1, 1);
  keepCode(path);
  t.not((outcome() as readonly string[] | undefined)?.[0], 'seven');
  utimesSync(codePath(path), 2, 2);
  keepCode(path);
  runCompiled(path)();
  t.same(outcome(), ['seven', 'main.cjs', 'object']);
  t.equal(statSync(codePath(path)).mtimeMs, 2000, 'V8 takes it, and it is not made again');
});

t.test(
  'runCompiled() passes on what the module throws; a cache that cannot be kept is no failure',
  async (t) => {
    const directory = t.testdir({
      'main.cjs': program('three'),
      // A directory where the file would be: not even root can write it.
      [basename(codePath('main.cjs'))]: { x: '' },
      'bad.cjs': 'throw new Error("mine")',
    });
    t.throws(() => runCompiled(join(directory, 'bad.cjs')), /mine/);
    runCompiled(join(directory, 'main.cjs'))();
    t.same(outcome(), ['three', 'main.cjs', 'object']);
  },
);
