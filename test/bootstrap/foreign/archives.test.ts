import { createHash } from 'node:crypto';
import { mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { unpackArchives } from '../../../bootstrap/foreign/archives.ts';
import { archiveName, FOREIGN_PARTS, type ForeignPart } from '../../../bootstrap/foreign/parts.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';

const LOCK_FILE = join(import.meta.dirname ?? '.', '../../../package-lock.json');

t.test('FOREIGN_PARTS are those that npm would install', async (t) => {
  const { packages } = JSON.parse(await readFile(LOCK_FILE, 'utf8'));
  for (const part of FOREIGN_PARTS) {
    if (part.role === 'node') continue;
    const locked = packages[`node_modules/${part.name}`];
    t.match(
      locked,
      { version: part.version, integrity: part.integrity, cpu: [part.architecture] },
      part.name,
    );
  }
  for (const architecture of ['x64', 'arm64']) {
    const roles = FOREIGN_PARTS.filter((part) => part.architecture === architecture).map(({ role }) => role);
    t.same(roles.sort(), ['addon', 'addon', 'node'], architecture);
  }
  t.equal(new Set(FOREIGN_PARTS.map(archiveName)).size, FOREIGN_PARTS.length);
});

t.test('unpackArchives()', async (t) => {
  const archives = t.testdir({ package: { 'package.json': '{"name":"@x/addon"}', 'a.node': 'addon' } });
  const target = join(archives, 'node_modules');
  await mkdir(target);
  const host = createLocalHost();
  const row = { architecture: 'arm64', role: 'addon', name: '@x/addon', version: '1.2.3' } as const;
  const path = join(archives, archiveName(row));
  await execa('tar', ['-czf', path, '-C', archives, 'package']);
  const digest = createHash('sha512')
    .update(await readFile(path))
    .digest('base64');
  const part: ForeignPart = { ...row, integrity: `sha512-${digest}` };
  const unpack = (parts: readonly ForeignPart[]) => unpackArchives(host, parts, { archives, target });

  await t.test('unpacks what has the right digest', async (t) => {
    await unpack([part]);
    t.equal(await readFile(join(target, '@x/addon/a.node'), 'utf8'), 'addon');
  });
  await t.test('names the command that fetches what is missing', (t) =>
    t.rejects(unpack([part, { ...part, name: 'other' }]), {
      code: 'BUNDLE_BUILD',
      message: /no "other-1\.2\.3\.tgz"/,
      hint: /npm pack .* other@1\.2\.3 .*tkadm bundle --arch arm64 --packages/,
    }),
  );
  await t.test('refuses another digest', async (t) => {
    await writeFile(path, 'changed');
    await t.rejects(unpack([part]), {
      code: 'BUNDLE_BUILD',
      message: /its digest is not that of @x\/addon@1/,
    });
  });
});
