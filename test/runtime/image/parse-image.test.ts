import t from 'tap';
import { isTkadmError } from '../../../runtime/base/errors.ts';
import { sha256Digest } from '../../../runtime/image/blobs.ts';
import { MEDIA_TYPES } from '../../../runtime/image/oci-image.ts';
import {
  parseImageConfig,
  parseManifest,
  parseManifestDocument,
} from '../../../runtime/image/parse-image.ts';
import { seededRandom } from './random.ts';

const digest = sha256Digest('x');
const descriptor = { mediaType: MEDIA_TYPES.layerTarGzip, digest, size: 5 };
const manifest = {
  schemaVersion: 2,
  config: { ...descriptor, mediaType: MEDIA_TYPES.config },
  layers: [descriptor],
};
const config = {
  architecture: 'amd64',
  os: 'linux',
  config: { Env: ['A=b'], Cmd: null, Labels: { a: 'b' }, ExposedPorts: { '80/tcp': {} } },
  rootfs: { type: 'layers', diff_ids: [digest] },
  history: [{ created_by: 'x' }],
};
const index = {
  mediaType: MEDIA_TYPES.index,
  manifests: [{ ...descriptor, platform: { os: 'linux', architecture: 'amd64' } }],
};

const bytes = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value));

t.test('parseManifest() names what is wrong', (t) => {
  t.same(parseManifest(bytes(manifest), 'x'), manifest);
  const layerOf = (change: object) => ({ ...manifest, layers: [descriptor, { ...descriptor, ...change }] });
  const rows = [
    ['{', /its manifest is no JSON/],
    ['[]', /its manifest is no object/],
    [{ schemaVersion: 1, fsLayers: [] }, /old schema 1/],
    [{ ...manifest, config: undefined }, /its configuration has no descriptor/],
    [{ ...manifest, layers: {} }, /its manifest has no layers/],
    [{ ...manifest, layers: Array.from({ length: 501 }, () => descriptor) }, /501 layers, 500 are possible/],
    [layerOf({ digest: 'sha512:00' }), /layer 2 has the digest "sha512:00": only sha256/],
    [layerOf({ digest: 'sha256:../../etc/passwd' }), /layer 2 has the digest/],
    [layerOf({ size: -1 }), /layer 2 has no size/],
    [layerOf({ size: '5' }), /layer 2 has no size/],
    [
      layerOf({ mediaType: 'application/vnd.cncf.helm.chart.content.v1.tar+gzip' }),
      /layer 2 is of the type "app/,
    ],
    [layerOf({ mediaType: `${MEDIA_TYPES.layerTarGzip}+encrypted` }), /layer 2 is of the type "app/],
  ] as const;
  for (const [value, message] of rows) {
    t.throws(() => parseManifest(bytes(value), 'a/b:1'), { code: 'IMAGE_INVALID', message });
    t.throws(() => parseManifest(bytes(value), 'a/b:1'), { message: /^Cannot use image "a\/b:1": / });
  }
  t.end();
});

t.test('parseImageConfig() names what is wrong', (t) => {
  t.same(parseImageConfig(bytes(config), 'x'), config);
  const rows = [
    [{ ...config, rootfs: undefined }, /no list of layers/],
    [{ ...config, rootfs: { diff_ids: ['../../etc'] } }, /no list of layers/],
    [{ ...config, config: { Env: 'A=b' } }, /"config.Env" of its configuration is of the wrong kind/],
    [{ ...config, config: { Cmd: [1] } }, /"config.Cmd"/],
    [{ ...config, config: { Labels: { a: 1 } } }, /"config.Labels"/],
    [{ ...config, history: [1] }, /"history"/],
  ] as const;
  for (const [value, message] of rows) {
    t.throws(() => parseImageConfig(bytes(value), 'x'), { code: 'IMAGE_INVALID', message });
  }
  t.end();
});

t.test('the parsers of images survive random damage', (t) => {
  const random = seededRandom(1);
  const values: readonly unknown[] = [null, 1, -1, '', [], {}, true, 'x'.repeat(300), [null], { a: null }];
  /** The document with one value in it replaced by something else. */
  const change = (value: unknown): unknown => {
    if (typeof value !== 'object' || value === null || random() % 4 === 0)
      return values[random() % values.length];
    const keys = Object.keys(value);
    const key = keys[random() % Math.max(keys.length, 1)];
    if (key === undefined) return values[random() % values.length];
    const changed = change((value as Record<string, unknown>)[key]);
    return Array.isArray(value) ? value.with(Number(key), changed) : { ...value, [key]: changed };
  };
  const parsers = [
    [manifest, parseManifest],
    [index, parseManifestDocument],
    [config, parseImageConfig],
  ] as const;
  let refused = 0;
  for (let round = 0; round < 6000; round += 1) {
    const [document, parse] = parsers[round % parsers.length]!;
    const text = bytes(change(document));
    if (random() % 5 === 0) text[random() % text.byteLength] = random() % 256;
    try {
      parse(text, 'x');
    } catch (error) {
      refused += 1;
      if (!isTkadmError(error, 'IMAGE_INVALID')) t.fail(`${text}: ${(error as Error).stack}`);
    }
  }
  t.ok(refused > 1000 && refused < 6000, `${refused} of 6000 refused`);
  t.end();
});
