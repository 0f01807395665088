import { execFileSync } from 'node:child_process';
import {
  closeSync,
  ftruncateSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test } from 'tap';
import { isTkadmError } from '../../../runtime/base/errors.ts';
import { encodeTarHeader, TAR_END, type TarFile, tarPadding } from '../../../runtime/base/tar-header.ts';
import { readTar, type TarEntry, TarReader } from '../../../runtime/image/tar/tar-reader.ts';
import { seededRandom } from './random.ts';

interface ReadFile extends Omit<TarEntry, 'content'> {
  readonly text: string;
}

/** Pieces of an odd size, so that headers and contents are cut everywhere. */
async function* cut(archive: Buffer, bytes: number): AsyncGenerator<Uint8Array> {
  for (let offset = 0; offset < archive.byteLength; offset += bytes)
    yield archive.subarray(offset, offset + bytes);
}

async function readAll(archive: Buffer, pieceBytes = 700): Promise<readonly ReadFile[]> {
  const files: ReadFile[] = [];
  for await (const { content, ...entry } of readTar(cut(archive, pieceBytes))) {
    const pieces: Buffer[] = [];
    for await (const piece of content()) pieces.push(Buffer.from(piece));
    files.push({ ...entry, text: Buffer.concat(pieces).toString('latin1') });
  }
  return files;
}

const LONG = `${'a-long-directory-name/'.repeat(9)}${'file'.repeat(20)}`;

function makeFiles(t: Test): string {
  const root = t.testdir({ 'plain.txt': 'text\n', Ünïcödé: 'x', empty: '', exact: 'e'.repeat(1024) });
  mkdirSync(dirname(join(root, LONG)), { recursive: true });
  writeFileSync(join(root, LONG), 'far away');
  linkSync(join(root, 'plain.txt'), join(root, 'second-name'));
  symlinkSync(`${'t'.repeat(120)}/target`, join(root, 'soft'));
  execFileSync('mkfifo', [join(root, 'fifo')]);
  return root;
}

for (const format of ['gnu', 'oldgnu', 'pax', 'posix']) {
  t.test(`readTar() reads GNU tar's format ${format}`, async (t) => {
    const root = makeFiles(t);
    const archive = execFileSync(
      'tar',
      ['-c', `--format=${format}`, '--sort=name', '--numeric-owner', '-C', root, '.'],
      {
        maxBuffer: 1 << 24,
      },
    );
    for (const pieceBytes of [1, 511, 513, 1 << 16]) {
      const files = new Map((await readAll(archive, pieceBytes)).map((file) => [file.name, file]));
      t.match(files.get('./'), { type: 'directory' });
      t.match(files.get('./plain.txt'), { type: 'file', text: 'text\n', mode: 0o644 });
      t.match(files.get('./Ünïcödé'), { text: 'x' });
      t.match(files.get('./empty'), { sizeBytes: 0, text: '' });
      t.equal(files.get('./exact')?.text.length, 1024);
      t.match(files.get(`./${LONG}`), { text: 'far away' });
      t.match(files.get('./second-name'), { type: 'link', target: './plain.txt' });
      t.match(files.get('./soft'), { type: 'symlink', target: `${'t'.repeat(120)}/target` });
      t.match(files.get('./fifo'), { type: 'fifo' });
    }
  });
}

for (const [name, flags] of Object.entries({
  'old GNU': ['--format=gnu'],
  'pax 0.1': ['--format=posix', '--sparse-version=0.1'],
  'pax 1.0': ['--format=posix', '--sparse-version=1.0'],
})) {
  t.test(`readTar() reads sparse files, ${name}`, async (t) => {
    const root = t.testdir({});
    const file = openSync(join(root, 'holes'), 'w');
    // More pieces than a header of the old format holds.
    for (let index = 0; index < 30; index += 1) writeSync(file, `piece ${index}`, index * 100_000);
    ftruncateSync(file, 5_000_000);
    closeSync(file);
    const archive = execFileSync('tar', ['-c', '-S', ...flags, '-C', root, 'holes'], { maxBuffer: 1 << 26 });
    t.ok(archive.byteLength < 1_000_000, 'holes are not in the archive');
    const [read] = await readAll(archive);
    t.match(read, { name: 'holes', type: 'file', fileBytes: 5_000_000 });
    const whole = Buffer.alloc(5_000_000);
    let start = 0;
    for (const { offset, lengthBytes } of read?.pieces ?? []) {
      whole.write(read?.text.slice(start, start + lengthBytes) ?? '', offset, 'latin1');
      start += lengthBytes;
    }
    for (let index = 0; index < 30; index += 1) {
      t.equal(whole.toString('latin1', index * 100_000, index * 100_000 + 7), `piece ${index}`.slice(0, 7));
    }
  });
}

t.test('readTar() hands attributes on as bytes and passes global headers', async (t) => {
  const value = Buffer.from([1, 0, 0, 2, 0xff, 0x0a, 0x3d, 0x80]);
  const archive = Buffer.concat([
    encodeTarHeader({
      name: 'ping',
      type: 'file',
      mode: 0o755,
      attributes: new Map([['security.capability', value]]),
    }),
    TAR_END,
  ]);
  const [ping] = await readAll(archive);
  t.same(ping?.attributes.get('security.capability'), value);
  const records = Buffer.from('13 mtime=123\n');
  const global = Buffer.concat([
    withFlag(
      encodeTarHeader({ name: 'global', type: 'file', mode: 0o644, sizeBytes: records.byteLength }),
      'g',
    ),
    records,
    tarPadding(records.byteLength),
    encodeTarHeader({ name: 'first', type: 'file', mode: 0o644 }),
    encodeTarHeader({ name: 'second', type: 'file', mode: 0o644, mtimeSeconds: 0.5 }),
    TAR_END,
  ]);
  t.match(await readAll(global), [
    { name: 'first', mtimeSeconds: 123 },
    { name: 'second', mtimeSeconds: 0.5 },
  ]);
});

t.test('encodeTarHeader() is read the same by readTar() and by tar', async (t) => {
  const files: readonly (Partial<TarFile> & Pick<TarFile, 'name' | 'type' | 'mode'>)[] = [
    { name: `${LONG}/`, type: 'directory', mode: 0o1777 },
    { name: 'x'.repeat(300), type: 'file', mode: 0o4711, uid: 3_000_000, gid: 4_000_000 },
    { name: 'ü', type: 'symlink', mode: 0o777, target: 'ö'.repeat(60) },
    { name: 'time', type: 'file', mode: 0o600, mtimeSeconds: 1234.5 },
    { name: 'before', type: 'file', mode: 0o600, mtimeSeconds: -5 },
    { name: 'tty', type: 'character-device', mode: 0o666, major: 5, minor: 1 },
    { name: 'disk', type: 'block-device', mode: 0o660, major: 259, minor: 70_000 },
  ];
  const archive = Buffer.concat([...files.map(encodeTarHeader), TAR_END]);
  t.match(await readAll(archive), files);
  const listing = execFileSync('tar', ['-tv', '--numeric-owner', '--utc', '--quoting-style=literal'], {
    input: archive,
    encoding: 'utf8',
  });
  for (const line of [
    `${LONG}/`,
    `-rws--x--x 3000000/4000000 0 1970-01-01 00:00 ${'x'.repeat(300)}`,
    `ü -> ${'ö'.repeat(60)}`,
    'crw-rw-rw- 0/0 5,1 1970-01-01 00:00 tty',
    'brw-rw---- 0/0 259,70000 1970-01-01 00:00 disk',
  ]) {
    t.ok(listing.replaceAll(/ +/g, ' ').includes(line), line);
  }
});

t.test('TarReader has at once what has come, and waits for the rest', async (t) => {
  const header = (name: string) => encodeTarHeader({ name, type: 'file', mode: 0o644, sizeBytes: 5 });
  const archive = Buffer.concat([
    ...['one', 'two'].flatMap((name) => [header(name), Buffer.from('hello'), tarPadding(5)]),
    TAR_END,
  ]);
  const raw: Buffer[] = [];
  const reader = new TarReader(cut(archive, 1540), (bytes) => raw.push(Buffer.from(bytes)));
  t.equal(reader.nextNow(), undefined, 'nothing has come yet');
  const one = await reader.next();
  t.equal(one?.contentNow(4), undefined, 'longer than is asked for');
  t.equal(one?.contentNow(5)?.toString(), 'hello');
  const two = reader.nextNow();
  t.equal(two?.name, 'two');
  t.equal(two?.contentNow(5), undefined, 'its end is in the next piece');
  const pieces: Buffer[] = [];
  for await (const piece of two!.content()) pieces.push(Buffer.from(piece));
  t.same(pieces.map(String), ['hell', 'o']);
  t.equal(reader.nextNow(), undefined, 'the end is no entry');
  t.equal(await reader.next(), undefined);
  t.same(
    Buffer.concat(raw),
    Buffer.concat([archive.subarray(0, 512), archive.subarray(517, 1536), archive.subarray(1541)]),
  );
});

t.test('readTar() refuses what is no tar', async (t) => {
  const header = encodeTarHeader({ name: 'f', type: 'file', mode: 0o644, sizeBytes: 5 });
  for (const [what, archive] of Object.entries({
    'within a header': header.subarray(0, 100),
    'within a file': Buffer.concat([header, Buffer.from('ab')]),
    'wrong checksum': Buffer.concat([Buffer.alloc(600, 'x')]),
    'unknown type': Buffer.concat([withFlag(header, 'V'), Buffer.from('hello'), tarPadding(5), TAR_END]),
    'pax header is damaged': Buffer.concat([
      withFlag(header, 'x'),
      Buffer.from('hello'),
      tarPadding(5),
      TAR_END,
    ]),
    'gzip instead of tar': gzipSync(Buffer.alloc(1 << 16, 'noise')),
  })) {
    await t.rejects(readAll(archive), { code: 'IMAGE_UNPACK' }, what);
  }
});

t.test('readTar() survives random damage', async (t) => {
  const root = makeFiles(t);
  const archives = ['gnu', 'pax', 'ustar'].map((format) =>
    execFileSync('tar', ['-c', `--format=${format}`, '-C', root, 'plain.txt', 'exact', 'fifo', 'empty'], {
      maxBuffer: 1 << 24,
    }),
  );
  const random = seededRandom(20_261_121);
  let refused = 0;
  for (let round = 0; round < 600; round += 1) {
    const damaged = Buffer.from(archives[round % archives.length]!).subarray(0, 6000);
    for (let count = 1 + (random() % 4); count > 0; count -= 1) {
      damaged[random() % damaged.byteLength] = random() % 256;
    }
    // Half of them with fitting checksums, so that damage gets past the first check.
    if (round % 2 === 0) withSum(damaged.subarray(0, 512));
    try {
      await readAll(damaged.subarray(0, random() % 3 === 0 ? random() % damaged.byteLength : undefined));
    } catch (error) {
      refused += 1;
      if (!isTkadmError(error, 'IMAGE_UNPACK')) t.fail(`round ${round}: ${(error as Error).stack}`);
    }
  }
  t.ok(refused > 100 && refused < 600, `${refused} of 600 refused`);
});

/** The same header for another type of entry. */
function withFlag(header: Buffer, flag: string): Buffer {
  const changed = Buffer.from(header);
  changed.write(flag, 156);
  return withSum(changed);
}

/** Sets the checksum of a header. */
function withSum(header: Buffer): Buffer {
  header.fill(0x20, 148, 156);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return header;
}
