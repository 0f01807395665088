import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import type { EventText } from '../../runtime/agent/events.ts';
import {
  bytesToFree,
  type Candidate,
  chooseForSpace,
  findOld,
  ImageCollector,
  type ImageCollectorOptions,
} from '../../runtime/agent/image-collector.ts';
import { defaultKubeletConfig, parseKubeletConfig } from '../../runtime/agent/kubelet-config.ts';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { addSingleLayerImage } from '../../runtime/image/builtin-images.ts';
import { type CriFixture, openCriFixture, runContainer, runHostPod, skipReason } from '../cri/fixture.ts';
import { tarOf } from '../runtime/image/layer-fixture.ts';

const SETTINGS = { highPercent: 85, lowPercent: 80, minAgeMs: 1000, maxAgeMs: 0 };

t.test('parseKubeletConfig() reads when images are collected', (t) => {
  const read = (lines: string) => parseKubeletConfig(lines, 'x').config.imageGc;
  const defaults = { highPercent: 85, lowPercent: 80, minAgeMs: 120_000, maxAgeMs: 0 };
  t.same(defaultKubeletConfig().imageGc, defaults);
  t.same(read('imageGCHighThresholdPercent: 50\nimageGCLowThresholdPercent: 0\nimageMaximumGCAge: 1h'), {
    ...defaults,
    highPercent: 50,
    lowPercent: 0,
    maxAgeMs: 3_600_000,
  });
  for (const lines of [
    'imageGCHighThresholdPercent: 80',
    'imageGCHighThresholdPercent: 101',
    'imageGCLowThresholdPercent: -1',
    'imageMaximumGCAge: 1m',
  ])
    t.throws(() => read(lines), { code: 'AGENT_CONFIG_INVALID' }, lines);
  t.end();
});

t.test('bytesToFree() begins at the high threshold and ends at the low one', (t) => {
  const rows = [
    [1000, 160, 0],
    [1000, 151, 49],
    [1000, 150, 50],
    [1000, 0, 200],
    [0, 0, 0],
  ] as const;
  for (const [capacityBytes, availableBytes, expected] of rows)
    t.equal(bytesToFree({ capacityBytes, availableBytes }, SETTINGS), expected, String(availableBytes));
  t.equal(bytesToFree({ capacityBytes: 10, availableBytes: 1 }, { ...SETTINGS, highPercent: 100 }), 0);
  t.end();
});

t.test('chooseForSpace() and findOld() take what was used the longest time ago', (t) => {
  const candidate = (id: string, usedAtMs: number, detectedAtMs: number): Candidate => ({
    image: { id, size: 10 },
    usedAtMs,
    detectedAtMs,
  });
  const candidates = [
    candidate('recent', 900, 0),
    candidate('never', 0, 500),
    candidate('older', 100, 0),
    candidate('new', 0, 1500),
  ];
  const ids = (list: readonly Candidate[]) => list.map(({ image }) => image.id);
  const choose = (toFreeBytes: number) =>
    ids(chooseForSpace(candidates, { settings: SETTINGS, nowMs: 2000, toFreeBytes }));
  t.same(choose(5), ['never']);
  t.same(choose(11), ['never', 'older']);
  t.same(choose(1000), ['never', 'older', 'recent'], 'the new one is too young');
  const old = (maxAgeMs: number) => ids(findOld(candidates, { ...SETTINGS, maxAgeMs }, 2000));
  t.same(old(1499), ['never', 'older']);
  t.same(old(0), []);
  t.end();
});

const MIB = 2 ** 20;

/** An image of the store with so much in it, that nothing can compress. */
async function addImage({ runtime }: CriFixture, name: string, bytes: number): Promise<string> {
  const tar = tarOf([{ name: 'data', type: 'file', content: randomBytes(bytes) }]);
  const options = { architecture: 'amd64', names: [name], config: { Cmd: ['/data'] }, isPinned: false };
  return (await addSingleLayerImage(runtime.images, tar, options)).id;
}

function collectorOf(fixture: CriFixture, options: Partial<ImageCollectorOptions> = {}) {
  const events: EventText[] = [];
  const collector = new ImageCollector({
    cri: fixture.client,
    settings: { ...SETTINGS, minAgeMs: 0 },
    now: () => Date.now(),
    record: (text) => events.push(text),
    log: SILENT_LOGGER,
    ...options,
  });
  return { collector, events };
}

t.test('ImageCollector frees a disk that is full', { skip: skipReason }, async (t) => {
  const root = mkdtempSync('/tmp/tkadm-images-');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', root]);
  t.teardown(() => {
    execFileSync('umount', [root]);
    rmSync(root, { recursive: true });
  });
  const fixture = await openFixture(t, root);
  const { collector, events } = collectorOf(fixture);
  const first = await addImage(fixture, 'test/first:1', 24 * MIB);
  t.same(await collector.collect(), [], 'enough is free');
  const second = await addImage(fixture, 'test/second:1', 24 * MIB);
  await addImage(fixture, 'test/third:1', 8 * MIB);
  t.same(await collector.collect(), [first], 'the one that is there for the longest time');
  const { images } = await fixture.client.listImages({});
  t.ok(images.some(({ id }) => id === second));
  t.same(await collector.collect(), [], 'enough is free again');
  t.same(events, []);
});

t.test('ImageCollector spares what is pinned or in use', { skip: skipReason }, async (t) => {
  const fixture = await openFixture(t);
  const { client } = fixture;
  const full = async () => ({ capacityBytes: 1000, availableBytes: 0 });
  const { collector, events } = collectorOf(fixture, { readSpace: full });
  const used = await addUsable(fixture);
  const unused = await addImage(fixture, 'test/unused:1', 1000);
  const podSandboxId = await runHostPod(fixture);
  const containerId = await runContainer(fixture, podSandboxId, {
    image: { image: 'test/used:1' },
    command: ['/bin/busybox', 'true'],
  });
  const names = async () => (await client.listImages({})).images.flatMap(({ repoTags }) => repoTags).sort();
  const before = await names();
  t.same(await collector.collect(), [unused]);
  t.same(
    await names(),
    before.filter((name) => name !== 'docker.io/test/unused:1'),
  );
  t.same(await collector.collect(), []);
  t.match(events.at(-1), {
    reason: 'FreeDiskSpaceFailed',
    message: /free 200 bytes, but only found 0 bytes/,
  });
  await client.removeContainer({ containerId });
  t.same(await collector.collect(), [used], 'without its container it is unused');
});

async function openFixture(t: Test, root?: string): Promise<CriFixture> {
  const fixture = await openCriFixture(root === undefined ? {} : { root: join(root, 'store') });
  t.teardown(() => fixture.close());
  return fixture;
}

/** An image that a container can run. */
async function addUsable({ runtime }: CriFixture): Promise<string> {
  const directories = ['dev', 'proc', 'sys', 'etc', 'tmp', 'bin'].map((name) => `./${name}`);
  const tar = execFileSync(
    'sh',
    [
      '-c',
      `d=$(mktemp -d) && cd $d && mkdir -p ${directories.join(' ')} && cp /bin/busybox bin && tar -c . && rm -r $d`,
    ],
    { maxBuffer: 1e9 },
  );
  const options = { architecture: 'amd64', names: ['test/used:1'], config: {}, isPinned: false };
  return (await addSingleLayerImage(runtime.images, tar, options)).id;
}
