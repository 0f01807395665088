import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import t from 'tap';
import { layerDescriptor, putImage } from '../../../runtime/image/archive.ts';
import { runContainer, runHostPod, skipReason } from '../../cri/fixture.ts';
import { openImageFixture } from './fixture.ts';
import { tarOf } from './layer-fixture.ts';

const LAYERS = 200;

t.test('a container has an image of more layers than mount options hold', { skip: skipReason }, async (t) => {
  const fixture = await openImageFixture();
  t.teardown(() => fixture.close());
  const { client, runtime } = fixture.cri;
  const { images } = runtime;
  const base = images.resolve('busybox')!;
  const layers = await Promise.all(base.layers.map(({ diffId }) => images.layer(diffId)));
  for (let index = 1; index <= LAYERS; index += 1) {
    const entries = [
      { name: `files/${index}`, type: 'file', content: `${index}` },
      { name: 'files/last', type: 'file', content: `${index}` },
    ] as const;
    layers.push(await images.importLayer(Readable.from([tarOf(entries)])));
  }
  const config = {
    ...base.config,
    rootfs: { type: 'layers', diff_ids: layers.map((layer) => layer!.diffId) },
  };
  const image = await putImage(images, {
    config: Buffer.from(JSON.stringify(config)),
    layers: layers.map((layer) => layerDescriptor(layer!)),
    names: ['many:1'],
  });
  t.equal(readFileSync(join(images.lowerDirs(image)[0]!, 'files/last'), 'utf8'), `${LAYERS}`);
  const pod = await runHostPod(fixture.cri, 'many');
  const containerId = await runContainer(fixture.cri, pod, {
    image: { image: 'many:1' },
    command: ['/bin/busybox', 'sleep', '60'],
  });
  const count = async () => {
    const cmd = ['/bin/busybox', 'sh', '-c', 'ls /files | wc -l; cat /files/last'];
    return Buffer.from((await client.execSync({ containerId, cmd, timeout: 10 })).stdout).toString();
  };
  t.equal(await count(), `${LAYERS + 1}\n${LAYERS}`);
  await images.remove('many:1');
  t.equal(await count(), `${LAYERS + 1}\n${LAYERS}`, 'an image that is removed stays while it is in use');
  t.ok(await images.layer(layers.at(-1)!.diffId));
  await client.stopContainer({ containerId, timeout: 0 });
  await client.removeContainer({ containerId });
  t.equal(await images.layer(layers.at(-1)!.diffId), undefined, 'and goes with its last container');
});
