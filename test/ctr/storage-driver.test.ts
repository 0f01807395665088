import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { STORAGE_DRIVERS, type StorageDriver } from '../../runtime/image/container-files.ts';
import { findOverlayProblem } from '../../runtime/image/overlay-probe.ts';
import { skipReason } from '../cri/fixture.ts';
import { openCtrFixture } from './fixture.ts';

const DOCKERFILE = `FROM busybox
USER root
RUN /bin/busybox --install -s /bin
RUN mkdir -p /data/sub /data/kept && cd /data && echo old >a && echo gone >b && echo in >sub/x && ln a hard && \
  ln -s a link && chmod 4755 sub/x && echo same >kept/y && echo same >kept/z
RUN rm /data/b && echo new >/data/c
`;

/** "/data" is in two layers of the other image. */
const FROM_STAGE = `FROM busybox
USER root
RUN /bin/busybox --install -s /bin
RUN --mount=type=bind,from=base,source=/data,target=/bound ls /bound >/seen && cat /bound/c >>/seen && ! touch /bound/x
`;

/** What a container does to its files, and what of it is a change. */
const SCRIPT = `cd /data && test ! -e b && test "$(cat a hard link c)" = "old
old
old
new" && echo changed >>a && rm -r sub && mkdir sub && echo other >sub/w && mv c d && touch kept/y && \
  chmod 600 kept/z && dd if=/dev/zero of=big bs=1024 count=64 2>/dev/null`;
const CHANGES = [
  'C /data',
  'C /data/a',
  'A /data/big',
  'D /data/c',
  'A /data/d',
  'C /data/hard',
  'C /data/kept',
  'C /data/kept/y',
  'C /data/kept/z',
  'C /data/sub',
  'A /data/sub/w',
  'D /data/sub/x',
];
/** overlayfs breaks hard links of lower layers; an opaque directory tells not what it hides. */
const DIFFERENT: Readonly<Record<StorageDriver, readonly string[]>> = {
  overlay: ['C /data/hard', 'D /data/sub/x'],
  copy: [],
};

for (const storageDriver of STORAGE_DRIVERS) {
  t.test(
    `containers, builds and commits with the driver ${storageDriver}`,
    { skip: skipReason },
    async (t) => {
      const fixture = await openCtrFixture({ storageDriver });
      t.teardown(() => fixture.close());
      const context = fixture.writeFiles({ Dockerfile: DOCKERFILE });
      await fixture.ok('build', '-t', 'base', context);
      await fixture.ok('run', '--name', 'one', 'base', 'sh', '-c', SCRIPT);
      const diff = (await fixture.ok('diff', 'one')).split('\n').filter((line) => line.includes('/data'));
      const wanted = CHANGES.filter((line) => !DIFFERENT[storageDriver].includes(line));
      t.same([...diff].sort(byPath), [...wanted].sort(byPath));
      await fixture.ok('commit', 'one', 'committed');
      const look = 'cd /data; cat a d sub/w kept/y; ls; ls sub; wc -c <big; stat -c %a kept/z';
      const seen = await fixture.ok('run', '--rm', 'committed', 'sh', '-c', look);
      const files = ['a', 'big', 'd', 'hard', 'kept', 'link', 'sub'];
      t.same(seen.split('\n'), ['old', 'changed', 'new', 'other', 'same', ...files, 'w', '65536', '600']);
      t.equal(
        await fixture.ok('run', '--rm', 'base', 'cat', '/data/a', '/data/sub/x'),
        'old\nin',
        'the layers',
      );
      const type = await fixture.ok(
        'run',
        '--rm',
        'base',
        'sh',
        '-c',
        `grep ' / ' /proc/mounts | cut -d' ' -f3`,
      );
      t.equal(type === 'overlay', storageDriver === 'overlay', `/ is a mount of ${type}`);

      const stages = fixture.writeFiles({ Dockerfile: FROM_STAGE });
      await fixture.ok('build', '-t', 'bound', stages);
      t.equal(await fixture.ok('run', '--rm', 'bound', 'cat', '/seen'), 'a\nc\nhard\nkept\nlink\nsub\nnew');

      await fixture.ok('create', '--name', 'two', 'base', 'cat', '/data/copied');
      const copied = join(fixture.writeFiles({ copied: 'by cp\n' }), 'copied');
      await fixture.ok('cp', copied, 'two:/data/copied');
      t.equal(await fixture.ok('start', '-a', 'two'), 'by cp');
      await fixture.restart();
      t.equal(await fixture.ok('start', '-a', 'two'), 'by cp', 'its files stay over a restart');
    },
  );
}

function byPath(a: string, b: string): number {
  return a.slice(2) < b.slice(2) ? -1 : 1;
}

t.test('findOverlayProblem() asks the kernel for an overlay in the directory', { skip: skipReason }, (t) => {
  const directory = mkdtempSync('/tmp/tkadm-probe-');
  t.teardown(() => rmSync(directory, { recursive: true }));
  const reason = findOverlayProblem(directory);
  t.ok(reason === undefined || /^E[A-Z]+$/.test(reason), reason ?? 'it can be made');
  if (!skipReason) t.equal(findOverlayProblem('/dev/shm'), undefined, 'over a tmpfs');
  t.throws(() => findOverlayProblem('/proc'), 'where nothing can be made');
  t.end();
});

t.test('tkadm-runtime refuses a driver that it has not, by name', async (t) => {
  const main = fileURLToPath(new URL('../../runtime/cri/main.ts', import.meta.url));
  const args = ['--import=tsx', main, '--storage-driver=zfs'];
  const { status, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });
  t.equal(status, 1);
  t.match(stderr, /Cannot use flag "--storage-driver=zfs": no such driver/);
});
