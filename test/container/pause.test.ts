import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { buildPauseBinary, PAUSE_SECCOMP } from '../../runtime/container/pause.ts';
import { createFixture, skipReason } from './fixture.ts';

for (const [architecture, machine] of [
  ['x64', 62],
  ['arm64', 183],
] as const) {
  t.test(`buildPauseBinary("${architecture}") is a small ELF file of its machine`, async (t) => {
    const file = buildPauseBinary(architecture);
    t.ok(file.length < 1024, `${file.length} bytes`);
    t.equal(file.toString('latin1', 0, 4), '\x7fELF');
    t.equal(file.readUInt16LE(18), machine);
    t.equal(file.readBigUInt64LE(24), 0x400000n + 176n);
  });
}

t.test(
  'the pause program as PID 1',
  { skip: skipReason || (arch() !== 'x64' && 'tested on x64') },
  async (t) => {
    const fixture = createFixture();
    writeFileSync(join(fixture.rootfs, 'pause'), buildPauseBinary('x64'), { mode: 0o755 });
    const engine = await fixture.openEngine();
    const create = async (id: string, seccomp: typeof PAUSE_SECCOMP) => {
      const [upperDir, workDir] = ['upper', 'work'].map((name) =>
        join(fixture.directory, `${name}-${id}`),
      ) as [string, string];
      for (const path of [upperDir, workDir]) mkdirSync(path);
      await engine.create({
        id,
        spec: fixture.buildSpec(['/pause'], { linux: { seccomp } }),
        rootfs: { kind: 'overlay', lowerDirs: [fixture.rootfs], upperDir, workDir },
      });
      return await engine.start(id);
    };
    await t.test('reaps orphans', async (t) => {
      const { pid } = await create('reaps', { defaultAction: 'SCMP_ACT_ALLOW' });
      const session = await engine.exec('reaps', {
        process: {
          args: ['sh', '-c', 'for i in 1 2 3 4 5; do (sleep 0.05 &) ; done'],
          cwd: '/',
          env: ['PATH=/bin'],
        },
      });
      t.equal(await session.exited, 0);
      await sleep(300);
      t.equal(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim(), '');
      t.match(engine.status('reaps'), { state: 'running' });
    });
    await t.test('exits with 0 on SIGTERM at once', async (t) => {
      const start = performance.now();
      t.equal((await engine.stop('reaps', { graceMs: 10000 })).exitCode, 0);
      t.ok(performance.now() - start < 1000);
      await engine.delete('reaps');
      await create('int', PAUSE_SECCOMP);
      await engine.kill('int', 'SIGINT');
      t.equal((await engine.wait('int')).exitCode, 0);
      await engine.delete('int');
    });
    await engine.close();
    fixture.removeCgroups();
    fixture.remove();
  },
);

t.test(
  'the arm64 code disassembles to what it should be',
  { skip: !hasObjdump() && 'needs an objdump for arm64' },
  async (t) => {
    const fixture = t.testdir({});
    writeFileSync(join(fixture, 'pause'), buildPauseBinary('arm64'));
    const text = execFileSync(
      'aarch64-linux-gnu-objdump',
      ['-D', '-b', 'binary', '-m', 'aarch64', join(fixture, 'pause')],
      { encoding: 'utf8' },
    );
    t.match(text, /svc\s+#0x0/);
  },
);

function hasObjdump(): boolean {
  return spawnSync('aarch64-linux-gnu-objdump', ['--version']).status === 0;
}
