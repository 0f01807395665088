import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseCgroupHost } from '../../runtime/container/cgroup/cgroup-host.ts';
import type { ContainerEngine } from '../../runtime/container/engine.ts';
import { buildDefaultSeccomp } from '../../runtime/container/seccomp/default-profile.ts';
import { createFixture, type Fixture } from '../../test/container/fixture.ts';
import { type Bench, type Subject, timed } from '../measure.ts';

/** Between two measurements, for what the last one left to the kernel. */
const PAUSE_MS = 100;
const WARM_UPS = 5;
const CPU_ROUNDS = 50;
const SECCOMP = buildDefaultSeccomp(['CAP_CHOWN', 'CAP_KILL']);
/** Nothing else: Node.js reads every certificate of NODE_EXTRA_CA_CERTS when it starts, 40 ms for a usual bundle. */
const COLD_ENVIRONMENT = { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin' };
/** The state of what runs is in memory, as /run is on a machine: ours, and that of the peers. */
const STATE = '/dev/shm/tkadm-bench-';
const PEERS = [
  { name: 'runc', paths: ['/usr/sbin/runc', '/usr/bin/runc'], wrapper: [] },
  // Debian 12's crun refuses a machine that has cgroup v1 and cgroup2 side by side: it does not get to see cgroup2.
  {
    name: 'crun',
    paths: ['/usr/bin/crun'],
    wrapper: ['unshare', '--mount', 'sh', '-c', 'umount /sys/fs/cgroup/unified; exec "$@"', 'sh'],
  },
] as const;

/** `true` in a container and an exec of `true`, beside the OCI runtimes that the machine has. */
export const containersSubject: Subject = {
  name: 'containers',
  rows: [
    {
      key: 'true.warm',
      what: 'true in an engine that runs, default seccomp profile: create, start, exit',
      unit: 'ms',
      bar: 9,
      peers: 'runc 1.3 45, runc 1.1 36, crun 1.28 9.5',
    },
    {
      key: 'true.cpu',
      what: 'CPU of that with the deletion, user and system, engine and kernel',
      unit: 'ms',
    },
    { key: 'true.cold', what: 'true, tkadm-oci run, default seccomp profile', unit: 'ms', bar: 90 },
    { key: 'true.runc', what: 'true, this machine’s runc run', unit: 'ms' },
    { key: 'true.crun', what: 'true, this machine’s crun run (with 3 ms of unshare)', unit: 'ms' },
    {
      key: 'exec.warm',
      what: 'exec of true in an engine that runs',
      unit: 'ms',
      bar: 12,
      peers: 'runc 17-36, crun 5.9',
    },
    { key: 'monitor.memory', what: 'memory of a container’s monitor (PSS)', unit: 'MiB', bar: 2 },
    { key: 'exec.runc', what: 'exec of true, this machine’s runc', unit: 'ms' },
    { key: 'exec.crun', what: 'exec of true, this machine’s crun (with 3 ms of unshare)', unit: 'ms' },
  ],
  async run(bench) {
    const stateDir = mkdtempSync(STATE);
    const place = { ...createFixture(), stateDir };
    try {
      for (let index = 0; index < bench.samples; index += 1) {
        for (const peer of PEERS) measurePeer(bench, place, peer);
      }
      await measureEngine(bench, place);
      for (let index = 0; index < bench.samples; index += 1) measureCold(bench, place);
    } finally {
      place.removeCgroups();
      place.remove();
      rmSync(stateDir, { recursive: true, force: true });
    }
  },
};

async function measureEngine(bench: Bench, fixture: Fixture): Promise<void> {
  const gauge = openCpuGauge(fixture);
  const engine = await fixture.openEngine({ stateDir: join(fixture.stateDir, 'engine') });
  try {
    // The first ones compile and load what all later ones use.
    for (let index = 0; index < WARM_UPS; index += 1) await runTrue(engine, fixture, 'warm');
    for (let index = 0; index < bench.samples * 2; index += 1) {
      await sleep(PAUSE_MS);
      const { ms } = await timed(() => startTrue(engine, fixture, 'one'));
      bench.record('true.warm', ms);
      await engine.delete('one');
    }
    const before = gauge.readMs();
    for (let index = 0; index < CPU_ROUNDS; index += 1) await runTrue(engine, fixture, 'cpu');
    bench.record('true.cpu', (gauge.readMs() - before) / CPU_ROUNDS);
    await measureExec(bench, engine, fixture);
  } finally {
    await engine.close();
    gauge.close();
  }
}

interface CpuGauge {
  /** User and system time of this process, of what it starts from here on, and of its containers. */
  readMs(): number;
  close(): void;
}

/** Counts by cgroup: a container's processes are not this process's children. */
function openCpuGauge({ cgroupParent }: Fixture): CpuGauge {
  const host = parseCgroupHost(readFileSync('/proc/self/mountinfo', 'utf8'));
  const isV2 = host.version === 2;
  const mount = isV2
    ? host.mountPoint
    : host.hierarchies.find(({ controllers }) => controllers.includes('cpuacct'))!.mountPoint;
  const line = isV2 ? /^0::(.*)$/m : /^\d+:[^:]*\bcpuacct\b[^:]*:(.*)$/m;
  const home = line.exec(readFileSync('/proc/self/cgroup', 'utf8'))?.[1] ?? '/';
  const [parent, own] = [join(mount, cgroupParent), join(mount, cgroupParent, 'bench')];
  const enter = (directory: string) => writeFileSync(join(directory, 'cgroup.procs'), String(process.pid));
  mkdirSync(own, { recursive: true });
  enter(own);
  return {
    readMs() {
      if (!isV2) return Number(readFileSync(join(parent, 'cpuacct.usage'), 'utf8')) / 1e6;
      const usage = /^usage_usec (\d+)/m.exec(readFileSync(join(parent, 'cpu.stat'), 'utf8'));
      return Number(usage?.[1]) / 1e3;
    },
    close() {
      enter(join(mount, home));
      rmdirSync(own);
    },
  };
}

/** A whole process of the command line. */
function measureCold(bench: Bench, fixture: Fixture): void {
  const bundle = join(bench.scratch, 'cold');
  mkdirSync(bundle, { recursive: true });
  const plain = fixture.buildSpec(['true']);
  const spec = { ...plain, root: { path: fixture.rootfs }, linux: { ...plain.linux, seccomp: SECCOMP } };
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  const program = join(bench.root, 'dist/node/tkadm-oci.cjs');
  const root = join(fixture.stateDir, 'cold');
  bench.record(
    'true.cold',
    timedSync(() =>
      execFileSync(process.execPath, [program, '--root', root, 'run', '--bundle', bundle, 'cold'], {
        env: COLD_ENVIRONMENT,
      }),
    ),
  );
}

async function runTrue(engine: ContainerEngine, fixture: Fixture, id: string): Promise<void> {
  await startTrue(engine, fixture, id);
  await engine.delete(id);
}

async function startTrue(engine: ContainerEngine, fixture: Fixture, id: string): Promise<void> {
  await engine.create({
    id,
    spec: fixture.buildSpec(['true'], { linux: { seccomp: SECCOMP } }),
    rootfs: { kind: 'path', path: fixture.rootfs },
    logPath: fixture.logPath(id),
  });
  await engine.start(id);
  const { exitCode } = await engine.wait(id);
  if (exitCode !== 0) throw new Error(`true ended with exit code ${exitCode}`);
}

async function measureExec(bench: Bench, engine: ContainerEngine, fixture: Fixture): Promise<void> {
  const spec = fixture.buildSpec(['sleep', '600']);
  await engine.create({ id: 'box', spec, rootfs: { kind: 'path', path: fixture.rootfs } });
  await engine.start('box');
  for (let index = 0; index < bench.samples * 2; index += 1) {
    await sleep(PAUSE_MS);
    const { ms } = await timed(async () => {
      const session = await engine.exec('box', { process: { ...spec.process!, args: ['true'] } });
      session.stdout.resume();
      session.stderr?.resume();
      return session.exited;
    });
    bench.record('exec.warm', ms);
  }
  bench.record('monitor.memory', readMonitorMib(engine.status('box')?.pid ?? 0));
  await engine.delete('box', { force: true });
}

/** Of the parent of a container's first process. */
function readMonitorMib(pid: number): number {
  const parent = /^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1];
  const pss = /^Pss:\s+(\d+)/m.exec(readFileSync(`/proc/${parent}/smaps_rollup`, 'utf8'))?.[1];
  return Number(pss) / 1024;
}

function measurePeer(bench: Bench, fixture: Fixture, peer: (typeof PEERS)[number]): void {
  const program = peer.paths.find((path) => existsSync(path));
  if (program === undefined) return;
  const bundle = join(bench.scratch, peer.name);
  const root = join(fixture.stateDir, peer.name);
  mkdirSync(bundle, { recursive: true });
  const id = `tkadm-bench-${process.pid}-${peer.name}`;
  const write = (args: readonly string[]) => {
    // Older releases of crun refuse a version of the specification that they do not know.
    const spec = { ...fixture.buildSpec(args), ociVersion: '1.0.2', root: { path: fixture.rootfs } };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  };
  const run = (args: readonly string[]) => {
    const [command = '', ...rest] = [...peer.wrapper, program, `--root=${root}`, ...args];
    execFileSync(command, rest, { stdio: 'ignore' });
  };
  write(['true']);
  bench.record(
    `true.${peer.name}`,
    timedSync(() => run(['run', '--bundle', bundle, id])),
  );
  write(['sleep', '600']);
  run(['run', '--detach', '--bundle', bundle, id]);
  try {
    bench.record(
      `exec.${peer.name}`,
      timedSync(() => run(['exec', id, 'true'])),
    );
  } finally {
    spawnSync(program, [`--root=${root}`, 'delete', '--force', id]);
    rmSync(root, { recursive: true, force: true });
  }
}

function timedSync(work: () => void): number {
  const startedAt = performance.now();
  work();
  return performance.now() - startedAt;
}
