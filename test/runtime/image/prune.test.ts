import { existsSync, readdirSync, utimesSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { formatPull } from '../../../bootstrap/commands/pull-progress.ts';
import { callImages } from '../../../runtime/cri/image-client.ts';
import { BuildCache } from '../../../runtime/image/build/cache.ts';
import { runContainer, runHostPod, skipReason as skip } from '../../cri/fixture.ts';
import { type ImageFixture, openImageFixture } from './fixture.ts';
import { openStoreFixture, tarOf } from './layer-fixture.ts';

const DOCKERFILE =
  'FROM busybox AS first\nUSER 0\nRUN echo built > /made\nFROM scratch\nCOPY --from=first /made /\n';
const cached = (lines: readonly string[]) => lines.filter((line) => line.includes('from the cache')).length;

async function open(t: Test): Promise<ImageFixture> {
  const fixture = await openImageFixture();
  t.teardown(() => fixture.close());
  return fixture;
}

t.test('the build cache outlives images and the runtime, until it is pruned', { skip }, async (t) => {
  const fixture = await open(t);
  const context = fixture.writeContext({ Dockerfile: DOCKERFILE });
  t.equal(cached((await fixture.build(context)).lines), 0);
  await callImages(fixture.socketPath, 'remove', { name: 'test/built:1' });
  t.equal(cached((await fixture.build(context)).lines), 2, 'also the layer that no image has ever had');
  Object.assign(fixture.cri, await fixture.cri.restart());
  t.equal(cached((await fixture.build(context)).lines), 2, 'after a restart');
  const cache = join(fixture.cri.directory, 'root/images/build-cache');
  t.equal(readdirSync(cache).length, 2);
  const body = { all: true, buildCache: true };
  const pruned = await callImages(fixture.socketPath, 'prune', { body });
  t.match(pruned, { images: [{ repoTags: ['docker.io/test/built:1'] }], cachedSteps: 2 });
  t.ok(pruned.freedBytes > 0);
  t.strictSame(readdirSync(cache), []);
  t.ok(fixture.cri.runtime.images.resolve('busybox'), 'pinned images stay');
  t.equal(cached((await fixture.build(context)).lines), 0, 'built anew');
});

t.test('prune removes what has no name; with all what no container uses', { skip }, async (t) => {
  const fixture = await open(t);
  const { client, runtime } = fixture.cri;
  for (const name of ['nameless', 'unused', 'used']) {
    await fixture.build(fixture.writeContext({ Dockerfile: `FROM busybox\nCOPY file /\n`, file: name }), {
      tags: [name],
    });
  }
  const nameless = runtime.images.resolve('nameless')!;
  await runtime.images.untag('nameless');
  const pod = await runHostPod(fixture.cri, 'prune');
  const command = ['/bin/busybox', 'sleep', '60'];
  const containerId = await runContainer(fixture.cri, pod, { image: { image: 'used' }, command });
  const prune = (all: boolean) =>
    callImages(fixture.socketPath, 'prune', { body: { all, buildCache: false } });
  t.strictSame(
    (await prune(false)).images.map(({ id }) => id),
    [nameless.id],
  );
  t.strictSame((await prune(false)).images, []);
  t.strictSame(
    (await prune(true)).images.map(({ repoTags }) => repoTags),
    [['docker.io/library/unused:latest']],
  );
  t.ok(runtime.images.resolve('used'));
  await client.stopContainer({ containerId, timeout: 0 });
  await client.removeContainer({ containerId });
  t.equal((await prune(true)).images.length, 1, 'after its container');
});

t.test('BuildCache forgets the idle, and the oldest of too much', { skip }, async (t) => {
  const { store, root } = await openStoreFixture(t);
  const layers = [];
  for (const name of ['a', 'b', 'c']) {
    const { Readable } = await import('node:stream');
    const tar = tarOf([{ name, type: 'file', content: name.repeat(1000) }]);
    layers.push(await store.importLayer(Readable.from([tar])));
  }
  const directory = join(root, 'build-cache');
  let time = Date.UTC(2026, 0, 1);
  const openCache = async () => {
    const limits = { maxBytes: 2500, maxIdleMs: 60_000 };
    const places = { directory, mountDirectory: join(root, 'mounts'), store, limits };
    const cache = new BuildCache({ ...places, now: () => new Date(time) });
    await cache.load();
    return cache;
  };
  const cache = await openCache();
  for (const [index, { diffId }] of layers.entries()) {
    time += 1000;
    await cache.put(`key${index}`, { diffId, createdAt: new Date(time).toISOString() });
    if (index === 1) await cache.get('key0');
  }
  t.strictSame(readdirSync(directory).sort(), ['key0', 'key2'], 'the one used longest ago is too much');
  for (const name of readdirSync(directory)) utimesSync(join(directory, name), time / 1000, time / 1000);
  t.ok(await (await openCache()).get('key2'));
  time += 120_000;
  t.equal(await (await openCache()).get('key0'), undefined, 'idle for too long');
  t.notOk(existsSync(join(directory, 'key0')));
});

t.test('formatPull() shows layers, bytes and rate', (t) => {
  const layer = { digest: 'x', sizeBytes: 20_000_000 };
  const layers = [
    { ...layer, state: 'present', doneBytes: 20_000_000 },
    { ...layer, state: 'done', doneBytes: 20_000_000 },
    { ...layer, state: 'pulling', doneBytes: 5_000_000 },
  ] as const;
  t.equal(formatPull(layers, 500), '2 of 3 layers, 45.0MB of 60.0MB, 50.0MB/s');
  t.equal(formatPull([], 0), '0 of 0 layers, 0B of 0B, 0B/s');
  t.end();
});
