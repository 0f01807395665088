import { execFileSync } from 'node:child_process';
import {
  createReadStream,
  createWriteStream,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import t from 'tap';
import { loadArchive } from '../../../runtime/image/archive.ts';
import { addSingleLayerImage } from '../../../runtime/image/builtin-images.ts';
import { saveImages } from '../../../runtime/image/save.ts';
import { openStoreFixture, tarOf } from './layer-fixture.ts';

const isRoot = process.getuid?.() === 0;
const skip = !isRoot ? 'needs root' : existsSync('/usr/bin/buildah') ? false : 'needs buildah';
const NAME = 'example.org/a:1';

t.test(
  'buildah reads what saveImages() writes, and loadArchive() what buildah writes',
  { skip },
  async (t) => {
    const directory = mkdtempSync('/tmp/tkadm-buildah-');
    t.teardown(() => rmSync(directory, { recursive: true, force: true }));
    const policy = join(directory, 'policy.json');
    writeFileSync(policy, '{"default":[{"type":"insecureAcceptAnything"}]}');
    const buildah = (...args: readonly string[]): string => {
      const store = [
        '--root',
        join(directory, 'root'),
        '--runroot',
        join(directory, 'run'),
        '--storage-driver',
        'vfs',
      ];
      return execFileSync('buildah', [...store, ...args], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'pipe'],
      }).trim();
    };
    const { store } = await openStoreFixture(t);
    const tar = tarOf([{ name: 'hello', type: 'file', content: 'from tkadm' }]);
    const config = { Cmd: ['/hello'], Env: ['A=b'] };
    const image = await addSingleLayerImage(store, tar, { architecture: 'amd64', names: [NAME], config });
    const saved = join(directory, 'saved.tar');
    await pipeline(await saveImages(store, [NAME]), createWriteStream(saved));
    for (const kind of ['docker-archive', 'oci-archive']) {
      const id = buildah('pull', '--signature-policy', policy, '-q', `${kind}:${saved}`);
      t.equal(`sha256:${id}`, image.id, kind);
      const container = buildah('from', '--signature-policy', policy, '--pull-never', NAME);
      t.equal(readFileSync(join(buildah('mount', container), 'hello'), 'utf8'), 'from tkadm', kind);
      buildah('umount', container);
      buildah('rm', container);
      const pushed = join(directory, `${kind}.tar`);
      buildah('push', '--signature-policy', policy, NAME, `${kind}:${pushed}:${NAME}`);
      const other = await openStoreFixture(t);
      const options = { workDir: join(other.root, 'tmp'), architecture: 'amd64' };
      const [loaded] = await loadArchive(other.store, createReadStream(pushed), options);
      t.match(loaded, { id: image.id, repoTags: [NAME] }, `${kind} of buildah`);
      buildah('rmi', NAME);
    }
  },
);
