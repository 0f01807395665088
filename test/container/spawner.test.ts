import { closeSync, readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { arch } from 'node:os';
import t from 'tap';
import { loadLibc } from '../../runtime/container/libc.ts';
import { readStartTime } from '../../runtime/container/monitor.ts';
import { REPORT_FD } from '../../runtime/container/performer/machine.ts';
import { Performer } from '../../runtime/container/performer/performer.ts';
import { linkProgram, Section } from '../../runtime/container/performer/program.ts';
import { buildReport, REPORT, sendReport } from '../../runtime/container/performer/report-program.ts';

const skip = arch() !== 'x64' && arch() !== 'arm64' && 'another architecture';

t.test('Performer.perform() asks the spawner', { skip }, async (t) => {
  const libc = loadLibc();
  const performer = new Performer(libc);
  /** A program that reports its pid and waits for the end of descriptor 0. */
  const section = new Section();
  const self = buildReport(section, REPORT.monitor);
  section.call('getpid', [], { into: self.value });
  sendReport(section, REPORT_FD, self.data);
  section.call('read', [0, section.room(), 1]);
  section.call('exit_group', [0]);
  const waiting = linkProgram([section], performer.machine).bytes;

  /** Runs `waiting`; `end` lets it go. */
  const start = async (control?: number) => {
    const [theirs, ours] = libc.pipe();
    const more = control === undefined ? {} : { control };
    const streams = [theirs, 'ignore', 'ignore'] as const;
    const reports = performer.perform(waiting, { name: 'test-process', streams, ...more });
    closeSync(theirs);
    const pid = (await reports.next())?.value ?? 0;
    const end = async () => {
      closeSync(ours);
      t.equal(await reports.next(), undefined);
      reports.close();
    };
    return { pid, end };
  };
  const parentOf = (pid: number) =>
    Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);

  await t.test('a process has its descriptors, "/" and a session, and vanishes', async (t) => {
    const { pid, end } = await start();
    t.equal(readFileSync(`/proc/${pid}/cmdline`, 'latin1'), 'test-process\0');
    t.equal(readFileSync(`/proc/${pid}/environ`, 'latin1'), '');
    t.equal(readlinkSync(`/proc/${pid}/cwd`), '/');
    t.match(readlinkSync(`/proc/${pid}/exe`), /tkadm-performer/);
    t.same(readdirSync(`/proc/${pid}/fd`), ['0', '1', '2', '3', '4']);
    t.equal(readFileSync(`/proc/${pid}/stat`, 'utf8').split(' ')[5], String(pid), 'session');
    await end();
    // Its descriptors are closed before its parent lets it go.
    while (readStartTime(pid) !== undefined) await tick();
    t.throws(() => readFileSync(`/proc/${pid}/stat`), { code: /ENOENT|ESRCH/ }, 'not even a zombie');
  });

  await t.test('a control descriptor is the fifth, and none of an earlier request', async (t) => {
    const [ours, theirs] = libc.pipe();
    const one = await start(theirs);
    t.ok(readdirSync(`/proc/${one.pid}/fd`).includes('5'));
    const two = await start();
    t.notOk(readdirSync(`/proc/${two.pid}/fd`).includes('5'));
    const spawner = parentOf(one.pid);
    t.equal(parentOf(two.pid), spawner);
    t.same(numbersOf(spawner), [0, 1, 2, 3, 4, 5, 64], 'keeps nothing of what it gave');
    await Promise.all([one.end(), two.end()]);
    for (const fd of [ours, theirs]) closeSync(fd);
  });

  await t.test('many at once', async (t) => {
    const all = await Promise.all(Array.from({ length: 40 }, () => start()));
    t.equal(new Set(all.map(({ pid }) => pid)).size, 40);
    await Promise.all(all.map(({ end }) => end()));
  });

  await t.test('signals do not end it, and a killed one is mended', async (t) => {
    const one = await start();
    const spawner = parentOf(one.pid);
    process.kill(spawner, 'SIGTERM');
    const two = await start();
    t.equal(parentOf(two.pid), spawner);
    process.kill(spawner, 'SIGKILL');
    // It is a zombie then, of which this process has not been told.
    while (readStartTime(spawner) !== undefined);
    const three = await start();
    t.not(parentOf(three.pid), spawner);
    t.ok(readStartTime(one.pid), 'what it started goes on');
    await Promise.all([one.end(), two.end(), three.end()]);
    const four = await start();
    await four.end();
  });

  await t.test('tells why there is no process', async (t) => {
    const unopened = 60_000;
    const streams = [unopened, 'ignore', 'ignore'] as const;
    t.throws(() => performer.perform(waiting, { name: 'none', streams }), /EBADF/);
    const { end } = await start();
    await end();
  });

  await t.test('ends with the performer, and what runs goes on', async (t) => {
    const { pid, end } = await start();
    const spawner = parentOf(pid);
    performer.close();
    while (readStartTime(spawner) !== undefined) await tick();
    t.ok(readStartTime(pid));
    await end();
  });
});

function numbersOf(pid: number): readonly number[] {
  return readdirSync(`/proc/${pid}/fd`)
    .map(Number)
    .sort((a, b) => a - b);
}

const tick = () => new Promise((resolve) => setTimeout(resolve, 1));
