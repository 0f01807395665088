import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Test } from 'tap';
import t from 'tap';
import { createCa, validityFrom } from '../../../pki/issue.ts';
import { FileGroup } from '../../../runtime/base/file-group.ts';
import { checkKeyPair, parseCertificates } from '../../../runtime/base/key-pair.ts';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { sleep, waitFor } from '../../../runtime/base/time.ts';
import { watchFiles } from '../../../runtime/base/watch-files.ts';

/** A group of one file; the text "bad" is refused. */
async function followFile(t: Test, path: string, pollMs?: number): Promise<FileGroup> {
  const controller = new AbortController();
  t.teardown(() => controller.abort());
  const group = await FileGroup.read({
    subject: 'text',
    paths: [path],
    check: ([text]) => {
      if (text === 'bad') throw new Error('it is bad');
    },
  });
  group.follow({ log: SILENT_LOGGER, signal: controller.signal, pollMs });
  return group;
}

const isTaken = (group: FileGroup, text: string) =>
  waitFor(async () => group.texts[0] === text || undefined, { subject: `"${text}"`, timeoutMs: 20_000 });

t.test('FileGroup takes a file that is written in place or renamed over', async (t) => {
  const path = join(t.testdir({ file: 'one' }), 'file');
  const group = await followFile(t, path);
  for (const text of ['two', 'three']) {
    writeFileSync(path, text);
    await isTaken(group, text);
    writeFileSync(`${path}.tmp`, `${text} again`);
    renameSync(`${path}.tmp`, path);
    await isTaken(group, `${text} again`);
  }
  writeFileSync(path, 'bad');
  await sleep(600);
  t.equal(group.texts[0], 'three again', 'what is refused is not taken');
});

t.test('FileGroup takes a file behind a link that is swapped, as volumes are written', async (t) => {
  const directory = t.testdir({ one: { file: 'one' }, two: { file: 'two' } });
  symlinkSync('one', join(directory, '..data'));
  symlinkSync('..data/file', join(directory, 'file'));
  const group = await followFile(t, join(directory, 'file'));
  symlinkSync('two', join(directory, '..tmp'));
  renameSync(join(directory, '..tmp'), join(directory, '..data'));
  await isTaken(group, 'two');
});

t.test('FileGroup takes a file in a directory that was made anew, by its poll', async (t) => {
  const directory = t.testdir({ sub: { file: 'one' } });
  const group = await followFile(t, join(directory, 'sub/file'), 300);
  renameSync(join(directory, 'sub'), join(directory, 'old'));
  await sleep(400);
  mkdirSync(join(directory, 'sub'));
  writeFileSync(join(directory, 'sub/file'), 'two');
  await isTaken(group, 'two');
});

t.test(
  'watchFiles() tells of a mounted file that was replaced outside',
  {
    skip: process.getuid?.() !== 0 && 'needs root',
  },
  async (t) => {
    const directory = t.testdir({ source: 'one', target: '' });
    const [source, target] = [join(directory, 'source'), join(directory, 'target')];
    execFileSync('mount', ['--bind', source, target]);
    const controller = new AbortController();
    try {
      const detached: string[] = [];
      watchFiles({
        paths: [target],
        onEvent: async () => {},
        onDetached: (path) => detached.push(path),
        signal: controller.signal,
      });
      writeFileSync(source, 'two');
      await sleep(500);
      t.same(detached, [], 'written in place it can be seen');
      writeFileSync(`${source}.tmp`, 'three');
      renameSync(`${source}.tmp`, source);
      await waitFor(async () => detached[0], { subject: 'the replaced file', timeoutMs: 20_000 });
      t.equal(detached[0], target);
    } finally {
      controller.abort();
      execFileSync('umount', ['--lazy', target]);
    }
  },
);

t.test('checkKeyPair() and parseCertificates() refuse what is cut off or does not fit', async (t) => {
  const make = () =>
    createCa({ ...validityFrom(new Date(), 60_000), commonName: 'ca', algorithm: 'ECDSA-P256' });
  const [one, two] = [await make(), await make()];
  const refused = (state: RegExp) => ({ code: 'CERTIFICATE_FILE_INVALID', message: state });
  t.doesNotThrow(() => checkKeyPair(one.certPem, one.keyPem));
  t.doesNotThrow(() => checkKeyPair(one.certPem + two.certPem, one.keyPem), 'the first one counts');
  t.throws(() => checkKeyPair(one.certPem, two.keyPem), refused(/does not belong/));
  t.throws(() => checkKeyPair(one.certPem, one.keyPem.slice(0, 60)), refused(/key cannot be read/));
  t.throws(() => checkKeyPair('', one.keyPem), refused(/no certificate/));
  t.equal(parseCertificates(one.certPem + two.certPem).length, 2);
  t.throws(() => parseCertificates(one.certPem + two.certPem.slice(0, -40)), refused(/cut off/));
  const path = join(t.testdir({ file: 'x' }), 'file');
  const check = ([pem = '']: readonly string[]) => void parseCertificates(pem);
  await t.rejects(FileGroup.read({ subject: 'client CA', paths: [path], check }), {
    code: 'CERTIFICATE_FILE_INVALID',
    message: `Cannot use client CA "${path}": there is no certificate in it`,
  });
});
