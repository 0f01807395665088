import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import t from 'tap';
import { copyBinary } from '../../../runtime/host/copy-binary.ts';

t.test('copyBinary() takes symbols away from Node.js, which runs', async (t) => {
  const target = join(t.testdir(), 'node');
  await copyBinary(process.execPath, target);
  chmodSync(target, 0o755);
  t.ok(statSync(target).size <= statSync(process.execPath).size);
  const { stdout } = spawnSync('readelf', ['--section-headers', target], { encoding: 'utf8' });
  if (stdout) t.match(stdout, /no sections/);
  const script = 'process.stdout.write(process.version + require("node:crypto").randomBytes(2).length)';
  t.equal(execFileSync(target, ['-e', script], { encoding: 'utf8' }), `${process.version}2`);
});

t.test('copyBinary() of an addon, which loads', async (t) => {
  const require = createRequire(import.meta.url);
  const source = require.resolve(`@koromix/koffi-linux-${process.arch}/linux_${process.arch}/koffi.node`);
  const target = join(t.testdir(), 'koffi.node');
  await copyBinary(source, target);
  const script = `process.stdout.write(require(${JSON.stringify(target)}).load('libc.so.6').func('getpid', 'int', [])() === process.pid ? 'same' : 'other')`;
  t.equal(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' }), 'same');
});

const header = readFileSync(process.execPath).subarray(0, 64);
const withoutSegments = Buffer.from(header);
withoutSegments.writeUInt16LE(0, 56);
for (const [what, content] of [
  ['a script', Buffer.from('#!/bin/sh\nexit 0\n')],
  ['an empty file', Buffer.alloc(0)],
  ['an ELF header alone', header],
  ['a file without segments', Buffer.concat([withoutSegments, Buffer.alloc(100)])],
  ['a 32-bit program', Buffer.concat([Buffer.from([0x7f, 0x45, 0x4c, 0x46, 1, 1]), Buffer.alloc(100)])],
] as const) {
  t.test(`copyBinary() leaves ${what} as it is`, async (t) => {
    const directory = t.testdir();
    writeFileSync(join(directory, 'a'), content);
    await copyBinary(join(directory, 'a'), join(directory, 'b'));
    t.same(readFileSync(join(directory, 'b')), content);
  });
}
