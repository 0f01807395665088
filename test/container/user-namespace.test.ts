import { chmodSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { ContainerEngine } from '../../runtime/container/engine.ts';
import type { OciMount, OciNamespaceType } from '../../runtime/container/oci-spec.ts';
import {
  createFixture,
  type Fixture,
  readOutput,
  remainingMonitors,
  type SpecChanges,
  skipReason,
} from './fixture.ts';

const HOST_ROOT = 200000;
const MAPPINGS = [{ containerID: 0, hostID: HOST_ROOT, size: 65536 }];
const NEW = ['pid', 'mount', 'ipc', 'uts', 'network', 'cgroup', 'user'] as const;
const MAPPED = {
  namespaces: NEW.map((type) => ({ type })),
  uidMappings: MAPPINGS,
  gidMappings: MAPPINGS,
};

t.test('user and time namespaces', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const engine = await fixture.openEngine();
  let count = 0;
  const create = async (args: readonly string[], changes: SpecChanges = {}) => {
    count += 1;
    const id = `user${count}`;
    const spec = fixture.buildSpec(args, { ...changes, linux: { ...MAPPED, ...changes.linux } });
    await engine.create({ id, spec, rootfs: overlay(fixture, id), logPath: fixture.logPath(id) });
    return id;
  };
  const shell = async (script: string, changes: SpecChanges = {}) => {
    const id = await create(['sh', '-c', script], changes);
    await engine.start(id);
    await engine.wait(id);
    await engine.delete(id);
    return { id, output: readOutput(fixture.logPath(id)) };
  };

  await t.test('the maps are those of the spec, with PID 1 and interfaces of its own', async (t) => {
    const { output } = await shell(
      'cat /proc/self/uid_map /proc/self/gid_map; id -u; echo $$; ip link | head -1',
    );
    t.match(
      output.replaceAll(/ +/g, ' '),
      / 0 200000 65536\n 0 200000 65536\n0\n1\n1: lo: <LOOPBACK,UP,LOWER_UP>/,
    );
  });

  await t.test(
    "files of the image and new ones are root's inside and on the disk, the process is not",
    async (t) => {
      const script =
        'touch /new; stat -c %u /new /bin/busybox /dev /dev/shm; touch /bin/busybox && echo changed';
      const { id, output } = await shell(script);
      t.equal(output, '0\n0\n0\n0\nchanged\n');
      const { upperDir } = overlay(fixture, id);
      t.equal(statSync(join(upperDir, 'new')).uid, 0);
      t.equal(statSync(join(upperDir, 'bin/busybox')).uid, 0);
      const running = await create(['sleep', '60']);
      const { pid } = await engine.start(running);
      t.match(readFileSync(`/proc/${pid}/status`, 'utf8'), /^Uid:\t200000\t200000\t200000\t200000$/m);
      await engine.delete(running, { force: true });
    },
  );

  await t.test("root inside has no rights to what is the host's, whatever its capabilities", async (t) => {
    const secret = join(fixture.directory, 'secret');
    writeFileSync(secret, 'of the host', { mode: 0o600 });
    const all = [
      'CAP_SYS_ADMIN',
      'CAP_DAC_OVERRIDE',
      'CAP_DAC_READ_SEARCH',
      'CAP_MKNOD',
      'CAP_SYS_MODULE',
      'CAP_CHOWN',
    ];
    const { output } = await shell(
      'cat /secret; mknod /sda b 8 0; echo 1 > /proc/sys/vm/drop_caches; mount -o remount,rw /proc/sys; hostname mine && hostname',
      {
        process: { capabilities: { bounding: all, effective: all, permitted: all }, noNewPrivileges: false },
        spec: { mounts: [{ destination: '/secret', type: 'bind', source: secret, options: ['bind'] }] },
      },
    );
    t.match(output, /can't open '\/secret': Permission denied/);
    t.match(output, /mknod: \/sda: Operation not permitted/);
    t.match(output, /can't create \/proc\/sys\/vm\/drop_caches: (Read-only|Permission)/);
    t.match(output, /^mine$/m);
    t.notMatch(output, /of the host/);
  });

  await t.test('devices are what the spec says, not what the host has', async (t) => {
    const devices = [
      { path: '/dev/made', type: 'c', major: 1, minor: 3, fileMode: 0o646, uid: 10, gid: 11 },
    ] as const;
    const { output } = await shell('stat -c "%F %u %g %a" /dev/made; echo x > /dev/made && echo written', {
      linux: { devices },
    });
    t.equal(output, 'character special file 10 11 646\nwritten\n');
  });

  await t.test('exec() joins, as root and as another user', async (t) => {
    const id = await create(['sleep', '60']);
    await engine.start(id);
    for (const uid of [0, 1000]) {
      const process = {
        args: ['sh', '-c', 'id -u; cat /proc/self/uid_map; echo x > /dev/stdout'],
        cwd: '/',
        env: ['PATH=/bin'],
        user: { uid, gid: uid },
      };
      const session = await engine.exec(id, { process });
      const chunks: Buffer[] = [];
      for await (const chunk of session.stdout) chunks.push(chunk as Buffer);
      t.match(Buffer.concat(chunks).toString(), new RegExp(`^${uid}\n +0 +200000 +65536\nx\n$`));
      t.equal(await session.exited, 0);
    }
    await t.rejects(
      engine.exec(id, { process: { args: ['true'], cwd: '/', user: { uid: 70000, gid: 0 } } }),
      /Cannot be user 70000: "linux.uidMappings" has no such container id/,
    );
    await engine.delete(id, { force: true });
  });

  await t.test('a terminal belongs to the user', async (t) => {
    const id = await create(['sh', '-c', 'tty; stat -c %u /dev/console; stty size'], {
      process: { terminal: true, consoleSize: { width: 91, height: 17 }, user: { uid: 1000, gid: 1000 } },
    });
    await engine.start(id);
    await engine.wait(id);
    await engine.delete(id);
    t.equal(readOutput(fixture.logPath(id)).replaceAll('\r', ''), '/dev/console\n1000\n17 91\n');
  });

  await t.test("a pod's containers join the namespaces of its first one", async (t) => {
    const first = await create(['sleep', '60']);
    const { pid } = await engine.start(first);
    const joined: readonly OciNamespaceType[] = ['user', 'network', 'ipc', 'uts'];
    const names: Readonly<Record<string, string>> = { user: 'user', network: 'net', ipc: 'ipc', uts: 'uts' };
    const linux = {
      namespaces: [
        { type: 'pid' },
        { type: 'mount' },
        { type: 'cgroup' },
        ...joined.map((type) => ({ type, path: `/proc/${pid}/ns/${names[type]}` })),
      ] as const,
      uidMappings: [],
      gidMappings: [],
    };
    const links = `for i in ${joined.map((type) => names[type]).join(' ')}; do readlink /proc/self/ns/$i; done`;
    const { output } = await shell(`${links}; echo $$; id -u; touch /tmp/x && stat -c %u /tmp/x`, {
      linux,
    });
    const seen = output.split('\n');
    const expected = (
      await engine.exec(first, {
        process: { args: ['sh', '-c', links], cwd: '/', env: ['PATH=/bin'] },
      })
    ).stdout;
    const chunks: Buffer[] = [];
    for await (const chunk of expected) chunks.push(chunk as Buffer);
    t.same(seen.slice(0, 4), Buffer.concat(chunks).toString().trim().split('\n'));
    t.same(seen.slice(4), ['1', '0', '0', '']);
    await engine.delete(first, { force: true });
  });

  await t.test(
    "idmapped binds show a volume's files as the container's, with a user namespace and without",
    async (t) => {
      const volume = join(fixture.directory, 'volume');
      mkdirSync(volume);
      writeFileSync(join(volume, 'file'), 'x');
      const bind = (change: Partial<OciMount>): OciMount => ({
        destination: '/v',
        type: 'bind',
        source: volume,
        options: ['bind'],
        ...change,
      });
      const script = 'exec 2>&1; stat -c %u /v/file; touch /v/mine; stat -c %u /v/mine';
      const rows = [
        ['no mappings', {}, bind({}), /^65534\ntouch: .*Permission denied/],
        ['those of the container', {}, bind({ options: ['rbind', 'ridmap'] }), /^0\n0\n$/],
        [
          'their own',
          {},
          bind({ uidMappings: [{ containerID: 0, hostID: HOST_ROOT + 5, size: 10 }], gidMappings: MAPPINGS }),
          /^5\ntouch/,
        ],
        [
          'their own, without a user namespace',
          {
            namespaces: NEW.filter((type) => type !== 'user').map((type) => ({ type })),
            uidMappings: [],
            gidMappings: [],
          },
          bind({
            options: ['bind', 'idmap'],
            uidMappings: [{ containerID: 0, hostID: 7, size: 1 }],
            gidMappings: MAPPINGS,
          }),
          /^7\ntouch/,
        ],
      ] as const;
      for (const [title, linux, mount, expected] of rows) {
        const { output } = await runPlain({ engine, fixture, script, linux: { ...MAPPED, ...linux }, mount });
        t.match(output, expected, title);
      }
      t.equal(statSync(join(volume, 'mine')).uid, 0);
    },
  );

  await t.test('clocks are shifted by timeOffsets, with and without a user namespace', async (t) => {
    for (const types of [NEW, NEW.filter((type) => type !== 'user')]) {
      const hasUser = types === NEW;
      const linux = {
        ...(hasUser ? MAPPED : { uidMappings: [], gidMappings: [] }),
        namespaces: [...types, 'time' as const].map((type) => ({ type })),
        timeOffsets: { boottime: { secs: 1_000_000_000, nanosecs: 0 }, monotonic: { secs: 5 } },
      };
      const { output } = await runPlain({
        engine,
        fixture,
        script: 'cat /proc/uptime /proc/self/timens_offsets',
        linux,
      });
      t.ok(Number(output.split(' ')[0]) > 1_000_000_000, output);
      t.match(output, /monotonic +5 +0\nboottime +1000000000 +0/);
    }
  });

  await t.test('what cannot be is refused by name', async (t) => {
    const rows = [
      [{ uidMappings: [] }, /a new user namespace needs "linux.uidMappings"/],
      [
        { namespaces: [{ type: 'mount' }] },
        /"linux.uidMappings" and "linux.gidMappings" need a user namespace/,
      ],
      [{ timeOffsets: { boottime: { secs: 1 } } }, /"linux.timeOffsets" needs a new time namespace/],
      [
        { uidMappings: [{ containerID: 5, hostID: HOST_ROOT, size: 1 }] },
        /Cannot be user 0: "linux.uidMappings" has no such/,
      ],
      [{ uidMappings: [...MAPPINGS, ...MAPPINGS] }, /write "uid_map" of the user namespace: (EINVAL|EPERM)/],
    ] as const;
    for (const [linux, message] of rows) await t.rejects(create(['true'], { linux }), message);
    t.same(engine.list(), []);
  });

  await engine.close();
  t.same(await remainingMonitors(fixture.directory), []);
  fixture.removeCgroups();
  fixture.remove();
});

/** An overlay of the fixture's root file system, whose files are the host's root's. */
function overlay(fixture: Fixture, id: string) {
  const [upperDir, workDir] = ['upper', 'work'].map((name) => join(fixture.directory, id, name)) as [
    string,
    string,
  ];
  for (const path of [upperDir, workDir]) mkdirSync(path, { recursive: true });
  return { kind: 'overlay', lowerDirs: [fixture.rootfs], upperDir, workDir, isIdMapped: true } as const;
}

interface PlainRun {
  readonly engine: ContainerEngine;
  readonly fixture: Fixture;
  readonly script: string;
  readonly linux: SpecChanges['linux'];
  readonly mount?: OciMount;
}

/** A container over a directory, whose ids are mapped where it has a user namespace. */
async function runPlain({
  engine,
  fixture,
  script,
  linux,
  mount,
}: PlainRun): Promise<{ readonly output: string }> {
  const id = 'plain';
  const spec = fixture.buildSpec(['sh', '-c', script], {
    ...(linux === undefined ? {} : { linux }),
    spec: { mounts: mount === undefined ? [] : [mount] },
  });
  const isIdMapped = spec.linux?.namespaces?.some(({ type }) => type === 'user') ?? false;
  rmSync(fixture.logPath(id), { force: true });
  chmodSync(fixture.directory, 0o755);
  mkdirSync(join(fixture.rootfs, 'v'), { recursive: true });
  await engine.create({
    id,
    spec,
    rootfs: { kind: 'path', path: fixture.rootfs, isIdMapped },
    logPath: fixture.logPath(id),
  });
  await engine.start(id);
  await engine.wait(id);
  await engine.delete(id);
  return { output: readOutput(fixture.logPath(id)) };
}
