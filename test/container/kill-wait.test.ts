import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { waitFor } from '../../runtime/base/time.ts';
import { parseCgroupHost } from '../../runtime/container/cgroup/cgroup-host.ts';
import { createFixture, skipReason } from './fixture.ts';

t.test(
  'a process that a foreign cgroup has frozen is told, and ends once it is let go',
  { skip: skipReason },
  async (t) => {
    const fixture = createFixture();
    const engine = await fixture.openEngine({ killTimeoutMs: 300 });
    const foreign = openFreezer(`tkadm-frozen-${process.pid}`);
    t.teardown(async () => {
      foreign.thaw();
      await engine.delete('stuck', { force: true }).catch(() => {});
      await engine.close();
      await waitFor(async () => foreign.remove(), { subject: 'the empty cgroup', timeoutMs: 10_000 });
      fixture.removeCgroups();
      fixture.remove();
    });
    const spec = fixture.buildSpec(['sleep', '600']);
    const { pid } = await engine.create({
      id: 'stuck',
      spec,
      rootfs: { kind: 'path', path: fixture.rootfs },
    });
    await engine.start('stuck');
    foreign.enter(pid!);
    await foreign.freeze();
    const stuck = {
      code: 'CONTAINER_STUCK',
      message: new RegExp(
        `"stuck": its process ${pid} got SIGKILL 0.3 s ago .*frozen by the cgroup "${foreign.directory}"`,
      ),
      hint: new RegExp(`> ${foreign.directory}/`),
    };
    // On cgroup v2 a frozen process can be killed.
    if (!foreign.isV2) {
      await t.rejects(engine.delete('stuck', { force: true }), stuck);
      await t.rejects(engine.stop('stuck', { graceMs: 1 }), stuck);
      t.equal(engine.status('stuck')?.state, 'running', 'nothing of it is gone');
    }
    foreign.thaw();
    await engine.delete('stuck', { force: true });
    t.equal(engine.status('stuck'), undefined);
  },
);

t.test('a container that is paused is stopped', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const engine = await fixture.openEngine();
  t.teardown(async () => {
    await engine.close();
    fixture.removeCgroups();
    fixture.remove();
  });
  const spec = fixture.buildSpec(['sleep', '600']);
  await engine.create({ id: 'paused', spec, rootfs: { kind: 'path', path: fixture.rootfs } });
  await engine.start('paused');
  await engine.pause('paused');
  t.equal((await engine.stop('paused', { graceMs: 10 })).exitCode, 137);
  await engine.delete('paused');
});

/** A cgroup of nobody's, with nothing but a freezer. */
function openFreezer(name: string) {
  const host = parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'));
  const isV2 = host.version === 2;
  const mount = isV2
    ? host.mountPoint
    : host.hierarchies.find(({ controllers }) => controllers.includes('freezer'))!.mountPoint;
  const directory = join(mount, name);
  const [file, frozen, thawed] = isV2
    ? (['cgroup.freeze', '1', '0'] as const)
    : (['freezer.state', 'FROZEN', 'THAWED'] as const);
  const isFrozen = async () =>
    /frozen 1|^FROZEN/.test(readFileSync(join(directory, isV2 ? 'cgroup.events' : file), 'utf8')) ||
    undefined;
  mkdirSync(directory);
  return {
    directory,
    isV2,
    enter: (pid: number) => writeFileSync(join(directory, 'cgroup.procs'), String(pid)),
    async freeze() {
      writeFileSync(join(directory, file), frozen);
      await waitFor(isFrozen, { subject: 'the frozen cgroup', timeoutMs: 10_000 });
    },
    thaw: () => writeFileSync(join(directory, file), thawed),
    remove() {
      rmdirSync(directory);
      return !existsSync(directory);
    },
  };
}
