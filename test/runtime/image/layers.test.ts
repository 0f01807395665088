import { execFileSync } from 'node:child_process';
import {
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { layerDescriptor } from '../../../runtime/image/archive.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { addSingleLayerImage } from '../../../runtime/image/builtin-images.ts';
import { detectCompression, ZSTD_DECODERS } from '../../../runtime/image/decompress.ts';
import { loadInodes } from '../../../runtime/image/inodes.ts';
import { packFiles, readUpperDir } from '../../../runtime/image/pack.ts';
import { zstdWindowBytes } from '../../../runtime/image/zstd-script.ts';
import { openStoreFixture, tarOf } from './layer-fixture.ts';
import { seededRandom } from './random.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const zstdSkip = existsSync('/usr/bin/zstd') ? skip : 'needs zstd';

const zstd = (input: Buffer, ...flags: readonly string[]): Buffer =>
  execFileSync('zstd', ['-q', '-c', ...flags], { input, maxBuffer: 1 << 28 });

/** Text that compresses as programs do, of many blocks. */
function makeText(bytes: number): Buffer {
  const random = seededRandom(3);
  const words = Array.from({ length: 500 }, () => random().toString(36));
  const lines = Array.from({ length: bytes / 3 }, () => words[random() % words.length]!);
  return Buffer.from(lines.join(' ')).subarray(0, bytes);
}

t.test('importLayer() reads zstd as zstd(1) writes it', { skip: zstdSkip }, async (t) => {
  const tar = tarOf([{ name: 'text', type: 'file', content: makeText(6_000_000) }]);
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  const half = tar.byteLength >> 1;
  for (const [title, layer] of Object.entries({
    fastest: zstd(tar, '-1'),
    usual: zstd(tar),
    slow: zstd(tar, '-15'),
    'with a checksum': zstd(tar, '--check'),
    'without one': zstd(tar, '--no-check'),
    'two frames': Buffer.concat([zstd(tar.subarray(0, half)), zstd(tar.subarray(half))]),
    'a skippable frame first': Buffer.concat([skippable, zstd(tar)]),
    'a skippable frame last': Buffer.concat([zstd(tar), skippable]),
    'by a pipe, of unknown size': execFileSync('sh', ['-c', 'cat | zstd -q -c'], {
      input: tar,
      maxBuffer: 1 << 28,
    }),
  })) {
    const fixture = await openStoreFixture(t);
    const record = await fixture.import(layer);
    t.match(record, { diffId: sha256Digest(tar), compression: 'zstd', blobBytes: layer.byteLength }, title);
    t.same(
      await buffer(await fixture.store.openLayer(record.diffId)),
      tar,
      `${title}: the tar can be made again`,
    );
    t.match(layerDescriptor(record), { mediaType: /\+zstd$/, size: layer.byteLength }, title);
  }
});

t.test('importLayer() refuses zstd that is damaged or cut short', { skip: zstdSkip }, async (t) => {
  const fixture = await openStoreFixture(t);
  const layer = zstd(tarOf([{ name: 'text', type: 'file', content: makeText(100_000) }]));
  const random = seededRandom(11);
  await t.rejects(fixture.import(layer.subarray(0, layer.byteLength >> 1)), /Cannot/);
  for (let round = 0; round < 100; round += 1) {
    const damaged = Buffer.from(layer);
    damaged[4 + (random() % (damaged.byteLength - 4))]! ^= 1 + (random() % 255);
    await t.rejects(fixture.import(damaged, { diffId: sha256Digest('what it was') }), { name: 'TkadmError' });
  }
  t.strictSame(fixture.leftovers(), []);
});

t.test(
  'the decoder in JavaScript refuses a window that it would crawl through, libzstd takes it',
  { skip: zstdSkip },
  async (t) => {
    const text = makeText(4_000_000);
    const frame = execFileSync('sh', ['-c', 'cat | zstd -q -c --ultra -22 --long=27'], { input: text });
    t.equal(zstdWindowBytes(frame), 128 << 20);
    const small = text.subarray(0, 1_000_000);
    const whole = zstd(small, '-3', `--stream-size=${small.byteLength}`);
    t.equal(zstdWindowBytes(whole), 1_000_000, 'a single segment');
    t.equal(detectCompression(frame), 'zstd');
    t.throws(() => ZSTD_DECODERS.script(frame), { code: 'IMAGE_INVALID', message: /window of 134217728/ });
    t.same(await buffer(Readable.from([frame]).pipe(ZSTD_DECODERS.library()!)), text);
  },
);

t.test('every decoder of zstd reads the same, and refuses what is damaged', { skip: zstdSkip }, async (t) => {
  const text = makeText(3_000_000);
  const skippable = Buffer.from([0x50, 0x2a, 0x4d, 0x18, 4, 0, 0, 0, 1, 2, 3, 4]);
  const layer = Buffer.concat([zstd(text.subarray(0, 1_000_000)), skippable, zstd(text.subarray(1_000_000))]);
  for (const [name, create] of Object.entries(ZSTD_DECODERS)) {
    const decode = async (bytes: Buffer, step: number) => {
      const pieces = Array.from({ length: Math.ceil(bytes.byteLength / step) }, (_, index) =>
        bytes.subarray(index * step, (index + 1) * step),
      );
      const decoder = create(bytes);
      return decoder && buffer(Readable.from(pieces).pipe(decoder));
    };
    if (create(layer) === undefined) {
      t.comment(`no ${name}`);
      continue;
    }
    for (const step of [777, 1 << 16, layer.byteLength])
      t.same(await decode(layer, step), text, `${name}, ${step} bytes at a time`);
    await t.rejects(decode(layer.subarray(0, layer.byteLength - 100), 1000), name);
    const damaged = Buffer.from(layer);
    damaged.fill(0xff, 20, 60);
    await t.rejects(decode(damaged, 1 << 16), name);
  }
});

t.test('a layer keeps links, devices, attributes, holes and unusual names', { skip }, async (t) => {
  const source = join(t.testdir({}), 'source');
  mkdirSync(join(source, 'd'), { recursive: true });
  writeFileSync(join(source, 'd/file'), 'content', { mode: 0o4755 });
  linkSync(join(source, 'd/file'), join(source, 'second'));
  symlinkSync('../outside', join(source, 'soft'));
  execFileSync('mknod', [join(source, 'null'), 'c', '1', '3']);
  execFileSync('mknod', [join(source, 'disk'), 'b', '259', '70000']);
  execFileSync('mkfifo', [join(source, 'fifo')]);
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  const inodes = loadInodes();
  inodes.setxattr(join(source, 'd/file'), 'security.capability', capability);
  inodes.setxattr(join(source, 'd'), 'user.note', Buffer.alloc(1000, 'n'));
  for (const name of ['a b', 'new\nline', '-rf', '日本', 'Ünï', 'x'.repeat(255), '\\', '*']) {
    writeFileSync(join(source, name), name);
  }
  const huge = openSync(join(source, 'huge'), 'w');
  writeSync(huge, 'end', 9 * 2 ** 30);
  ftruncateSync(huge, 10 * 2 ** 30);
  closeSync(huge);
  chownSync(join(source, 'fifo'), 123, 456);
  utimesSync(join(source, 'd'), 1000, 1000);
  for (const format of ['gnu', 'posix']) {
    const flags = ['--xattrs', '--xattrs-include=*', '-S', `--format=${format}`, '--sort=name'];
    const tar = execFileSync(
      'tar',
      ['-c', ...(format === 'gnu' ? flags.slice(2) : flags), '-C', source, '.'],
      {
        maxBuffer: 1 << 28,
      },
    );
    const fixture = await openStoreFixture(t);
    const record = await fixture.import(gzipSync(tar));
    const root = fixture.diff(record);
    t.strictSame(readdirSync(root).sort(), readdirSync(source).sort(), format);
    t.equal(lstatSync(join(root, 'second')).ino, lstatSync(join(root, 'd/file')).ino, `${format}: hard link`);
    t.equal(lstatSync(join(root, 'd/file')).mode & 0o7777, 0o4755, `${format}: set-user-id`);
    t.equal(lstatSync(join(root, 'null')).rdev, lstatSync(join(source, 'null')).rdev, `${format}: device`);
    t.equal(
      lstatSync(join(root, 'disk')).rdev,
      lstatSync(join(source, 'disk')).rdev,
      `${format}: large numbers`,
    );
    t.match(lstatSync(join(root, 'fifo')), { uid: 123, gid: 456 }, `${format}: owner`);
    t.equal(lstatSync(join(root, 'd')).mtimeMs, 1_000_000, `${format}: time of a directory`);
    const { size, blocks } = statSync(join(root, 'huge'));
    t.equal(size, 10 * 2 ** 30, `${format}: a size that no octal field holds`);
    t.ok(blocks < 1000, `${format}: holes stay holes`);
    t.same(await buffer(await fixture.store.openLayer(record.diffId)), tar, `${format}: made again`);
    if (format === 'gnu') continue;
    t.same(inodes.attributes(join(root, 'd/file')).get('security.capability'), capability);
    t.equal(inodes.attributes(join(root, 'd')).get('user.note')?.byteLength, 1000);
  }
});

t.test('packFiles() makes the same layer of the same files', { skip }, async (t) => {
  const inodes = loadInodes();
  const digests = new Set<string>();
  for (const names of [
    ['b', 'a', 'c', 'ü'],
    ['ü', 'c', 'b', 'a'],
  ]) {
    const upper = join(t.testdir({ [names[0]!]: {} }), 'upper');
    mkdirSync(upper, { recursive: true });
    for (const name of names) {
      writeFileSync(join(upper, name), `content of ${name}`);
      inodes.setxattr(join(upper, name), 'user.z', Buffer.from('1'));
      inodes.setxattr(join(upper, name), 'user.a', Buffer.alloc(300, 0xff));
      utimesSync(join(upper, name), 5, 5);
    }
    linkSync(join(upper, 'a'), join(upper, 'hard'));
    execFileSync('mknod', [join(upper, 'gone'), 'c', '0', '0']);
    utimesSync(join(upper, 'gone'), 5, 5);
    const tar = await buffer(packFiles(readUpperDir(upper, inodes)));
    digests.add(sha256Digest(tar));
    const fixture = await openStoreFixture(t);
    const root = fixture.diff(await fixture.import(tar));
    t.equal(inodes.attributes(join(root, 'a')).get('user.a')?.byteLength, 300);
    t.equal(lstatSync(join(root, 'gone')).rdev, 0, 'a whiteout');
  }
  t.equal(digests.size, 1);
});

t.test('importLayer() refuses a name that is no UTF-8, by name', { skip }, async (t) => {
  const fixture = await openStoreFixture(t);
  const tar = tarOf([{ name: 'caf_', type: 'file' }]);
  tar[3] = 0xe9;
  const sum = tar
    .subarray(0, 512)
    .fill(0x20, 148, 156)
    .reduce((total, byte) => total + byte, 0);
  tar.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  await t.rejects(fixture.import(tar), { code: 'IMAGE_UNPACK', message: /"caf\ufffd" is no UTF-8/ });
});

t.test('addSingleLayerImage() keeps the files once', { skip }, async (t) => {
  const fixture = await openStoreFixture(t);
  const tar = tarOf([{ name: 'file', type: 'file', content: makeText(50_000) }]);
  const image = await addSingleLayerImage(fixture.store, tar, {
    architecture: 'amd64',
    names: ['one'],
    config: {},
  });
  const blobs = (await fixture.store.blobs.list()).map(
    (digest) => statSync(fixture.store.blobs.path(digest)).size,
  );
  t.equal(blobs.length, 2, 'configuration and manifest');
  t.ok(Math.max(...blobs) < 2000, 'no tar beside the files');
  t.same(await buffer(await fixture.store.openLayer(image.layers[0]!.diffId)), tar);
  await fixture.store.blobs.put(Readable.from([tar]));
  await fixture.store.sweep();
  t.equal((await fixture.store.blobs.list()).length, 2, 'a tar that an earlier version kept is removed');
  t.equal(readFileSync(join(fixture.store.lowerDirs(image)[0]!, 'file')).byteLength, 50_000);
});

t.test('remove() and tag() leave the images of the node bundle their names', { skip }, async (t) => {
  const { store, outside } = await openStoreFixture(t);
  const digest = sha256Digest('bundle');
  const config = { architecture: 'amd64', os: 'linux' };
  const names = ['tkadm.local/pause:1', 'tkadm.local/proxy:1'];
  const layer = { directory: outside, digest, diffId: digest, sizeBytes: 1 };
  const image = await store.registerDirectory({ ...layer, config, names });
  const refusal = {
    code: 'IMAGE_PINNED',
    message: /^Cannot remove image .*: it belongs to the node bundle$/,
  };
  for (const name of [...names, image.id, image.id.slice(7, 19)])
    await t.rejects(store.remove(name), refusal, name);
  await t.rejects(store.untag('tkadm.local/pause:1'), refusal);
  const tar = tarOf([{ name: 'file', type: 'file' }]);
  await addSingleLayerImage(store, tar, { architecture: 'amd64', names: ['own:1'], config: {} });
  await t.rejects(store.tag('own:1', 'tkadm.local/proxy:1'), refusal, 'another image does not get its name');
  await store.tag('tkadm.local/proxy:1', 'mine:1');
  await store.untag('mine:1');
  t.strictSame(store.resolve(image.id)?.repoTags, names);
});
