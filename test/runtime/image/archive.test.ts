import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import t, { type Test as TapTest } from 'tap';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { loadArchive } from '../../../runtime/image/archive.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { MEDIA_TYPES } from '../../../runtime/image/oci-image.ts';
import { type ImageRecord, type ImageStore, openImageStore } from '../../../runtime/image/store.ts';
import { hasSkopeo, skopeoCopy } from './registry.ts';
import { makeImage, makeIndex, makeTar, type SampleImage } from './sample.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const root = mkdtempSync('/tmp/tkadm-archive-');
t.teardown(() => rmSync(root, { recursive: true, force: true }));

async function openStore(t: TapTest): Promise<{ store: ImageStore; workDir: string }> {
  const directory = mkdtempSync(join(root, 'store-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const store = await openImageStore({ root: directory, log: SILENT_LOGGER });
  return { store, workDir: join(directory, 'tmp') };
}

async function load(
  t: TapTest,
  archive: Buffer,
): Promise<{ images: readonly ImageRecord[]; store: ImageStore; workDir: string }> {
  const { store, workDir } = await openStore(t);
  const images = await loadArchive(store, Readable.from([archive]), { workDir, architecture: 'amd64' });
  return { images, store, workDir };
}

function readHello(store: ImageStore, image: ImageRecord): string {
  return readFileSync(join(store.lowerDirs(image)[0]!, 'hello'), 'utf8');
}

function dockerArchive(image: SampleImage, tags: readonly string[] | null): Record<string, Buffer | string> {
  const manifest = [{ Config: 'config.json', RepoTags: tags, Layers: ['abc/layer.tar'] }];
  return {
    'config.json': image.config,
    'abc/': '',
    'def/': '',
    'abc/layer.tar': '→../def/layer.tar',
    'def/layer.tar': image.tar,
    'manifest.json': JSON.stringify(manifest),
  };
}

function ociLayout(image: SampleImage, annotations: Readonly<Record<string, string>>, index?: Buffer) {
  const bytes = index ?? image.manifest;
  const top = {
    mediaType: index ? MEDIA_TYPES.index : MEDIA_TYPES.manifest,
    digest: sha256Digest(bytes),
    size: bytes.length,
    annotations,
  };
  return {
    'oci-layout': '{"imageLayoutVersion":"1.0.0"}',
    'index.json': JSON.stringify({ schemaVersion: 2, manifests: [top] }),
    ...blobs(image.config, image.manifest, image.layer, bytes),
  };
}

function blobs(...contents: readonly Buffer[]): Record<string, Buffer> {
  return Object.fromEntries(
    contents.map((content) => [`blobs/${sha256Digest(content).replace(':', '/')}`, content]),
  );
}

t.test('loadArchive() adds the images of a docker-archive', { skip }, async (t) => {
  const image = await makeImage('docker');
  const archive = await makeTar(dockerArchive(image, ['a.example/x:1', 'busybox:2']));
  for (const [title, bytes] of [
    ['plain', archive],
    ['gzip', gzipSync(archive)],
  ] as const) {
    const { images, store, workDir } = await load(t, bytes);
    t.equal(images.length, 1, title);
    t.equal(images[0]!.id, image.configDigest, title);
    t.strictSame(images[0]!.repoTags, ['a.example/x:1', 'docker.io/library/busybox:2'], title);
    t.equal(readHello(store, images[0]!), 'docker', title);
    t.strictSame(readdirSync(workDir), [], 'no file is left');
  }
  const { images } = await load(t, await makeTar(dockerArchive(image, null)));
  t.strictSame(images[0]!.repoTags, [], 'an image without names');
});

t.test('loadArchive() adds the images of an OCI layout', { skip }, async (t) => {
  const image = await makeImage('oci');
  const rows = [
    ['containerd', { 'io.containerd.image.name': 'a.example/x:1' }, ['a.example/x:1']],
    ['full name', { 'org.opencontainers.image.ref.name': 'b:2' }, ['docker.io/library/b:2']],
    ['tag alone', { 'org.opencontainers.image.ref.name': 'latest' }, []],
  ] as const;
  for (const [title, annotations, tags] of rows) {
    const { images, store } = await load(t, await makeTar(ociLayout(image, annotations)));
    t.strictSame(images[0]!.repoTags, tags, title);
    t.equal(images[0]!.manifestDigest, image.manifestDigest, title);
    t.equal(readHello(store, images[0]!), 'oci', title);
  }
});

t.test('loadArchive() takes this platform of an index', { skip }, async (t) => {
  const [arm, amd] = [await makeImage('arm', 'arm64'), await makeImage('amd', 'amd64')];
  const index = makeIndex({ arm64: arm, amd64: amd });
  const layout = { ...ociLayout(amd, {}, index), ...blobs(arm.config, arm.manifest, arm.layer) };
  const { images, store } = await load(t, await makeTar(layout));
  t.equal(readHello(store, images[0]!), 'amd');
  const other = ociLayout(arm, {}, makeIndex({ arm64: arm, s390x: arm }));
  await t.rejects(load(t, await makeTar(other)), {
    code: 'IMAGE_INVALID',
    message: /linux\/amd64, only for linux\/arm64, linux\/s390x$/,
  });
});

t.test('loadArchive() refuses what it cannot trust', { skip }, async (t) => {
  const image = await makeImage('bad');
  const docker = dockerArchive(image, ['x']);
  const oci: Record<string, Buffer | string> = ociLayout(image, {});
  const blobName = (digest: string) => `blobs/${digest.replace(':', '/')}`;
  const otherTar = await makeTar({ hello: 'other' });
  const rows = [
    ['no image', { file: 'x' }, /neither manifest.json nor index.json/],
    ['path that leads out', { '../../escape': 'x' }, /a file named "\.\.\/\.\.\/escape"/],
    ['layer with another digest', { ...docker, 'def/layer.tar': otherTar }, /its digest is/],
    ['missing layer', { ...docker, 'abc/layer.tar': '→../gone' }, /"abc\/layer.tar" is not in it/],
    ['config with another digest', { ...oci, [blobName(image.configDigest)]: '{}' }, /its digest is/],
    ['manifest with another digest', { ...oci, [blobName(image.manifestDigest)]: '{}' }, /its digest is/],
    ['blob with another digest', { ...oci, [blobName(image.layerDigest)]: otherTar }, /its digest is/],
  ] as const;
  for (const [title, files, message] of rows) {
    await t.rejects(load(t, await makeTar(files)), { code: 'IMAGE_INVALID', message }, title);
  }
  await t.rejects(load(t, Buffer.alloc(0)), { code: 'IMAGE_INVALID' }, 'an empty archive');
  await t.rejects(load(t, Buffer.from('no tar at all'.repeat(100))), { code: 'IMAGE_INVALID' });
  const cut = (await makeTar(docker)).subarray(0, 3000);
  await t.rejects(load(t, cut), { code: 'IMAGE_INVALID' }, 'an archive cut short');
});

t.test(
  'loadArchive() reads what skopeo writes',
  { skip: skip || (hasSkopeo() ? false : 'needs skopeo') },
  async (t) => {
    const image = await makeImage('skopeo');
    const directory = mkdtempSync(join(root, 'skopeo-'));
    const source = join(directory, 'source.tar');
    // skopeo does not follow the link that old versions of Docker wrote.
    const { 'abc/layer.tar': _link, ...files } = dockerArchive(image, ['x:1']);
    const manifest = String(files['manifest.json']).replace('abc/layer.tar', 'def/layer.tar');
    writeFileSync(source, await makeTar({ ...files, 'manifest.json': manifest }));
    for (const kind of ['docker-archive', 'oci-archive'] as const) {
      const path = join(directory, `${kind}.tar`);
      skopeoCopy(`docker-archive:${source}`, `${kind}:${path}:a.example/copied:3`);
      const { store, workDir } = await openStore(t);
      const [loaded] = await loadArchive(store, createReadStream(path), { workDir, architecture: 'amd64' });
      t.strictSame(loaded!.repoTags, ['a.example/copied:3'], kind);
      t.equal(readHello(store, loaded!), 'skopeo', kind);
    }
  },
);
