import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import t from 'tap';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { ByteDigest, sha256Digest } from '../../../runtime/image/blobs.ts';
import { BuildCache } from '../../../runtime/image/build/cache.ts';
import { addSingleLayerImage } from '../../../runtime/image/builtin-images.ts';
import { MEDIA_TYPES } from '../../../runtime/image/oci-image.ts';
import { createRegistryPuller } from '../../../runtime/image/pull.ts';
import { RegistryClient } from '../../../runtime/image/registry.ts';
import { type ImageStore, openImageStore } from '../../../runtime/image/store.ts';
import { tarOf } from './layer-fixture.ts';
import { seededRandom } from './random.ts';
import { registrySkip, startRegistry } from './registry.ts';

const skip = process.getuid?.() === 0 ? registrySkip : 'needs root';
const ROUNDS = 20;
const WORKER = fileURLToPath(new URL('store-worker.ts', import.meta.url));

/** An image of some layers with many files, in the registry. */
async function pushImage(host: string): Promise<string> {
  const client = new RegistryClient({ host, repository: 'many', isPlainHttp: true });
  const tars = Array.from({ length: 5 }, (_, layer) =>
    tarOf(
      Array.from({ length: 200 }, (_, file) => ({
        name: `layer${layer}/dir${file % 10}/file${file}`,
        type: 'file' as const,
        content: `${layer} ${file} `.repeat(2000),
      })),
    ),
  );
  const layers = tars.map((tar) => gzipSync(tar, { level: 1 }));
  const diffIds = tars.map((tar) => sha256Digest(tar));
  const config = Buffer.from(
    JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs: { type: 'layers', diff_ids: diffIds } }),
  );
  for (const blob of [config, ...layers]) await client.pushBlob(sha256Digest(blob), blob);
  const describe = (mediaType: string, blob: Buffer) => {
    return { mediaType, digest: sha256Digest(blob), size: blob.byteLength };
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: describe(MEDIA_TYPES.config, config),
    layers: layers.map((layer) => describe(MEDIA_TYPES.layerTarGzip, layer)),
  };
  await client.pushManifest('1', MEDIA_TYPES.manifest, Buffer.from(JSON.stringify(manifest)));
  client.close();
  return `${host}/many:1`;
}

/** Starts the worker and kills it some milliseconds after it has told so many steps. */
async function workAndKill(args: readonly string[], steps: number, afterMs: number): Promise<void> {
  const child = spawn(process.execPath, ['--import=tsx', WORKER, ...args], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const exited = new Promise<NodeJS.Signals | null>((resolve) =>
    child.once('exit', (_, signal) => resolve(signal)),
  );
  const arrived = new Promise<void>((resolve) => {
    let count = 0;
    child.stdout.on('data', (dots: Buffer) => {
      count += dots.byteLength;
      if (count >= steps) resolve();
    });
  });
  await Promise.race([arrived, exited]);
  await sleep(afterMs);
  child.kill('SIGKILL');
  if ((await exited) !== 'SIGKILL') throw new Error('the worker ended by itself');
}

/** What is wrong with a store: every image's blobs and layers are read and compared with their digests. */
async function findDamage(root: string, store: ImageStore): Promise<readonly string[]> {
  const wrong: string[] = [];
  const check = async (what: string, digest: string, content: AsyncIterable<Uint8Array>) => {
    const meter = new ByteDigest();
    for await (const _ of meter.through(content));
    if (meter.result().digest !== digest) wrong.push(`${what} ${digest}`);
  };
  for (const image of store.list()) {
    for (const digest of [image.id, image.manifestDigest!])
      await check('blob', digest, store.blobs.open(digest));
    for (const { diffId } of image.layers) await check('layer', diffId, await store.openLayer(diffId));
  }
  const names = (directory: string) => readdirSync(join(root, directory));
  wrong.push(...names('tmp').map((name) => `left tmp/${name}`));
  for (const directory of ['records', 'build-cache', 'blobs/sha256', 'layers']) {
    wrong.push(
      ...names(directory)
        .filter((name) => /tmp/.test(name))
        .map((name) => `left ${directory}/${name}`),
    );
  }
  for (const name of names('layers')) {
    const files = ['diff', 'layer.json', 'skeleton.gz'].filter(
      (file) => !existsSync(join(root, 'layers', name, file)),
    );
    wrong.push(...files.map((file) => `missing ${file} of layer ${name}`));
  }
  const blobs = new Set(store.list().flatMap(({ id, manifestDigest }) => [id, manifestDigest]));
  wrong.push(
    ...(await store.blobs.list()).filter((blob) => !blobs.has(blob)).map((blob) => `unused blob ${blob}`),
  );
  return wrong;
}

t.test('a store survives kill -9 at any moment of pulls and builds', { skip }, async (t) => {
  const directory = mkdtempSync('/tmp/tkadm-kill-');
  t.teardown(() => rmSync(directory, { recursive: true, force: true }));
  const registry = await startRegistry({ directory: join(directory, 'registry') });
  t.teardown(() => registry.close());
  const name = await pushImage(registry.host);
  const context = join(directory, 'context');
  mkdirSync(context);
  for (let index = 0; index < 100; index += 1)
    writeFileSync(join(context, `file${index}`), `${index}`.repeat(1000));
  const root = join(directory, 'images');
  const open = async () => {
    const store = await openImageStore({ root, log: SILENT_LOGGER });
    const now = () => new Date();
    const places = { directory: join(root, 'build-cache'), mountDirectory: join(root, 'build-mounts') };
    await new BuildCache({ ...places, store, now }).load();
    await store.sweep();
    return store;
  };
  const tar = tarOf([{ name: 'kept', type: 'file', content: 'kept' }]);
  await addSingleLayerImage(await open(), tar, { architecture: 'amd64', names: ['kept:1'], config: {} });
  const random = seededRandom(42);
  const states = new Set<string>();
  for (let round = 0; round < ROUNDS; round += 1) {
    await workAndKill([root, name, context], 1 + (random() % 45), random() % 20);
    const half = readdirSync(join(root, 'tmp')).map((left) => left.replace(/-.*/, ''));
    states.add(`${half.sort().join(' ')}; ${readdirSync(join(root, 'records')).length}`);
    const store = await open();
    t.strictSame(await findDamage(root, store), [], `round ${round}`);
    t.ok(store.resolve('kept:1'), 'no image is lost');
    const puller = createRegistryPuller({ store, architecture: 'amd64', registriesPath: join(root, 'none') });
    const image = await puller.pull(name);
    t.equal(image.layers.length, 5);
    if (round === ROUNDS - 1) t.strictSame(await findDamage(root, store), [], 'after the last pull');
    else await store.remove(name);
    await store.blobs.put(Readable.from([Buffer.from('left')]), sha256Digest('left'));
  }
  t.ok(states.size > 1, `it was killed in different states: ${[...states].join(' | ')}`);
});
