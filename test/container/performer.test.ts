import { spawn } from 'node:child_process';
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { arch } from 'node:os';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import t from 'tap';
import { DEFAULT_CAPABILITIES } from '../../runtime/container/defaults.ts';
import { buildElf, little } from '../../runtime/container/elf.ts';
import { MNT_DETACH, MS } from '../../runtime/container/kernel-constants.ts';
import { loadLibc } from '../../runtime/container/libc.ts';
import { buildContainerProgram } from '../../runtime/container/performer/container-program.ts';
import { buildPerformer } from '../../runtime/container/performer/machine.ts';
import { failed, linkProgram, Section } from '../../runtime/container/performer/program.ts';
import { isFailure, type Report, ReportChannel } from '../../runtime/container/performer/report-channel.ts';
import { buildDefaultSeccomp } from '../../runtime/container/seccomp/default-profile.ts';
import { describeMachine, listAbis } from '../../runtime/container/seccomp/syscall-numbers.ts';
import { createFixture, skipReason } from './fixture.ts';
import { listProgram } from './program-listing.ts';

/** fcntl(2): F_SEAL_SEAL, SHRINK, GROW and WRITE */
const F_GET_SEALS = 1034;
const ALL_SEALS = 15;

const isX64 = arch() === 'x64';

for (const [architecture, machine] of [
  ['x64', 62],
  ['arm64', 183],
] as const) {
  t.test(`buildPerformer("${architecture}") is a small ELF file of its machine`, async (t) => {
    const file = buildPerformer(architecture);
    t.ok(file.length < 600, `${file.length} bytes`);
    t.equal(file.toString('latin1', 0, 4), '\x7fELF');
    t.equal(file.readUInt16LE(18), machine);
  });
}

t.test('the performer', { skip: !isX64 && arch() !== 'arm64' && 'another architecture' }, async (t) => {
  const machine = describeMachine(arch() as 'x64');
  const file = join(t.testdir(), 'performer');
  writeFileSync(file, buildPerformer(arch() as 'x64'), { mode: 0o755 });
  const reportValue = (section: Section, fd: number) => {
    const data = section.room(16);
    return { value: { section, offset: data.offset + 8 }, send: () => section.call('write', [fd, data, 16]) };
  };
  const perform = (bytes: Buffer) => {
    writeFileSync(`${file}.program`, bytes);
    const program = openSync(`${file}.program`, 'r');
    const child = spawn(file, [], { stdio: ['ignore', 'ignore', 'ignore', 'pipe', program] });
    closeSync(program);
    return { child, code: new Promise((resolve) => child.on('exit', resolve)) };
  };
  const run = async (build: (section: Section) => void) => {
    const section = new Section();
    build(section);
    const { bytes, explain } = linkProgram([section], machine);
    const { child, code } = perform(bytes);
    const channel = new ReportChannel(child.stdio[3] as Duplex);
    const reports: Report[] = [];
    for (let report = await channel.next(); report !== undefined; report = await channel.next())
      reports.push(report);
    const failures = reports.filter(isFailure).map(({ kind, value }) => explain(kind, value));
    return { reports, failures, code: await code };
  };

  await t.test('performs calls, with results as arguments', async (t) => {
    const { reports, code } = await run((section) => {
      const { value, send } = reportValue(section, 3);
      const fd = section.room();
      section.call('memfd_create', [section.text('x'), 0], { into: fd });
      section.call('write', [{ at: fd }, section.text('hello'), 5], { into: value });
      send();
      section.call('exit_group', [9]);
    });
    t.same([reports[0]?.value, code], [5, 9]);
  });

  await t.test('goes on by results, and back', async (t) => {
    const { reports, code } = await run((section) => {
      const { value, send } = reportValue(section, 3);
      const fd = section.room();
      const [loop, full, bad] = [section.label(), section.label(), section.label()];
      section.place(loop);
      section.call('dup', [2], { into: fd, onError: bad });
      section.compare(fd, [[20, full]]);
      section.jump(loop);
      section.place(full);
      section.call('close', [99], { into: value, on: [[failed('EBADF'), bad]] });
      section.call('exit_group', [1]);
      section.later(() => {
        section.place(bad);
        send();
        section.call('exit_group', [2]);
      });
    });
    t.same([reports[0]?.value, code], [failed('EBADF'), 2]);
  });

  await t.test('reports the call that failed, and 64-bit numbers reach the kernel', async (t) => {
    const { failures, code } = await run((section) => {
      section.step('seek');
      const fd = section.room();
      section.call('memfd_create', [section.text('x'), 0], { into: fd });
      section.call('lseek', [{ at: fd }, 2 ** 40, 0]);
      section.step('open "/no/such"');
      section.call('openat', [-100, section.text('/no/such'), 0, 0]);
    });
    t.same([failures, code], [['open "/no/such": ENOENT'], 127]);
  });

  await t.test('ends without a program', async (t) => {
    t.equal(await perform(Buffer.alloc(0)).code, 127);
  });
});

t.test('linkProgram() refuses what is too long or unknown', async (t) => {
  const machine = describeMachine('x64');
  const long = new Section();
  long.room(9_000_000);
  t.throws(() => linkProgram([long], machine), /too long/);
  const unknown = new Section();
  unknown.call('no_such_call', []);
  t.throws(() => linkProgram([unknown], machine), /"no_such_call": not known/);
});

for (const architecture of ['x64', 'arm64'] as const) {
  t.test(
    `buildContainerProgram() for ${architecture} joins the cgroup before its namespace and mounts last`,
    async (t) => {
      const program = buildContainerProgram({
        machine: describeMachine(architecture),
        spec: {
          ociVersion: '1.2.0',
          process: { args: ['x'], cwd: '/w', noNewPrivileges: true },
          mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
          linux: {
            namespaces: [{ type: 'pid' }, { type: 'mount' }, { type: 'cgroup' }],
            maskedPaths: ['/proc/kcore'],
          },
        },
        directory: '/d',
        rootfs: { kind: 'path', path: '/r' },
        stagingDir: '/s',
        cgroupJoinFiles: ['/cg/procs'],
        cgroupMounts: { version: 2, mountPoint: '/sys/fs/cgroup' },
        directories: new Set(),
        stdin: false,
        inheritStreams: false,
        ownedStreams: [1, 2],
        hostUid: 0,
        seccomp: undefined,
      });
      const lines = listProgram(program.sections);
      const order = [
        'clone(',
        '"/cg/procs"',
        'unshare(0x2020000)',
        'mount("/r", "/s"',
        'mount("proc", "."',
        '"/dev/null"',
      ];
      order.push(
        '"/proc/kcore"',
        'pivot_root(".", ".")',
        'capset(',
        'close_range(4',
        'chdir("/w")',
        'prctl(38',
        'execve(',
      );
      const child = lines.slice(lines.indexOf('section 1'));
      const positions = order.slice(1).map((text) => child.findIndex((line) => line.includes(text)));
      t.ok(
        positions.every((position) => position > 0),
        positions.join(),
      );
      // The mask is opened before /dev/null is.
      const ordered = positions.toSpliced(4, 1);
      t.same(
        ordered,
        ordered.toSorted((a, b) => a - b),
      );
      t.ok(lines.some((line) => line.includes('clone(0x20001011')));
    },
  );
}

t.test('containers cannot reach what is outside', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const engine = await fixture.openEngine();
  const rootfs = { kind: 'path', path: fixture.rootfs } as const;
  const create = async (id: string, args: readonly string[], cwd = '/') => {
    const spec = fixture.buildSpec(args, { process: { cwd } });
    await engine.create({ id, spec, rootfs });
    return engine.status(id)!.pid!;
  };

  await t.test('CVE-2019-5736: the file of the first process is not to be changed', async (t) => {
    const pid = await create('waits', ['true']);
    const path = `/proc/${pid}/exe`;
    t.match(readlinkSync(path), /tkadm-performer/);
    const before = readFileSync(path);
    t.same(before, buildPerformer(arch() as 'x64'));
    t.throws(() => openSync(path, 'r+'), { code: 'ETXTBSY' });
    const held = openSync(path, 'r');
    await engine.delete('waits', { force: true });
    // What the attack did: wait for the end of the program behind a descriptor, then write. The spawner runs it still.
    t.throws(() => openSync(`/proc/self/fd/${held}`, 'r+'), { code: 'ETXTBSY' });
    t.equal(loadLibc().fcntl(held, F_GET_SEALS, 0), ALL_SEALS, 'and without one it cannot be written either');
    t.same(readFileSync(`/proc/self/fd/${held}`), before);
    closeSync(held);
  });

  await t.test(
    'CVE-2019-5736: an image whose program is /proc/self/exe runs nothing of the host',
    async (t) => {
      symlinkSync('/proc/self/exe', join(fixture.rootfs, 'bin/evil'));
      writeFileSync(join(fixture.rootfs, 'bin/script'), '#!/proc/self/exe\n', { mode: 0o755 });
      for (const name of ['evil', 'script']) {
        await create(name, [name]);
        await engine.start(name);
        t.equal((await engine.wait(name)).exitCode, 127);
        await engine.delete(name);
      }
      await create('after', ['true']);
      await engine.start('after');
      t.equal((await engine.wait('after')).exitCode, 0);
      await engine.delete('after');
    },
  );

  await t.test('CVE-2024-21626: no descriptor is a way out', async (t) => {
    for (let fd = 3; fd < 12; fd += 1) {
      const id = `fd${fd}`;
      await create(id, ['true'], `/proc/self/fd/${fd}`);
      await t.rejects(engine.start(id), {
        code: 'CONTAINER_LAUNCH',
        message: /chdir to cwd "\/proc\/self\/fd/,
      });
      await engine.delete(id, { force: true });
    }
    await create('box', ['sleep', '60']);
    await engine.start('box');
    for (let fd = 3; fd < 12; fd += 1) {
      const exec = engine.exec('box', { process: { args: ['true'], cwd: `/proc/self/fd/${fd}` } });
      await t.rejects(exec, { code: 'CONTAINER_EXEC', message: /chdir to cwd "\/proc\/self\/fd/ });
    }
    await engine.delete('box', { force: true });
  });

  await t.test('links of an image lead to places inside', async (t) => {
    const outside = join(fixture.directory, 'outside');
    mkdirSync(outside);
    for (const [name, target] of [
      ['absolute', outside],
      ['relative', '../../../../../../../..'],
      ['magic', '/proc/self/cwd'],
    ] as const) {
      symlinkSync(target, join(fixture.rootfs, name));
      const destination = `/${name}/made`;
      const mounts = [{ destination, type: 'tmpfs', source: 'tmpfs', options: [] }];
      const spec = fixture.buildSpec(['true'], { spec: { mounts } });
      await engine.create({ id: name, spec, rootfs }).then(
        () => engine.delete(name, { force: true }),
        (error: Error) => t.match(error, { code: 'CONTAINER_LAUNCH' }),
      );
    }
    t.throws(() => openSync(join(outside, 'made'), 'r'), { code: 'ENOENT' });
  });

  await t.test('rro makes every mount below read-only, rshared passes mounts on to the host', async (t) => {
    const libc = loadLibc();
    const source = join(fixture.directory, 'volume');
    mkdirSync(source);
    const run = async (propagation: string, access: string, script: string) => {
      const capabilities = {
        bounding: ['CAP_SYS_ADMIN'],
        effective: ['CAP_SYS_ADMIN'],
        permitted: ['CAP_SYS_ADMIN'],
      };
      const options = ['rbind', propagation, access];
      const spec = fixture.buildSpec(['sh', '-c', script], {
        process: { capabilities },
        spec: { mounts: [{ destination: '/volume', type: 'bind', source, options }] },
        linux: { rootfsPropagation: propagation },
      });
      await engine.create({ id: 'volumes', spec, rootfs });
      await engine.start('volumes');
      const { exitCode } = await engine.wait('volumes');
      await engine.delete('volumes');
      return exitCode;
    };
    const isMounted = (path: string) => readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${path} `);
    libc.mount('tmpfs', source, 'tmpfs', 0, 'size=64k');
    try {
      libc.mount(null, source, null, MS.SHARED, null);
      t.equal(await run('rprivate', 'rw', 'mkdir /volume/a && mount -t tmpfs x /volume/a'), 0);
      t.notOk(isMounted(`${source}/a`), 'rprivate');
      t.equal(await run('rslave', 'rw', 'mount -t tmpfs x /volume/a'), 0);
      t.notOk(isMounted(`${source}/a`), 'rslave');
      t.equal(await run('rshared', 'rw', 'mount -t tmpfs x /volume/a && touch /volume/a/inner'), 0);
      t.ok(isMounted(`${source}/a`), 'rshared');
      t.ok(existsSync(join(source, 'a/inner')));
      t.equal(await run('rprivate', 'ro', 'touch /volume/x || touch /volume/a/x'), 0, 'ro is the top alone');
      t.equal(await run('rprivate', 'rro', 'touch /volume/x || touch /volume/a/y'), 1, 'rro is all');
    } finally {
      libc.umount(source, MNT_DETACH);
    }
  });

  await t.test(
    'the kernel refuses what the default profile does not allow',
    { skip: !isX64 && 'machine code for x64' },
    async (t) => {
      const numbers = listAbis('x64')[0]!.numbers;
      // Calls without arguments: the exit code is the errno.
      const rows = [
        ['keyctl', 1],
        ['mount', 1],
        ['unshare', 0],
        ['request_key', 1],
        ['clone3', 38],
        ['getpid', undefined],
        ['no_such', 38],
      ] as const;
      for (const [name] of rows)
        writeFileSync(join(fixture.rootfs, 'bin', name), buildCaller(numbers.get(name) ?? 511), {
          mode: 0o755,
        });
      const run = async (name: string, seccomp: ReturnType<typeof buildDefaultSeccomp> | undefined) => {
        const capabilities = {
          bounding: ['CAP_SYS_ADMIN'],
          effective: ['CAP_SYS_ADMIN'],
          permitted: ['CAP_SYS_ADMIN'],
        };
        const spec = fixture.buildSpec([name], {
          process: { capabilities, noNewPrivileges: false },
          linux: seccomp === undefined ? {} : { seccomp },
        });
        await engine.create({ id: 'call', spec, rootfs });
        await engine.start('call');
        const { exitCode } = await engine.wait('call');
        await engine.delete('call');
        return exitCode;
      };
      for (const [name, errno] of rows) {
        if (errno === undefined) continue;
        const expected = name === 'unshare' ? 1 : errno;
        t.equal(
          await run(name, buildDefaultSeccomp(DEFAULT_CAPABILITIES)),
          expected,
          `${name} with the profile`,
        );
        if (name !== 'no_such') t.not(await run(name, undefined), expected, `${name} without`);
      }
    },
  );

  await engine.close();
  fixture.removeCgroups();
  fixture.remove();
});

/** A program that makes one system call with zero arguments and exits with its errno. */
function buildCaller(number: number): Buffer {
  const code = [
    ...[0xb8, ...little(number)], // mov eax, number
    ...[0x31, 0xff, 0x31, 0xf6, 0x31, 0xd2, 0x4d, 0x31, 0xd2, 0x4d, 0x31, 0xc0], // xor edi, esi, edx, r10, r8
    ...[0x0f, 0x05, 0xf7, 0xd8, 0x89, 0xc7], // syscall; neg eax; mov edi, eax
    ...[0xb8, ...little(60), 0x0f, 0x05], // mov eax, 60; syscall
  ];
  return buildElf('x64', Buffer.from(code));
}
