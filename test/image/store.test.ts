import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { type Header, pack } from 'tar-stream';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { encodeTarHeader, TAR_END } from '../../runtime/base/tar-header.ts';
import { addSingleLayerImage, registerBundle } from '../../runtime/image/builtin-images.ts';
import { loadInodes } from '../../runtime/image/inodes.ts';
import { normalizeReference } from '../../runtime/image/reference.ts';
import { openImageStore } from '../../runtime/image/store.ts';

const skip = process.getuid?.() !== 0 ? 'needs root' : false;

t.test('normalizeReference() is Docker’s', (t) => {
  const digest = `sha256:${'a'.repeat(64)}`;
  for (const [text, full] of [
    ['busybox', 'docker.io/library/busybox:latest'],
    ['me/app:1', 'docker.io/me/app:1'],
    ['index.docker.io/x', 'docker.io/library/x:latest'],
    ['localhost/x', 'localhost/x:latest'],
    ['reg:5000/a/b', 'reg:5000/a/b:latest'],
    ['tkadm.local/pause:3.10', 'tkadm.local/pause:3.10'],
    [`a.b/c@${digest}`, `a.b/c@${digest}`],
    [`a.b/c:t@${digest}`, `a.b/c:t@${digest}`],
  ]) {
    t.equal(normalizeReference(text!), full);
  }
  for (const text of ['', 'UPPER', 'a b', 'a//b', 'x:', 'x@sha256:12', '-/x', 'a/../b']) {
    t.throws(() => normalizeReference(text), { code: 'IMAGE_REFERENCE_INVALID' }, text);
  }
  t.end();
});

t.test('layers', { skip }, async (t) => {
  const root = t.testdir({ outside: { victim: 'untouched' } });
  const store = await openImageStore({ root: join(root, 'store'), log: SILENT_LOGGER });
  const add = async (name: string, tar: Uint8Array) => {
    const image = await addSingleLayerImage(store, tar, { architecture: 'amd64', names: [name], config: {} });
    return { image, diff: store.lowerDirs(image)[0]! };
  };

  t.test('importLayer() keeps modes, owners, times and hard links', async (t) => {
    const { diff } = await add(
      'a',
      gzipSync(
        await tarOf([
          [{ name: 'd/', type: 'directory', mode: 0o750, uid: 5, mtime: new Date(1e12) }],
          [{ name: 'd/f', mode: 0o4755, uid: 7, gid: 8, mtime: new Date(1.1e12) }, 'text'],
          [{ name: 'd/hard', type: 'link', linkname: 'd/f' }],
          [{ name: 'soft', type: 'symlink', linkname: '/etc/passwd' }],
        ]),
      ),
    );
    const file = lstatSync(join(diff, 'd/f'));
    t.match(file, { uid: 7, gid: 8, nlink: 2, mtimeMs: 1.1e12 });
    t.equal(file.mode & 0o7777, 0o4755);
    t.match(lstatSync(join(diff, 'd')), { uid: 5, mtimeMs: 1e12 });
    t.ok(lstatSync(join(diff, 'soft')).isSymbolicLink());
  });

  t.test('importLayer() never leaves the layer', async (t) => {
    const { diff } = await add(
      'evil',
      await tarOf([
        [{ name: 'link', type: 'symlink', linkname: join(root, 'outside') }],
        [{ name: 'link/victim' }, 'overwritten'],
        [{ name: 'up', type: 'symlink', linkname: '../../../../..' }],
        [{ name: `up${root}/outside/new` }, 'escaped'],
        [{ name: '/absolute' }, 'inside'],
      ]),
    );
    t.equal(readFileSync(join(root, 'outside/victim'), 'utf8'), 'untouched');
    t.same(readdirSync(join(root, 'outside')), ['victim']);
    t.equal(readFileSync(join(diff, 'absolute'), 'utf8'), 'inside');
    for (const entries of [
      [[{ name: '../out' }, 'x']],
      [[{ name: 'a/../../out' }, 'x']],
      [[{ name: 'h', type: 'link', linkname: '../../outside/victim' }]],
      [[{ name: 'h', type: 'link', linkname: 'missing' }]],
    ] as readonly (readonly TarEntry[])[]) {
      await t.rejects(store.importLayer(Readable.from([await tarOf(entries)])), { code: 'IMAGE_UNPACK' });
    }
    await t.rejects(
      store.importLayer(Readable.from([gzipSync('no tar at all, but long enough').subarray(0, 20)])),
    );
    t.same(readdirSync(join(root, 'store/tmp')), []);
  });

  t.test('openLayer() gives the tar back byte by byte', async (t) => {
    const source = t.testdir({ a: 'x'.repeat(70_000), d: { b: '', c: 'text' } });
    execFileSync('truncate', ['-s', '3M', join(source, 'holes')]);
    for (const format of ['gnu', 'posix']) {
      const tar = execFileSync('tar', ['-c', '-S', `--format=${format}`, '-C', source, '.'], {
        maxBuffer: 1 << 25,
      });
      const layer = await store.importLayer(Readable.from([gzipSync(tar)]));
      const pieces: Buffer[] = [];
      for await (const piece of await store.openLayer(layer.diffId)) pieces.push(piece as Buffer);
      t.ok(Buffer.concat(pieces).equals(tar), format);
      t.equal(lstatSync(join(store.lowerDirsOf([layer.diffId])[0]!, 'holes')).blocks, 0, 'holes stay holes');
    }
    const twice = await tarOf([
      [{ name: 'f' }, 'first'],
      [{ name: 'f' }, 'second'],
    ]);
    const { diffId } = await store.importLayer(Readable.from([twice]));
    t.equal(readFileSync(join(store.lowerDirsOf([diffId])[0]!, 'f'), 'utf8'), 'second');
    await t.rejects(store.openLayer(diffId), { code: 'IMAGE_INVALID', message: /a file twice/ });
  });

  t.test('importLayer() sets binary attributes', async (t) => {
    const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
    const attributes = new Map([['security.capability', capability]]);
    const tar = [encodeTarHeader({ name: 'ping', type: 'file', mode: 0o755, attributes }), TAR_END];
    const { diffId } = await store.importLayer(Readable.from([Buffer.concat(tar)]));
    const path = join(store.lowerDirsOf([diffId])[0]!, 'ping');
    t.equal(loadInodes().getxattr(path, 'security.capability'), capability.toString('latin1'));
  });

  t.test('importLayer() turns whiteouts into overlay’s form', async (t) => {
    const { diff } = await add(
      'whiteouts',
      await tarOf([
        [{ name: 'd/.wh.gone' }, ''],
        [{ name: 'o/.wh..wh..opq' }, ''],
        [{ name: '.wh.kept' }, ''],
        [{ name: 'kept' }, 'own entry wins'],
      ]),
    );
    const gone = lstatSync(join(diff, 'd/gone'));
    t.ok(gone.isCharacterDevice() && gone.rdev === 0);
    t.notOk(existsSync(join(diff, 'o/.wh..wh..opq')));
    t.equal(readFileSync(join(diff, 'kept'), 'utf8'), 'own entry wins');
  });

  t.test('names move, layers stay as long as someone needs them', async (t) => {
    const first = await add('app:1', await tarOf([[{ name: 'one' }, '1']]));
    const second = await add('app:1', await tarOf([[{ name: 'two' }, '2']]));
    t.equal(store.resolve('app:1')?.id, second.image.id);
    t.same(store.resolve(first.image.id)?.repoTags, []);
    store.retain('container', [first.diff]);
    await store.remove(first.image.id);
    t.ok(existsSync(join(first.diff, 'one')), 'a container holds the layer');
    await store.release('container');
    t.notOk(existsSync(first.diff));
    await store.remove('app:1');
    await store.remove('app:1');
    t.notOk(existsSync(second.diff));
    const reopened = await openImageStore({ root: join(root, 'store'), log: SILENT_LOGGER });
    t.notOk(reopened.resolve('app:1'));
    t.equal(reopened.resolve('whiteouts')?.id, store.resolve('whiteouts')?.id, 'records survive');
  });

  t.test('registerBundle() uses the directory in place', async (t) => {
    const bundle = join(root, 'bundle');
    mkdirSync(join(bundle, 'rootfs'), { recursive: true });
    const write = (digit: string, version = 'v1.36.2') =>
      writeFileSync(
        join(bundle, 'image.json'),
        JSON.stringify({
          layer: {
            digest: `sha256:${digit.repeat(64)}`,
            diffId: `sha256:${digit.repeat(64)}`,
            sizeBytes: 9,
            rootfs: 'rootfs',
          },
          names: [`tkadm.local/kube-apiserver:${version}`, `tkadm.local/coredns:${version}`],
          config: { Env: ['PATH=/usr/bin'] },
        }),
      );
    write('1');
    const image = (await registerBundle(store, bundle, 'amd64'))!;
    t.same(store.lowerDirs(image), [join(bundle, 'rootfs')]);
    t.match(image, { isPinned: true, sizeBytes: 9, config: { config: { Env: ['PATH=/usr/bin'] } } });
    write('2');
    const next = await registerBundle(store, bundle, 'amd64');
    t.equal(store.resolve('tkadm.local/coredns:v1.36.2')?.id, next?.id);
    t.notOk(store.resolve(image.id), 'the image of the earlier bundle is forgotten');
    t.equal(store.findProgram('tkadm.local/coredns:v1.40.0')?.id, next?.id, 'a program in another version');
    for (const name of ['tkadm.local/etcd:v1.36.2', 'docker.io/tkadm.local/coredns', 'coredns', next!.id])
      t.equal(store.findProgram(name), undefined, name);
    await store.remove('tkadm.local/coredns:v1.40.0');
    t.ok(store.resolve(next!.id), 'whose name removes nothing');
    await t.rejects(store.remove(next!.id), { code: 'IMAGE_PINNED' });
    write('3', 'v1.37.0');
    const newest = await registerBundle(store, bundle, 'amd64');
    t.equal(store.resolve('tkadm.local/coredns:v1.36.2')?.id, next?.id, 'two versions side by side');
    await store.remove(next!.id);
    t.equal(store.resolve('tkadm.local/coredns:v1.36.2'), undefined, 'that of the version before can go');
    t.equal(store.findProgram('tkadm.local/coredns:v1.36.2')?.id, newest?.id);
    t.ok(existsSync(join(bundle, 'rootfs')), 'the directory is not the store’s');
  });
});

type TarEntry = readonly [Partial<Header> & { readonly name: string }, string?];

async function tarOf(entries: readonly TarEntry[]): Promise<Buffer> {
  const tar = pack();
  for (const [header, text] of entries) {
    if (header.type === undefined || header.type === 'file') tar.entry(header, text ?? '');
    else tar.entry(header);
  }
  tar.finalize();
  const chunks: Uint8Array[] = [];
  for await (const chunk of tar) chunks.push(chunk as Uint8Array);
  return Buffer.concat(chunks);
}
