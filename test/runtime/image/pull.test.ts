import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import t, { type Test as TapTest } from 'tap';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { listIndex } from '../../../runtime/image/image-index.ts';
import { MEDIA_TYPES } from '../../../runtime/image/oci-image.ts';
import { createRegistryPuller, type PullProgress, type RegistryPuller } from '../../../runtime/image/pull.ts';
import { pushImage } from '../../../runtime/image/push.ts';
import { RegistryClient } from '../../../runtime/image/registry.ts';
import { type ImageRecord, type ImageStore, openImageStore } from '../../../runtime/image/store.ts';
import {
  freePort,
  hasSkopeo,
  registrySkip,
  skopeoCopy,
  startRegistry,
  type TestRegistry,
} from './registry.ts';
import { makeImage, makeIndex, makeTar, type SampleImage } from './sample.ts';

const skip = process.getuid?.() === 0 ? registrySkip : 'needs root';
const root = mkdtempSync('/tmp/tkadm-pull-');
const data = join(root, 'registry');
let registry: TestRegistry;
let image: SampleImage;

t.before(async () => {
  if (skip) return;
  image = await makeImage('from the registry');
  registry = await startRegistry({ directory: data });
  await push('apps/hello', '1', image);
});
t.teardown(async () => {
  await registry?.close();
  rmSync(root, { recursive: true, force: true });
});

function clientOf(repository: string): RegistryClient {
  return new RegistryClient({ host: registry.host, repository, isPlainHttp: true });
}

async function push(
  repository: string,
  reference: string,
  { config, configDigest, layer, layerDigest, manifest }: SampleImage,
) {
  const client = clientOf(repository);
  for (const [digest, bytes] of [
    [configDigest, config],
    [layerDigest, layer],
  ] as const) {
    if (!(await client.hasBlob(digest))) await client.pushBlob(digest, bytes);
  }
  await client.pushManifest(reference, MEDIA_TYPES.manifest, manifest);
}

async function openPuller(
  t: TapTest,
  registries?: object,
): Promise<{ store: ImageStore; puller: RegistryPuller }> {
  const directory = mkdtempSync(join(root, 'store-'));
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const registriesPath = join(directory, 'registries.json');
  if (registries) writeFileSync(registriesPath, JSON.stringify(registries));
  const store = await openImageStore({ root: directory, log: SILENT_LOGGER });
  return { store, puller: createRegistryPuller({ store, architecture: 'amd64', registriesPath }) };
}

function readHello(store: ImageStore, record: ImageRecord): string {
  return readFileSync(join(store.lowerDirs(record)[0]!, 'hello'), 'utf8');
}

t.test('createRegistryPuller() pulls by tag and by digest', { skip }, async (t) => {
  const { store, puller } = await openPuller(t);
  const name = `${registry.host}/apps/hello`;
  const steps: PullProgress[] = [];
  const pulled = await puller.pull(`${name}:1`, { onProgress: (step) => steps.push(step) });
  t.equal(pulled.id, image.configDigest);
  t.strictSame(pulled.repoTags, [`${name}:1`]);
  t.strictSame(pulled.repoDigests, [`${name}@${image.manifestDigest}`]);
  t.equal(readHello(store, pulled), 'from the registry');
  t.strictSame(
    steps.map((step) => [step.digest, step.state]),
    [
      [image.layerDigest, 'pulling'],
      [image.layerDigest, 'done'],
    ],
  );
  const again = await puller.pull(`${name}@${image.manifestDigest}`, {
    onProgress: (step) => steps.push(step),
  });
  t.equal(again.id, pulled.id);
  t.equal(steps.at(-1)?.state, 'present', 'a layer that is there is not fetched again');
  t.equal(store.resolve(`${name}@${image.manifestDigest}`)?.id, pulled.id);
});

t.test('createRegistryPuller() follows a tag that moved', { skip }, async (t) => {
  const { store, puller } = await openPuller(t);
  const name = `${registry.host}/apps/moving:latest`;
  await push('apps/moving', 'latest', image);
  const first = await puller.pull(name);
  await push('apps/moving', 'latest', await makeImage('second'));
  const second = await puller.pull(name);
  t.equal(readHello(store, second), 'second');
  t.equal(store.resolve(name)?.id, second.id);
  t.strictSame(store.resolve(first.id)?.repoTags, []);
});

t.test('createRegistryPuller() takes this platform of an index', { skip }, async (t) => {
  const { store, puller } = await openPuller(t);
  const [arm, amd] = [await makeImage('arm', 'arm64'), await makeImage('amd', 'amd64')];
  for (const sample of [arm, amd]) await push('apps/both', sample.manifestDigest, sample);
  await clientOf('apps/both').pushManifest('1', MEDIA_TYPES.index, makeIndex({ arm64: arm, amd64: amd }));
  await clientOf('apps/both').pushManifest('arm', MEDIA_TYPES.index, makeIndex({ arm64: arm }));
  const pulled = await puller.pull(`${registry.host}/apps/both:1`);
  t.equal(readHello(store, pulled), 'amd');
  await t.rejects(puller.pull(`${registry.host}/apps/both:arm`), {
    code: 'IMAGE_INVALID',
    message: /not for linux\/amd64, only for linux\/arm64$/,
  });
});

t.test('pushImage() makes an index again of an image pulled with all platforms', { skip }, async (t) => {
  const { store, puller } = await openPuller(t);
  const [arm, amd] = [await makeImage('arm', 'arm64'), await makeImage('amd', 'amd64')];
  for (const sample of [arm, amd]) await push('apps/all', sample.manifestDigest, sample);
  const index = makeIndex({ arm64: arm, amd64: amd });
  await clientOf('apps/all').pushManifest('1', MEDIA_TYPES.index, index);
  const name = `${registry.host}/apps/all:1`;
  const pulled = await puller.pull(name, { hasAllPlatforms: true });
  t.equal(readHello(store, pulled), 'amd', "the name is that of the machine's");
  t.equal(readHello(store, store.resolve(arm.configDigest)!), 'arm', 'the other one is there as well');
  t.match(listIndex(store, pulled.index!), [
    { platform: 'linux/arm64', id: arm.configDigest },
    { platform: 'linux/amd64', id: amd.configDigest },
  ]);
  await store.sweep();
  const copy = `${registry.host}/copies/all:2`;
  await store.tag(name, copy);
  const options = { store, workDir: join(root, 'push'), usesPlainHttp: true };
  t.equal((await pushImage(copy, options)).digest, sha256Digest(index), 'the same index');
  const { bytes, mediaType } = await clientOf('copies/all').fetchManifest('2');
  t.same(bytes, index);
  t.equal(mediaType, MEDIA_TYPES.index);
  const other = await openPuller(t);
  const again = await other.puller.pull(copy, { architecture: 'arm64' });
  t.equal(readHello(other.store, again), 'arm', 'from where it was pushed to');

  await store.remove(arm.configDigest);
  const message = `Cannot push "${copy}": its image for linux/arm64 was removed`;
  await t.rejects(pushImage(copy, options), { code: 'IMAGE_NOT_FOUND', message });
  await puller.pull(name, { hasAllPlatforms: true });
  await store.remove(amd.configDigest);
  t.notOk(store.resolve(arm.configDigest), 'the images of an index go together');
});

t.test('an index is pulled without what is no image for Linux', { skip }, async (t) => {
  const { store, puller } = await openPuller(t);
  const amd = await makeImage('amd', 'amd64');
  await push('apps/attested', amd.manifestDigest, amd);
  const own = JSON.parse(makeIndex({ amd64: amd }).toString()) as { manifests: object[] };
  const client = clientOf('apps/attested');
  const unknown = { platform: { os: 'unknown', architecture: 'unknown' } };
  const index = { ...own, manifests: [...own.manifests, { ...own.manifests[0], ...unknown }] };
  await client.pushManifest('1', MEDIA_TYPES.index, Buffer.from(JSON.stringify(index)));
  const name = `${registry.host}/apps/attested:1`;
  await puller.pull(name, { hasAllPlatforms: true });
  const options = { store, workDir: join(root, 'push'), usesPlainHttp: true };
  const pushed = await pushImage(name, options);
  t.same(JSON.parse((await client.fetchManifest('1')).bytes.toString()), own);
  t.equal(pushed.digest, (await client.fetchManifest('1')).digest);
});

t.test('createRegistryPuller() says what is missing', { skip }, async (t) => {
  const { puller } = await openPuller(t);
  const nowhere = `127.0.0.1:${await freePort()}`;
  await t.rejects(puller.pull(`${registry.host}/apps/hello:none`), {
    code: 'IMAGE_NOT_FOUND',
    message: /MANIFEST_UNKNOWN/,
  });
  await t.rejects(puller.pull(`${registry.host}/no/such:1`), { code: 'IMAGE_NOT_FOUND' });
  await t.rejects(puller.pull(`${nowhere}/apps/hello:1`), {
    code: 'REGISTRY_UNREACHABLE',
    message: /Cannot reach registry "127\.0\.0\.1:\d+": .*ECONNREFUSED/,
  });
  await t.rejects(puller.pull('Not A Name'), { code: 'IMAGE_REFERENCE_INVALID' });
});

t.test('createRegistryPuller() refuses content with another digest', { skip }, async (t) => {
  const { store, puller } = await openPuller(t);
  const spoiled = await makeImage('spoiled');
  await push('apps/spoiled', '1', spoiled);
  const hex = spoiled.layerDigest.slice('sha256:'.length);
  const blob = join(data, 'data/docker/registry/v2/blobs/sha256', hex.slice(0, 2), hex, 'data');
  t.ok(existsSync(blob));
  writeFileSync(blob, gzipSync(await makeTar({ hello: 'other' })));
  await t.rejects(puller.pull(`${registry.host}/apps/spoiled:1`), { code: 'IMAGE_INVALID' });
  t.strictSame(store.list(), []);
  await store.sweep();
  t.equal(store.resolve(`${registry.host}/apps/spoiled:1`), undefined);
});

t.test('createRegistryPuller() shares a pull and ends it with its last caller', { skip }, async (t) => {
  const { store, puller } = await openPuller(t);
  const name = `${registry.host}/apps/hello:1`;
  const abort = new AbortController();
  const cancelled = puller.pull(name, { signal: abort.signal });
  const other = puller.pull(name);
  abort.abort(new Error('gone'));
  await t.rejects(cancelled, { message: 'gone' });
  t.equal((await other).id, image.configDigest, 'the other caller still gets it');
  t.equal(store.list().length, 1);
  await t.rejects(puller.pull(name, { signal: AbortSignal.abort(new Error('never')) }), { message: 'never' });
});

t.test('createRegistryPuller() asks the mirrors first', { skip }, async (t) => {
  const nowhere = `127.0.0.1:${await freePort()}`;
  const { store, puller } = await openPuller(t, {
    mirrors: { 'registry.example': [nowhere, registry.host] },
  });
  const pulled = await puller.pull('registry.example/apps/hello:1');
  t.strictSame(pulled.repoTags, ['registry.example/apps/hello:1']);
  t.equal(readHello(store, pulled), 'from the registry');
  const bad = await openPuller(t, { mirror: {} });
  await t.rejects(bad.puller.pull('a.example/x'), { code: 'IMAGE_REGISTRIES_INVALID' });
});

t.test(
  'createRegistryPuller() pulls what skopeo pushed',
  { skip: skip || (hasSkopeo() ? false : 'needs skopeo') },
  async (t) => {
    const sample = await makeImage('by skopeo');
    const archive = join(root, 'source.tar');
    const manifest = JSON.stringify([{ Config: 'config.json', RepoTags: ['x:1'], Layers: ['layer.tar'] }]);
    writeFileSync(
      archive,
      await makeTar({ 'config.json': sample.config, 'layer.tar': sample.tar, 'manifest.json': manifest }),
    );
    for (const format of ['v2s2', 'oci']) {
      skopeoCopy(`docker-archive:${archive}`, `docker://${registry.host}/skopeo/${format}:1`, [
        '--format',
        format,
      ]);
      const { store, puller } = await openPuller(t);
      const pulled = await puller.pull(`${registry.host}/skopeo/${format}:1`);
      t.equal(readHello(store, pulled), 'by skopeo', format);
    }
  },
);

/** "user:secret" as htpasswd(1) writes it with bcrypt. */
const HTPASSWD = 'user:$2y$05$abcdefghijklmnopqrstuuOQiyCxlgf/oeuTqixKmWdcYUh4Hjl0a\n';

t.test('createRegistryPuller() proves who it is with Basic', { skip }, async (t) => {
  const closed = await startRegistry({ directory: join(root, 'closed'), htpasswd: HTPASSWD });
  t.teardown(() => closed.close());
  const { puller } = await openPuller(t);
  const name = `${closed.host}/private/x:1`;
  await t.rejects(puller.pull(name), { code: 'REGISTRY_DENIED' });
  const wrong = { username: 'user', password: 'wrong' };
  await t.rejects(puller.pull(name, { auth: wrong }), { code: 'REGISTRY_DENIED' });
  const right = { username: 'user', password: 'secret' };
  await t.rejects(puller.pull(name, { auth: right }), { code: 'IMAGE_NOT_FOUND' }, 'let in, nothing there');
});

/** A registry in front of the real one that wants a bearer token of its own token server. */
async function startTokenRegistry(t: TapTest) {
  const seen: string[] = [];
  const server = createServer(async (request, response) => {
    const url = new URL(request.url ?? '', `http://${host}`);
    const { authorization = '' } = request.headers;
    if (url.pathname === '/token') {
      let body = '';
      for await (const chunk of request) body += chunk;
      const form = new URLSearchParams(body);
      const basic = Buffer.from(authorization.replace('Basic ', ''), 'base64').toString();
      seen.push(`${request.method} ${url.searchParams.get('scope') ?? form.get('scope')}`);
      const isGood = basic === 'user:secret' || form.get('refresh_token') === 'identity';
      if (!isGood) return response.writeHead(401).end();
      const key = request.method === 'POST' ? 'access_token' : 'token';
      return response.end(JSON.stringify({ [key]: 'good' }));
    }
    if (authorization !== 'Bearer good' && authorization !== 'Bearer direct') {
      const challenge = `Bearer realm="http://${host}/token",service="s",scope="repository:apps/hello:pull"`;
      return response.writeHead(401, { 'www-authenticate': challenge }).end();
    }
    const upstream = await fetch(`http://${registry.host}${url.pathname}`, {
      headers: { accept: request.headers.accept ?? '*/*' },
    });
    response.writeHead(upstream.status, { 'content-type': upstream.headers.get('content-type') ?? '' });
    return response.end(Buffer.from(await upstream.arrayBuffer()));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.teardown(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as { port: number };
  const host = `127.0.0.1:${port}`;
  return { host, seen };
}

t.test('createRegistryPuller() proves who it is with every form of CRI', { skip }, async (t) => {
  const { host, seen } = await startTokenRegistry(t);
  const rows = [
    ['password', { username: 'user', password: 'secret' }, ['GET repository:apps/hello:pull']],
    ['auth', { auth: Buffer.from('user:secret').toString('base64') }, ['GET repository:apps/hello:pull']],
    ['identity token', { identityToken: 'identity' }, ['POST repository:apps/hello:pull']],
    ['registry token', { registryToken: 'direct' }, []],
  ] as const;
  for (const [title, auth, requests] of rows) {
    seen.length = 0;
    const { puller } = await openPuller(t);
    t.equal((await puller.pull(`${host}/apps/hello:1`, { auth })).id, image.configDigest, title);
    t.strictSame(seen, requests, title);
  }
  const { puller } = await openPuller(t);
  await t.rejects(puller.pull(`${host}/apps/hello:1`), { code: 'REGISTRY_DENIED' }, 'without');
});
