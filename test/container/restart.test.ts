import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { SLOT_FILES } from '../../runtime/container/launch-bundle.ts';
import type { OciSpec } from '../../runtime/container/oci-spec.ts';
import { createFixture, findMonitors, skipReason } from './fixture.ts';

const ROOT = join(import.meta.dirname ?? '.', '..', '..');

t.test('containers survive the engine', { skip: skipReason }, async (t) => {
  const fixture = createFixture();

  /** Runs the containers in an engine of another process and kills that process with SIGKILL. */
  async function runAndKillEngine(specs: Readonly<Record<string, OciSpec>>, start = true): Promise<void> {
    const containers = Object.entries(specs).map(([id, spec]) => {
      const [upperDir, workDir] = ['upper', 'work'].map((name) => join(fixture.directory, `${name}-${id}`));
      for (const path of [upperDir, workDir]) mkdirSync(path!, { recursive: true });
      return {
        id,
        spec,
        rootfs: { kind: 'overlay', lowerDirs: [fixture.rootfs], upperDir, workDir },
        logPath: fixture.logPath(id),
        stdin: true,
      };
    });
    const script = join(fixture.directory, 'engine.mts');
    writeFileSync(
      script,
      `import { createContainerEngine } from ${JSON.stringify(join(ROOT, 'runtime/container/create-engine.ts'))};
       import { SILENT_LOGGER } from ${JSON.stringify(join(ROOT, 'runtime/base/log.ts'))};
       const engine = await createContainerEngine({
         stateDir: ${JSON.stringify(fixture.stateDir)},
         log: SILENT_LOGGER,
         now: () => new Date(),
       });
       ` +
        `for (const options of ${JSON.stringify(containers)}) {
           await engine.create(options as never);
           if (${start}) await engine.start(options.id);
         }
         console.log('ready');
         setInterval(() => {}, 1000);`,
    );
    const child = spawn(process.execPath, ['--import=tsx', script], {
      cwd: ROOT,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await new Promise<void>((resolve, reject) => {
      child.stdout.on('data', () => resolve());
      child.on('exit', () => reject(new Error('the engine ended')));
    });
    child.removeAllListeners('exit');
    await sleep(200);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.on('exit', resolve));
  }

  const shell = (script: string) => fixture.buildSpec(['sh', '-c', script]);
  await runAndKillEngine({
    runs: shell('echo before; read l; echo got $l; exit 6'),
    exits: shell('sleep 1; echo meanwhile; head -c 600000 /dev/zero | tr "\\0" y; exit 42'),
    stays: shell('sleep 60'),
  });

  // It prints more than a pipe takes by itself, and does not wait for a reader.
  const exitPath = join(fixture.stateDir, 'containers/exits', SLOT_FILES.exit);
  await waitFor(async () => (existsSync(exitPath) && readFileSync(exitPath).length > 0) || undefined, {
    subject: 'the exit',
    timeoutMs: 30_000,
  });
  const reopenedAt = Date.now();
  const engine = await fixture.openEngine();

  await t.test('a running container goes on under the next engine', async (t) => {
    t.match(engine.status('runs'), { state: 'running' });
    const session = engine.attach('runs');
    session.stdin!.write('line\n');
    t.match(await engine.wait('runs'), { state: 'exited', exitCode: 6 });
    t.match(readFileSync(fixture.logPath('runs'), 'utf8'), /F before\n[\s\S]* F got line\n/);
  });

  await t.test('an exit meanwhile is reported with its code, its time and its output', async (t) => {
    const status = await engine.wait('exits');
    t.match(status, { state: 'exited', exitCode: 42 });
    t.ok(status.finishedAt!.getTime() <= reopenedAt, 'the time of the exit, not of finding it');
    const log = readFileSync(fixture.logPath('exits'), 'utf8');
    t.match(log, / F meanwhile\n/);
    t.equal(log.split('').filter((letter) => letter === 'y').length, 600000);
  });

  await t.test('created containers wait for the next engine; unfinished ones are removed', async (t) => {
    await engine.kill('stays', 'SIGKILL');
    t.equal((await engine.wait('stays')).exitCode, 137);
    for (const id of ['runs', 'exits', 'stays']) await engine.delete(id);
    await engine.close();
    await runAndKillEngine({ waits: shell('echo started later') }, false);
    mkdirSync(join(fixture.stateDir, 'containers', 'half'), { recursive: true });
    const next = await fixture.openEngine();
    t.equal(next.status('half'), undefined);
    t.notOk(existsSync(join(fixture.stateDir, 'containers', 'half')));
    t.match(next.status('waits'), { state: 'created' });
    await next.start('waits');
    t.equal((await next.wait('waits')).exitCode, 0);
    t.match(readFileSync(fixture.logPath('waits'), 'utf8'), / F started later\n/);
    await next.delete('waits');
    await next.close();
    await until(() => findMonitors(fixture.stateDir).length === 0);
    t.same(readdirSync(join(fixture.stateDir, 'containers')), []);
    fixture.removeCgroups();
    fixture.remove();
  });
});

async function until(probe: () => boolean): Promise<void> {
  for (let tries = 0; tries < 1500; tries += 1) {
    if (probe()) return;
    await sleep(20);
  }
  throw new Error('Cannot see the awaited state after 30 s');
}
