import { spawn } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t from 'tap';
import { mountSubPath } from '../../runtime/agent/volumes/sub-path.ts';
import { tearDownVolumes } from '../../runtime/agent/volumes/volumes.ts';

const skip = process.getuid?.() !== 0 ? 'needs root' : false;

t.test('mountSubPath()', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tkadm-subpath-'));
  const [volume, outside, pod] = ['volume', 'outside', 'pod'].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [volume, outside, pod, join(volume, 'data'), join(outside, 'data')]) mkdirSync(path);
  writeFileSync(join(volume, 'data/file'), 'of the volume');
  writeFileSync(join(outside, 'data/file'), 'of the host');
  const target = join(pod, 'volume-subpaths/v/c/0');
  const mount = (subPath: string) => mountSubPath({ root: volume, subPath, target });
  t.teardown(async () => {
    await tearDownVolumes({ pod } as never);
    rmSync(directory, { recursive: true });
  });

  await t.test('shows a directory or a file, also behind links of the volume', async (t) => {
    symlinkSync('data', join(volume, '..now'));
    symlinkSync('..now/file', join(volume, 'key'));
    for (const subPath of ['data', './data/', '..now']) {
      await mount(subPath);
      t.same(readdirSync(target), ['file'], subPath);
    }
    for (const subPath of ['data/file', 'key']) {
      await mount(subPath);
      t.equal(readFileSync(target, 'utf8'), 'of the volume', subPath);
    }
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8').split('\n');
    t.equal(mounts.filter((line) => line.includes(target)).length, 1, 'a later one takes its place');
  });

  await t.test("makes what is not there, with the volume's mode", async (t) => {
    chmodSync(volume, 0o2777);
    await mount('new/below');
    t.equal(statSync(join(volume, 'new/below')).mode & 0o7777, 0o2777);
    writeFileSync(join(target, 'written'), '');
    t.same(readdirSync(join(volume, 'new/below')), ['written']);
  });

  await t.test('leads nowhere out of the volume', async (t) => {
    symlinkSync(outside, join(volume, 'absolute'));
    symlinkSync('../outside', join(volume, 'relative'));
    symlinkSync('nothing', join(volume, 'dangling'));
    symlinkSync('/proc/self/root', join(volume, 'magic'));
    const rows = [
      ['/data', /must be relative/],
      ['data/../../outside', /must be relative/],
      ['absolute/data', /leads out/],
      ['relative/data', /leads out/],
      ['relative/new', /leads out/],
      ['magic/etc', /leads out/],
      ['dangling/new', /no directory/],
    ] as const;
    for (const [subPath, message] of rows)
      await t.rejects(mount(subPath), { code: 'AGENT_CONTAINER_CONFIG', message }, subPath);
    t.same(readdirSync(outside), ['data'], 'nothing was made outside');
    t.notOk(existsSync(join(volume, 'nothing')));
  });

  await t.test(
    'CVE-2017-1002101, CVE-2021-25741: what a container exchanges for a link is not followed',
    async (t) => {
      mkdirSync(join(volume, 'a'));
      renameSync(join(volume, 'data'), join(volume, 'a/data'));
      symlinkSync(outside, join(volume, 'b'));
      symlinkSync('../outside', join(volume, 'c'));
      const swap = 'while true; do for n in a b c; do mv -T $n now; mv -T now $n; done; done';
      const attacker = spawn('/bin/sh', ['-c', swap], { cwd: volume, stdio: 'ignore' });
      const seen = new Set<string>();
      for (let round = 0; round < 300; round += 1) {
        const subPath = round % 2 === 0 ? 'now/data' : 'now/made';
        // It may fail, when a link or nothing is there.
        const isMounted = await mount(subPath).then(
          () => true,
          () => false,
        );
        if (isMounted && existsSync(join(target, 'file')))
          seen.add(readFileSync(join(target, 'file'), 'utf8'));
      }
      attacker.kill('SIGKILL');
      await new Promise((resolve) => attacker.once('exit', resolve));
      t.notOk(seen.has('of the host'));
      t.same(readdirSync(outside), ['data'], 'nothing was made outside');
      // Whatever the attacker has left, the file is the volume's again.
      const place = ['a', 'now'].find((name) => existsSync(join(volume, name, 'data/file')))!;
      rmSync(join(volume, 'data'), { recursive: true, force: true });
      renameSync(join(volume, place, 'data'), join(volume, 'data'));
    },
  );

  await t.test('tearDownVolumes() takes the mount away, not what was mounted', async (t) => {
    await mount('data');
    await tearDownVolumes({ pod } as never);
    t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), directory);
    t.notOk(existsSync(pod));
    t.same(readdirSync(join(volume, 'data')), ['file']);
  });
});
