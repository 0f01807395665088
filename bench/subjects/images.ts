import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { sha256Digest } from '../../runtime/image/blobs.ts';
import { PIECE_BYTES } from '../../runtime/image/decompress.ts';
import { MEDIA_TYPES } from '../../runtime/image/oci-image.ts';
import { createRegistryPuller } from '../../runtime/image/pull.ts';
import { RegistryClient } from '../../runtime/image/registry.ts';
import { type ImageStore, openImageStore } from '../../runtime/image/store.ts';
import { seededRandom } from '../../test/runtime/image/random.ts';
import { registrySkip, startRegistry, type TestRegistry } from '../../test/runtime/image/registry.ts';
import { type Bench, type Subject, timed } from '../measure.ts';

const INODE_REST_MS = 6000;
const LAYERS = 4;
const FILES = 1000;
const FILE_BYTES = 50_000;
/** More than the windows of gzip and zstd -3 reach back to. */
const DISTINCT_TEXTS = 200;
/** Compressions of the image, with the flag by which tar reads it. */
const KINDS = [
  { kind: 'plain', suffix: 'tar', compress: undefined, tarFlags: [] },
  { kind: 'gzip', suffix: 'tar.gz', compress: ['gzip', '-6', '-k'], tarFlags: ['-z'] },
  { kind: 'zstd', suffix: 'tar.zst', compress: ['zstd', '-q', '-3', '-k'], tarFlags: ['--zstd'] },
] as const;

/** Layers of an image unpacked, and pulled from a registry on this machine, beside tar. */
export const imagesSubject: Subject = {
  name: 'images',
  rows: [
    ...KINDS.flatMap(({ kind }) => [
      {
        key: `unpack.${kind}`,
        what: `200 MB in ${LAYERS} layers unpacked (${kind}): speed of tar x`,
        unit: '%' as const,
        isRate: true,
        ...(kind === 'zstd' ? {} : { bar: 70 }),
      },
      { key: `unpack.${kind}.cpu`, what: `CPU of that, user and system (${kind})`, unit: 'ms' as const },
    ]),
    {
      key: 'pull.200',
      what: '200 MB in gzip from a local registry, pulled: speed of tar x',
      unit: '%',
      isRate: true,
      bar: 70,
    },
    {
      key: 'pull.39',
      what: 'an image of 39 MB in gzip from a local registry',
      unit: 'ms',
      bar: 738,
      peers: 'containerd 738',
    },
  ],
  async run(bench) {
    const layers = makeLayers(bench);
    for (let sample = 0; sample < Math.min(bench.samples, 5); sample += 1) {
      for (const row of KINDS) await measureUnpack(bench, row, layers);
      if (registrySkip) bench.note(`pull: ${registrySkip}`);
      else await measurePulls(bench, layers);
      await emptyTrash(bench);
    }
  },
};

/** Files of words, which compress as programs do: paths of the layers without their suffix. */
function makeLayers({ scratch }: Bench): readonly string[] {
  const random = seededRandom(1);
  const words = Array.from({ length: 4000 }, () => random().toString(36));
  const makeText = () =>
    Array.from({ length: FILE_BYTES / 5 }, () => words[random() % words.length]!).join(' ');
  const texts = Array.from({ length: DISTINCT_TEXTS }, () => makeText().slice(0, FILE_BYTES));
  return Array.from({ length: LAYERS }, (_, layer) => {
    const path = join(scratch, `layer${layer}`);
    for (let file = 0; file < FILES; file += 1) {
      const directory = join(path, `dir${file % 50}`);
      mkdirSync(directory, { recursive: true });
      writeFileSync(join(directory, `file${file}`), texts[random() % texts.length]!);
    }
    execFileSync('tar', ['-C', path, '-cf', `${path}.tar`, '.']);
    rmSync(path, { recursive: true });
    for (const { compress } of KINDS)
      if (compress) execFileSync(compress[0], [...compress.slice(1), `${path}.tar`]);
    return path;
  });
}

async function measureUnpack(
  bench: Bench,
  { kind, suffix, tarFlags }: (typeof KINDS)[number],
  layers: readonly string[],
): Promise<void> {
  const paths = layers.map((path) => `${path}.${suffix}`).filter((path) => existsSync(path));
  const tarMs = await unpackWithTar(bench, paths, tarFlags);
  await withStore(bench, async (store) => {
    const before = process.cpuUsage();
    const { ms } = await timed(async () => {
      for (const path of paths)
        await store.importLayer(createReadStream(path, { highWaterMark: PIECE_BYTES }));
    });
    const { user, system } = process.cpuUsage(before);
    bench.record(`unpack.${kind}`, (100 * tarMs) / ms);
    bench.record(`unpack.${kind}.cpu`, (user + system) / 1000);
  });
}

async function unpackWithTar(
  { scratch }: Bench,
  paths: readonly string[],
  flags: readonly string[],
): Promise<number> {
  const target = join(scratch, 'tar');
  const { ms } = await timed(async () => {
    for (const [index, path] of paths.entries()) {
      mkdirSync(join(target, String(index)), { recursive: true });
      execFileSync('tar', ['-x', ...flags, '-C', join(target, String(index)), '-f', path]);
    }
  });
  putAside(scratch, target);
  return ms;
}

async function measurePulls(bench: Bench, layers: readonly string[]): Promise<void> {
  const paths = layers.map((path) => `${path}.tar.gz`);
  const registry = await startRegistry({ directory: join(bench.scratch, 'registry') });
  try {
    await push(registry, '200', layers);
    await push(registry, '39', layers.slice(0, 1));
    const tarMs = await unpackWithTar(bench, paths, ['-z']);
    bench.record('pull.200', (100 * tarMs) / (await pull(bench, registry, '200')));
    bench.record('pull.39', await pull(bench, registry, '39'));
  } finally {
    await registry.close();
  }
}

async function pull(bench: Bench, { host }: TestRegistry, tag: string): Promise<number> {
  return withStore(bench, async (store) => {
    const registriesPath = join(bench.scratch, 'no-registries');
    const puller = createRegistryPuller({ store, architecture: 'amd64', registriesPath });
    return (await timed(() => puller.pull(`${host}/bench:${tag}`))).ms;
  });
}

async function push({ host }: TestRegistry, tag: string, layers: readonly string[]): Promise<void> {
  const client = new RegistryClient({ host, repository: 'bench', isPlainHttp: true });
  const describe = (mediaType: string, bytes: Buffer) => {
    return { mediaType, digest: sha256Digest(bytes), size: bytes.byteLength };
  };
  const blobs = layers.map((path) => readFileSync(`${path}.tar.gz`));
  const diffIds = layers.map((path) => sha256Digest(readFileSync(`${path}.tar`)));
  const rootfs = { type: 'layers', diff_ids: diffIds };
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', rootfs }));
  for (const blob of [config, ...blobs]) {
    if (!(await client.hasBlob(sha256Digest(blob)))) await client.pushBlob(sha256Digest(blob), blob);
  }
  const manifest = {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.manifest,
    config: describe(MEDIA_TYPES.config, config),
    layers: blobs.map((blob) => describe(MEDIA_TYPES.layerTarGzip, blob)),
  };
  await client.pushManifest(tag, MEDIA_TYPES.manifest, Buffer.from(JSON.stringify(manifest)));
  client.close();
}

async function withStore<T>({ scratch }: Bench, work: (store: ImageStore) => Promise<T>): Promise<T> {
  const root = join(scratch, 'store');
  try {
    return await work(await openImageStore({ root, log: SILENT_LOGGER }));
  } finally {
    putAside(scratch, root);
  }
}

/**
 * Files are removed between samples alone: ext4 gives an inode out again after 5 s at the earliest, and each new file
 * has to pass by all those that are younger.
 */
function putAside(scratch: string, path: string): void {
  const trash = join(scratch, 'trash');
  mkdirSync(trash, { recursive: true });
  renameSync(path, join(trash, randomUUID()));
}

async function emptyTrash({ scratch }: Bench): Promise<void> {
  rmSync(join(scratch, 'trash'), { recursive: true, force: true });
  await sleep(INODE_REST_MS);
}
