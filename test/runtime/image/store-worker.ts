// Pulls, builds and removes images until it is killed; tells each step. Arguments: store, name to pull, build context.
import { join } from 'node:path';
import { SILENT_LOGGER } from '../../../runtime/base/log.ts';
import { buildImage } from '../../../runtime/image/build/build.ts';
import { BuildCache } from '../../../runtime/image/build/cache.ts';
import { CacheLocks } from '../../../runtime/image/build/step-mounts.ts';
import { loadInodes } from '../../../runtime/image/inodes.ts';
import { createRegistryPuller } from '../../../runtime/image/pull.ts';
import { openImageStore } from '../../../runtime/image/store.ts';

async function work(root: string, name: string, contextDir: string): Promise<never> {
  const now = () => new Date();
  const store = await openImageStore({ root, log: SILENT_LOGGER });
  const mountCacheDir = join(root, 'build-mounts');
  const directory = join(root, 'build-cache');
  const cache = new BuildCache({ directory, mountDirectory: mountCacheDir, store, now });
  await cache.load();
  await store.sweep();
  const puller = createRegistryPuller({ store, architecture: 'amd64', registriesPath: join(root, 'none') });
  const tell = () => process.stdout.write('.');
  for (let round = 0; ; round += 1) {
    await puller.pull(name, { onProgress: tell });
    await buildImage({
      store,
      puller,
      inodes: loadInodes(),
      storageDriver: 'overlay',
      runStep: async () => 1,
      workDir: join(root, 'tmp'),
      cache,
      cacheLocks: new CacheLocks(),
      mountCacheDir,
      secretsDir: join(root, 'secrets'),
      secrets: {},
      contextDir,
      dockerfile: `FROM ${name}\nCOPY . /a\nCOPY . /b\nCOPY . /c\n`,
      tags: ['built:1'],
      buildArgs: {},
      usesCache: round % 2 === 1,
      pullsAlways: false,
      architecture: 'amd64',
      now,
      onProgress: tell,
    });
    tell();
    await store.remove(name);
    tell();
    await store.remove('built:1');
  }
}

const [, , root = '', name = '', contextDir = ''] = process.argv;
void work(root, name, contextDir);
