import { existsSync, lstatSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gzipSync, constants as zlibConstants } from 'node:zlib';
import t from 'tap';
import { isTkadmError } from '../../../runtime/base/errors.ts';
import { TAR_END } from '../../../runtime/base/tar-header.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { type Entry, openStoreFixture, snapshot, tarOf } from './layer-fixture.ts';
import { seededRandom } from './random.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';

const file = (name: string, content = 'x'): Entry => ({ name, type: 'file', content });
const link = (name: string, target: string): Entry => ({ name, type: 'symlink', target });
const hardLink = (name: string, target: string): Entry => ({ name, type: 'link', target });
const directory = (name: string): Entry => ({ name, type: 'directory', mode: 0o755 });
const xattr = (name: string, key: string): Entry => ({
  ...file(name),
  attributes: new Map([[key, Buffer.from('y')]]),
});

/** What must be refused, with the entry that the refusal has to name. */
const REFUSED: readonly (readonly [title: string, entries: readonly Entry[], named: RegExp])[] = [
  ['".." in a name', [file('../escape')], /"\.\.\/escape"/],
  ['".." behind a directory', [directory('a/'), file('a/../../escape')], /"a\/\.\.\/\.\.\/escape"/],
  ['a whiteout of ".."', [file('a/.wh...')], /"\.\."/],
  ['a hard link to "../"', [hardLink('passwd', '../../outside/victim')], /"\.\.\/\.\.\/outside\/victim"/],
  ['a hard link to what is not there', [hardLink('passwd', '/etc/passwd')], /"\/etc\/passwd"/],
  ['a hard link to a directory', [directory('d/'), hardLink('e', 'd')], /"e"/],
  ['a file below a file', [file('f'), file('f/below')], /"f\/below"/],
  ['links in a circle', [link('a', 'b'), link('b', 'a'), file('a/x')], /"a\/x"/],
  ['a name too long for the disk', [file('n'.repeat(300))], /"n+"/],
  ['overlay attributes', [xattr('f', 'trusted.overlay.redirect')], /"f".*trusted\.overlay\.redirect/],
  ['overlay attributes of users', [xattr('f', 'user.overlay.opaque')], /"f".*user\.overlay\.opaque/],
];

t.test('importLayer() refuses hostile layers and leaves nothing', { skip }, async (t) => {
  for (const [title, entries, named] of REFUSED) {
    const fixture = await openStoreFixture(t);
    writeFileSync(join(fixture.outside, 'victim'), 'untouched');
    const before = snapshot(fixture.outside);
    for (const layer of [tarOf(entries), gzipSync(tarOf(entries))]) {
      const digest = sha256Digest(layer);
      const error = await fixture.import(layer).catch((reason: unknown) => reason);
      t.ok(isTkadmError(error, 'IMAGE_UNPACK'), `${title}: ${error}`);
      t.match((error as Error).message, digest, `${title}: names the layer`);
      t.match((error as Error).message, named, `${title}: names the entry`);
      t.strictSame(fixture.leftovers(), [], `${title}: nothing is left`);
    }
    t.equal(snapshot(fixture.outside), before, `${title}: nothing outside is touched`);
  }
});

/** What other programs accept as well, because it stays inside: where the content has to be. */
const CONTAINED: readonly (readonly [title: string, entries: readonly Entry[], path: string])[] = [
  ['an absolute name', [file('/etc/passwd')], 'etc/passwd'],
  ['a link out, then a file through it', [link('out', '/'), file('out/victim')], 'victim'],
  ['a link up, then a file through it', [link('up', '../../..'), file('up/victim')], 'victim'],
  ['links over links', [link('a', '/b'), link('b', '../../c'), file('a/victim')], 'c/victim'],
  ['a link, replaced by a file', [link('victim', '/outside/victim'), file('victim')], 'victim'],
  [
    'a hard link to a link, then a file over it',
    [link('a', '/outside/victim'), hardLink('victim', 'a'), file('victim')],
    'victim',
  ],
  ['a directory over a link', [link('d', '/outside'), directory('d/'), file('d/victim')], 'd/victim'],
  ['a file over a directory', [directory('victim/'), file('victim/x', 'y'), file('victim')], 'victim'],
  ['a file twice', [file('victim', 'first'), file('victim')], 'victim'],
  ['dots and slashes', [file('.//a/./victim')], 'a/victim'],
];

t.test('importLayer() keeps what links lead to inside the layer', { skip }, async (t) => {
  for (const [title, entries, path] of CONTAINED) {
    const fixture = await openStoreFixture(t);
    writeFileSync(join(fixture.outside, 'victim'), 'untouched');
    symlinkSync(fixture.outside, join(fixture.root, 'outside'));
    const before = snapshot(fixture.outside);
    const layer = await fixture.import(tarOf(entries));
    const found = join(fixture.diff(layer), path);
    t.ok(lstatSync(found).isFile(), title);
    t.equal(readFileSync(found, 'utf8'), 'x', title);
    t.equal(snapshot(fixture.outside), before, `${title}: nothing outside is touched`);
  }
  t.notOk(existsSync('/victim'));
});

t.test('importLayer() gives the files of a store to root alone', { skip }, async (t) => {
  const fixture = await openStoreFixture(t);
  await fixture.import(
    tarOf([
      { ...file('su'), mode: 0o4755 },
      { name: 'sda', type: 'block-device', mode: 0o666 },
    ]),
  );
  t.equal(
    lstatSync(fixture.root).mode & 0o777,
    0o700,
    'programs with set-user-id cannot be reached by users',
  );
});

t.test('importLayer() ends decompression bombs', { skip }, async (t) => {
  const fixture = await openStoreFixture(t);
  const bomb = gzipSync(tarOf([file('zeros', '\0'.repeat(30 << 20))]));
  const limits = { freeTarBytes: 10 << 20, maxRatio: 200 };
  await t.rejects(fixture.import(bomb, { digest: sha256Digest(bomb), limits }), {
    code: 'IMAGE_UNPACK',
    message: /have become \d+, more than 200 times as many$/,
  });
  t.strictSame(fixture.leftovers(), []);
  t.equal((await fixture.import(bomb)).sizeBytes, 30 << 20, 'an honest layer of zeros is taken');
});

t.test('importLayer() refuses what is cut short or damaged', { skip }, async (t) => {
  const fixture = await openStoreFixture(t);
  const tar = tarOf([directory('d/'), file('d/f', 'content'.repeat(10_000))]);
  const gzip = gzipSync(tar);
  const cut = (bytes: Buffer, count: number) => bytes.subarray(0, bytes.byteLength - count);
  for (const [title, layer] of Object.entries({
    'gzip without its end': cut(gzip, 10),
    'gzip of half a tar': gzipSync(tar.subarray(0, 5000)),
    'gzip with a wrong sum': Buffer.concat([cut(gzip, 8), Buffer.alloc(8)]),
    'tar without its content': tar.subarray(0, 3000),
    'nothing but a magic number': Buffer.from([0x1f, 0x8b]),
  })) {
    const error = await fixture.import(layer).catch((reason: unknown) => reason);
    t.ok(isTkadmError(error, 'IMAGE_UNPACK'), `${title}: ${error}`);
    t.match((error as Error).message, sha256Digest(layer), title);
    t.strictSame(fixture.leftovers(), [], title);
  }
  await t.rejects(fixture.import(gzip, { digest: sha256Digest(tar) }), { code: 'IMAGE_INVALID' });
  await t.rejects(fixture.import(gzip, { diffId: sha256Digest(gzip) }), { code: 'IMAGE_INVALID' });
  t.strictSame(fixture.leftovers(), [], 'content with another digest');
});

const NAMES = [
  'a',
  'b',
  'a/b',
  '/a',
  '../a',
  'a/../b',
  '.wh.a',
  'a/.wh..wh..opq',
  '.wh..',
  'b/',
  './',
  '',
  '..',
];
const TARGETS = ['a', 'b', '/', '..', '../../outside', '/a/b', 'a/b', '.', ''];
const TYPES = ['file', 'directory', 'symlink', 'link', 'fifo', 'character-device', 'block-device'] as const;

t.test('importLayer() survives random entries in any order', { skip }, async (t) => {
  const fixture = await openStoreFixture(t);
  writeFileSync(join(fixture.outside, 'victim'), 'untouched');
  const before = snapshot(fixture.outside);
  const random = seededRandom(20_261_122);
  const pick = <T>(items: readonly T[]): T => items[random() % items.length]!;
  let refused = 0;
  for (let round = 0; round < 400; round += 1) {
    const entries = Array.from({ length: 1 + (random() % 8) }, (): Entry => {
      const type = pick(TYPES);
      const target = type === 'link' || type === 'symlink' ? pick(TARGETS) : '';
      return {
        name: pick(NAMES),
        type,
        target,
        content: type === 'file' ? 'x' : '',
        mode: random() & 0o7777,
      };
    });
    try {
      await fixture.import(tarOf(entries));
    } catch (error) {
      refused += 1;
      if (!isTkadmError(error, 'IMAGE_UNPACK')) {
        t.fail(`round ${round}: ${(error as Error).stack} of ${JSON.stringify(entries)}`);
      }
    }
  }
  t.ok(refused > 20 && refused < 400, `${refused} of 400 refused`);
  t.equal(snapshot(fixture.outside), before);
  await fixture.store.sweep();
  t.strictSame(
    fixture.leftovers().filter((name) => name.startsWith('layer-')),
    [],
  );
});

t.test('importLayer() survives random damage of compressed layers', { skip }, async (t) => {
  const fixture = await openStoreFixture(t);
  const tar = tarOf([directory('d/'), file('d/f', 'content'.repeat(500)), link('l', 'd'), file('l/g')]);
  const layer = gzipSync(tar, { level: zlibConstants.Z_BEST_SPEED });
  const random = seededRandom(7);
  for (let round = 0; round < 200; round += 1) {
    const damaged = Buffer.from(layer);
    damaged[random() % damaged.byteLength] = random() % 256;
    try {
      await fixture.import(damaged, {});
    } catch (error) {
      if (!isTkadmError(error, 'IMAGE_UNPACK')) t.fail(`round ${round}: ${(error as Error).stack}`);
    }
  }
  t.ok(await fixture.import(Buffer.concat([tar, TAR_END])), 'the store goes on');
});
