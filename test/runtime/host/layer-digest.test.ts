import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import t from 'tap';
import { archiveDirectory, digestLayer } from '../../../runtime/host/layer-digest.ts';

const FILES = {
  'b.txt': 'x'.repeat(512),
  'a/empty': '',
  'a/odd': 'y'.repeat(1300),
  [`${'directory-of-a-long-name/'.repeat(5)}file`]: 'z',
} as const;

t.test('archiveDirectory() makes what tar unpacks to the same directory', async (t) => {
  const root = join(t.testdir({ source: {}, copy: {} }), 'source');
  const copy = join(root, '../copy');
  for (const [name, content] of Object.entries(FILES)) {
    mkdirSync(dirname(join(root, name)), { recursive: true });
    writeFileSync(join(root, name), content);
  }
  chmodSync(join(root, 'a/odd'), 0o4755);
  symlinkSync('../b.txt', join(root, 'a/link'));

  const pieces: Buffer[] = [];
  await archiveDirectory(root, (bytes) => pieces.push(Buffer.from(bytes)));
  const archive = Buffer.concat(pieces);
  execFileSync('tar', ['-x', '--same-permissions', '-C', copy], { input: archive });
  execFileSync('diff', ['-r', '--no-dereference', root, copy]);
  const modes = (directory: string) =>
    execFileSync('find', ['.', '-mindepth', '1', '-printf', '%p %m %y %l\n'], {
      cwd: directory,
      encoding: 'utf8',
    });
  t.equal(modes(copy).split('\n').sort().join('\n'), modes(root).split('\n').sort().join('\n'));
  const listing = execFileSync('tar', ['-tv', '--utc', '--numeric-owner'], {
    input: archive,
    encoding: 'utf8',
  });
  t.ok(
    listing.split('\n').every((line) => line === '' || / 0\/0 .* 1970-01-01 00:00 /.test(line)),
    listing,
  );

  const digest = await digestLayer(root);
  t.same(digest, {
    digest: `sha256:${createHash('sha256').update(archive).digest('hex')}`,
    sizeBytes: archive.byteLength,
  });
  t.same(await digestLayer(root), digest, 'again');
  writeFileSync(join(root, 'b.txt'), 'y'.repeat(512));
  t.not((await digestLayer(root)).digest, digest.digest, 'content counts');
});
