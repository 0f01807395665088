import { execFileSync } from 'node:child_process';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t from 'tap';
import { layerDescriptor } from '../../runtime/image/archive.ts';
import { STORAGE_DRIVERS } from '../../runtime/image/container-files.ts';
import { MEDIA_TYPES } from '../../runtime/image/oci-image.ts';
import type { ImageStore } from '../../runtime/image/store.ts';
import { type CriFixture, openCriFixture, runContainer, runHostPod, skipReason } from './fixture.ts';

for (const storageDriver of STORAGE_DRIVERS)
  t.test(
    `image volumes show the layers of an image, or a part of them: driver ${storageDriver}`,
    { skip: skipReason },
    async (t) => {
      const fixture = await openCriFixture({ storageDriver });
      t.teardown(() => fixture.close());
      const tars = buildLayers(fixture);
      await addImage(fixture.runtime.images, tars, 'data');
      await addImage(fixture.runtime.images, tars.slice(0, 1), 'flat');
      const podSandboxId = await runHostPod(fixture);
      const { client } = fixture;
      let count = 0;
      const left = () => readdir(join(fixture.directory, 'root/containers'));
      const show = async (image: string, imageSubPath: string, script: string) => {
        count += 1;
        const containerId = await runContainer(fixture, podSandboxId, {
          metadata: { name: `c${count}` },
          command: ['sleep', '100'],
          mounts: [{ containerPath: '/data', image: { image }, imageSubPath }],
        });
        const { stdout } = await client.execSync({ containerId, cmd: ['sh', '-c', script] });
        await client.removeContainer({ containerId });
        return Buffer.from(stdout).toString();
      };
      t.equal(await show('data', '', 'cat /data/dir/a /data/dir/b; ls /data/dir'), 'new a\nold b\na\nb\n');
      t.equal(
        await show('data', 'dir', 'ls /data; touch /data/x 2>&1'),
        'a\nb\ntouch: /data/x: Read-only file system\n',
      );
      t.equal(await show('data', 'link', 'cat /data/a'), 'new a\n', 'a link within the image is followed');
      t.equal(await show('data', 'dir/b', 'cat /data'), 'old b\n', 'a file');
      t.equal(await show('flat', 'dir', 'cat /data/a /data/gone'), 'old a\ngone\n', 'one layer');
      const message = (path: string) => ({ message: new RegExp(`it has nothing at "${path}"`) });
      await t.rejects(
        show('data', 'dir/gone', 'true'),
        message('dir/gone'),
        'what a layer took away is not there',
      );
      await t.rejects(show('data', 'missing', 'true'), message('missing'));
      await t.rejects(show('none', '', 'true'), { message: /Cannot mount image "none": it is not there/ });
      t.same(await left(), [], 'no container has left files');
    },
  );

for (const storageDriver of STORAGE_DRIVERS)
  t.test(`an image volume outlives its image: driver ${storageDriver}`, { skip: skipReason }, async (t) => {
    const opened = await openCriFixture({ storageDriver });
    let fixture = opened;
    t.teardown(() => fixture.close());
    await addImage(fixture.runtime.images, buildLayers(fixture), 'data');
    const podSandboxId = await runHostPod(fixture);
    const containerId = await runContainer(fixture, podSandboxId, {
      metadata: { name: 'main' },
      command: ['sleep', '100'],
      mounts: [{ containerPath: '/data', image: { image: 'data' }, imageSubPath: 'dir' }],
    });
    const read = async () => {
      const cmd = ['sh', '-c', 'cat /data/a /data/b'];
      const { stdout } = await fixture.client.execSync({ containerId, cmd });
      return Buffer.from(stdout).toString();
    };
    await fixture.client.removeImage({ image: { image: 'data' } });
    await fixture.runtime.images.sweep({ isThorough: true });
    t.equal(await read(), 'new a\nold b\n');
    fixture = await fixture.restart();
    await fixture.runtime.images.sweep({ isThorough: true });
    t.equal(await read(), 'new a\nold b\n', 'and a restart of the runtime');
    const layers = join(fixture.directory, 'root/images/layers');
    const count = async () => (await readdir(layers)).length;
    const before = await count();
    await fixture.client.removeContainer({ containerId });
    await fixture.runtime.images.sweep({ isThorough: true });
    t.equal(await count(), before - 2, 'its layers go with the container');
  });

/** Two layers: the second changes "dir/a" and takes "dir/gone" away. */
function buildLayers({ directory }: CriFixture): readonly Buffer[] {
  const write = (layer: string, files: Readonly<Record<string, string>>) => {
    mkdirSync(join(directory, layer, 'dir'), { recursive: true });
    for (const [name, text] of Object.entries(files))
      writeFileSync(join(directory, layer, 'dir', name), text);
    if (layer === 'one') symlinkSync('dir', join(directory, layer, 'link'));
    return execFileSync('tar', ['-C', join(directory, layer), '-c', '.']);
  };
  return [
    write('one', { a: 'old a\n', b: 'old b\n', gone: 'gone\n' }),
    write('two', { a: 'new a\n', '.wh.gone': '' }),
  ];
}

async function addImage(store: ImageStore, tars: readonly Buffer[], name: string): Promise<void> {
  const layers = [];
  for (const tar of tars) layers.push(await store.importLayer(Readable.from([tar])));
  const rootfs = { type: 'layers', diff_ids: layers.map(({ diffId }) => diffId) };
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs }));
  const { digest } = await store.blobs.put(Readable.from([config]));
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: { mediaType: MEDIA_TYPES.config, digest, size: config.byteLength },
    layers: layers.map(layerDescriptor),
  };
  await store.putManifest({
    manifest: Buffer.from(JSON.stringify(manifest)),
    config,
    names: [name],
    isPinned: false,
  });
}
