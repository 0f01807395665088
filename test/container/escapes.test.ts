import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import type { OciProcess } from '../../runtime/container/oci-spec.ts';
import { buildDefaultSeccomp } from '../../runtime/container/seccomp/default-profile.ts';
import {
  createFixture,
  findMonitors,
  readOutput,
  remainingMonitors,
  type SpecChanges,
  skipReason,
} from './fixture.ts';

t.test('known ways out of a container', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const engine = await fixture.openEngine();
  const rootfs = fixture.rootfs;
  let count = 0;
  const create = async (args: readonly string[], changes: SpecChanges = {}) => {
    count += 1;
    const id = `escape${count}`;
    const spec = fixture.buildSpec(args, changes);
    const own = changes.spec?.mounts;
    // A row may bring all of its mounts, where the usual ones would be in the way.
    const mounts = own?.[0]?.destination === '/proc' ? own : spec.mounts;
    await engine.create({
      id,
      spec: { ...spec, ...(mounts ? { mounts } : {}) },
      rootfs: { kind: 'path', path: rootfs },
      logPath: fixture.logPath(id),
    });
    return id;
  };
  const shell = async (script: string, changes: SpecChanges = {}) => {
    const id = await create(['sh', '-c', `exec 2>&1; ${script}`], changes);
    await engine.start(id);
    await engine.wait(id);
    await engine.delete(id);
    return readOutput(fixture.logPath(id));
  };
  const exec = async (id: string, process: Partial<OciProcess>) => {
    const session = await engine.exec(id, {
      process: { args: ['true'], cwd: '/', env: ['PATH=/bin'], ...process },
    });
    const chunks: Buffer[] = [];
    for await (const chunk of session.stdout) chunks.push(chunk as Buffer);
    await session.exited;
    return Buffer.concat(chunks).toString();
  };
  const PROC = { destination: '/proc', type: 'proc', source: 'proc' } as const;

  await t.test(
    'CVE-2019-5736: a program that is "#!/proc/self/exe" cannot write what executes it',
    async (t) => {
      writeFileSync(join(rootfs, 'evil'), '#!/proc/self/exe\n', { mode: 0o755 });
      const id = await create(
        [
          'sh',
          '-c',
          'exec 2>&1; while true; do for p in /proc/[0-9]*; do echo overwritten > $p/exe; done; done',
        ],
        {
          process: {
            capabilities: {
              bounding: ['CAP_DAC_OVERRIDE'],
              effective: ['CAP_DAC_OVERRIDE'],
              permitted: ['CAP_DAC_OVERRIDE'],
            },
          },
        },
      );
      await engine.start(id);
      for (let round = 0; round < 20; round += 1) await exec(id, { args: ['/evil'] }).catch(() => {});
      // What performs programs still does, in this container and in others.
      t.equal(await exec(id, { args: ['echo', 'well'] }), 'well\n');
      await engine.delete(id, { force: true });
      t.equal(await shell('echo well'), 'well\n');
      t.notMatch(readOutput(fixture.logPath(id)), /^$/);
    },
  );

  await t.test('CVE-2016-9962: a process that joins shows nothing of the host to those inside', async (t) => {
    const script =
      'exec 2>/dev/null; while true; do for p in /proc/[0-9]*; do readlink $p/exe; readlink $p/cwd; readlink $p/root; for f in $p/fd/*; do readlink $f; done; done; done';
    const id = await create(['sh', '-c', script]);
    await engine.start(id);
    for (let round = 0; round < 20; round += 1) await exec(id, {});
    await engine.delete(id, { force: true });
    const seen = new Set(readOutput(fixture.logPath(id)).split('\n'));
    t.ok(seen.has('/bin/busybox'));
    t.same(
      [...seen].filter((path) => /memfd|tkadm/.test(path) && !/\/(out|err)$/.test(path)),
      [],
    );
  });

  await t.test(
    'CVE-2024-21626: no descriptor is a working directory outside, at the start or with exec',
    async (t) => {
      const id = await create(['sleep', '1000']);
      await engine.start(id);
      for (let fd = 3; fd < 24; fd += 1) {
        for (const cwd of [`/proc/self/fd/${fd}`, `/proc/self/fd/${fd}/../../..`, `/proc/1/fd/${fd}`]) {
          await t.rejects(exec(id, { args: ['cat', 'etc/shadow'], cwd }), /chdir to cwd/, `exec in ${cwd}`);
        }
        await t.rejects(
          shell('pwd', { process: { cwd: `/proc/self/fd/${fd}` } }),
          /cwd|working directory/,
          `start in ${fd}`,
        );
      }
      await engine.delete(id, { force: true });
      for (const one of engine.list()) await engine.delete(one.id, { force: true });
    },
  );

  await t.test(
    'CVE-2021-30465, CVE-2024-45310: a link that another container swaps in a shared volume leads nowhere outside',
    async (t) => {
      const volume = join(fixture.directory, 'volume');
      const outside = join(fixture.directory, 'outside');
      for (const path of [volume, outside, join(volume, 'a')]) mkdirSync(path);
      symlinkSync(outside, join(volume, 'b'));
      symlinkSync(`../../../../../../../../../../${outside}`, join(volume, 'c'));
      const swap =
        'while true; do mv -T a link; mv -T link a; mv -T b link; mv -T link b; mv -T c link; mv -T link c; done';
      const attacker = spawn('/bin/busybox', ['sh', '-c', swap], { cwd: volume, stdio: 'ignore' });
      for (let round = 0; round < 30; round += 1) {
        const mounts = [
          { destination: '/v', type: 'bind', source: volume, options: ['rbind'] },
          { destination: '/v/link/deep', type: 'tmpfs', source: 'tmpfs' },
          { destination: '/v/link', type: 'bind', source: rootfs, options: ['rbind'] },
        ];
        // It may fail, when the link is just not there.
        await shell('touch /v/link/deep/touched', { spec: { mounts } }).catch(() => {});
        t.same(readdirSync(outside), []);
      }
      attacker.kill('SIGKILL');
      await new Promise((resolve) => attacker.once('exit', resolve));
      for (const one of engine.list()) await engine.delete(one.id, { force: true });
      t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), outside);
    },
  );

  await t.test('CVE-2019-19921, CVE-2023-27561: /proc and /sys are no links of the image', async (t) => {
    for (const name of ['proc', 'sys']) {
      const kept = join(fixture.directory, `kept-${name}`);
      renameSync(join(rootfs, name), kept);
      mkdirSync(join(rootfs, 'fake'), { recursive: true });
      symlinkSync('/fake', join(rootfs, name));
      await t.rejects(shell('true'), new RegExp(`mount "${name}s?f?s?" at "/${name}": ELOOP`));
      rmSync(join(rootfs, name));
      renameSync(kept, join(rootfs, name));
    }
    rmSync(join(rootfs, 'fake'), { recursive: true });
  });

  await t.test(
    "CVE-2025-31133: a path is masked by the host's /dev/null, not by what the image has there",
    async (t) => {
      rmSync(join(rootfs, 'dev'), { recursive: true });
      mkdirSync(join(rootfs, 'dev'));
      symlinkSync('/proc/sys/kernel/core_pattern', join(rootfs, 'dev/null'));
      const changes = {
        spec: { mounts: [PROC] },
        linux: {
          maskedPaths: ['/proc/timer_list', '/proc/sys/kernel/domainname'],
          readonlyPaths: ['/proc/sys'],
        },
      };
      const output = await shell(
        'ls -ln /proc/timer_list; wc -c < /proc/timer_list; echo x > /proc/sys/kernel/core_pattern',
        changes,
      );
      t.match(output, /^crw.* 1, +3 .*\/proc\/timer_list\n0\n.*Read-only file system/);
      rmSync(join(rootfs, 'dev/null'));
    },
  );

  await t.test(
    'CVE-2025-52565: /dev/console is the terminal, wherever the image lets it point',
    async (t) => {
      const before = readFileSync('/proc/sys/kernel/core_pattern', 'utf8');
      for (const target of ['/proc/sys/kernel/core_pattern', '/proc/timer_list']) {
        symlinkSync(target, join(rootfs, 'dev/console'));
        const changes = {
          process: { terminal: true },
          spec: {
            mounts: [
              PROC,
              {
                destination: '/dev/pts',
                type: 'devpts',
                source: 'devpts',
                options: ['newinstance', 'ptmxmode=0666'],
              },
            ],
          },
          linux: { maskedPaths: ['/proc/timer_list'], readonlyPaths: ['/proc/sys'] },
        };
        const output = await shell(
          'wc -c < /proc/timer_list; echo x > /proc/sys/kernel/core_pattern; echo x > /dev/console',
          changes,
        );
        t.match(output, /^0\r?\n/, target);
        t.equal(readFileSync('/proc/sys/kernel/core_pattern', 'utf8'), before);
        rmSync(join(rootfs, 'dev/console'), { force: true });
      }
    },
  );

  await t.test(
    'CVE-2019-16884, CVE-2025-52881: what is written to /proc goes to the kernel, whatever is mounted over it',
    async (t) => {
      const id = await create(['sh', '-c', 'sleep 1000'], {
        process: { oomScoreAdj: 321 },
        spec: {
          mounts: [PROC, { destination: '/proc/sys', type: 'tmpfs', source: 'tmpfs' }],
        },
        linux: { sysctl: { 'net.ipv4.ip_forward': '1' }, readonlyPaths: [] },
      });
      const { pid } = await engine.start(id);
      t.equal(readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'), '321\n');
      const namespaces = [
        { type: 'pid' },
        { type: 'mount' },
        { type: 'network', path: `/proc/${pid}/ns/net` },
      ] as const;
      t.equal(
        await shell('cat /proc/sys/net/ipv4/ip_forward', { spec: { hostname: '' }, linux: { namespaces } }),
        '1\n',
      );
      await engine.delete(id, { force: true });
    },
  );

  await t.test('CVE-2022-0492: no cgroup tells the host which program to run at its end', async (t) => {
    const enter = 'busybox unshare -U busybox true && echo entered';
    const write =
      'for file in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release); do echo 1 > $file && echo written; done';
    t.match(await shell(enter), /entered/, 'without a filter it may');
    const output = await shell(`${enter}; ${write}`, { linux: { seccomp: buildDefaultSeccomp([]) } });
    t.match(output, /Operation not permitted/);
    t.notMatch(output, /entered|written/);
  });

  await t.test('CVE-2020-15257: no socket of the runtime is open to whoever has the network', (t) => {
    const sockets = readFileSync('/proc/net/unix', 'utf8').split('\n');
    t.same(
      sockets.filter((line) => line.includes('@') && line.includes(fixture.directory)),
      [],
    );
    t.end();
  });

  await t.test('CVE-2022-29162: nothing is inheritable, and no group of the runtime is left', async (t) => {
    const script = 'grep -E "^(CapInh|CapAmb|Groups)" /proc/self/status';
    const nothing = /^Groups:\t *\nCapInh:\t0{16}\nCapAmb:\t0{16}\n$/;
    t.match(await shell(script), nothing);
    const id = await create(['sleep', '1000']);
    await engine.start(id);
    t.match(
      await exec(id, {
        args: ['sh', '-c', script],
        capabilities: { bounding: ['CAP_KILL'], permitted: ['CAP_KILL'], effective: ['CAP_KILL'] },
      }),
      nothing,
    );
    await engine.delete(id, { force: true });
  });

  await t.test(
    "CVE-2019-14271, CVE-2018-15664: nothing of an image is executed or read by the runtime as the host's",
    async (t) => {
      // HOME comes from the image's passwd, which must not be the host's.
      const passwd = readFileSync(join(rootfs, 'etc/passwd'), 'utf8');
      rmSync(join(rootfs, 'etc/passwd'));
      const secret = join(fixture.directory, 'passwd');
      writeFileSync(secret, 'x:x:1000:1000::/of-the-host:/bin/sh\n');
      symlinkSync(`../../../../../../../../${secret}`, join(rootfs, 'etc/passwd'));
      t.equal(await shell('echo $HOME', { process: { user: { uid: 1000, gid: 1000 } } }), '/\n');
      rmSync(join(rootfs, 'etc/passwd'));
      writeFileSync(join(rootfs, 'etc/passwd'), passwd);
    },
  );

  await t.test('tmpcopyup copies links as links', async (t) => {
    const secret = join(fixture.directory, 'secret');
    writeFileSync(secret, 'of the host');
    const place = join(rootfs, 'copied');
    mkdirSync(join(place, 'sub'), { recursive: true });
    symlinkSync(secret, join(place, 'link'));
    symlinkSync(fixture.directory, join(place, 'directory'));
    writeFileSync(join(place, 'sub/file'), 'of the image', { mode: 0o640 });
    const mounts = [
      { destination: '/copied', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup', 'ro', 'size=1m'] },
    ];
    const output = await shell(
      'cat /copied/link; ls /copied/directory/; cat /copied/sub/file; stat -c %a /copied/sub/file; touch /copied/x',
      { spec: { mounts } },
    );
    t.notMatch(output, /of the host|secret\n/);
    t.match(output, /of the image\n?640\ntouch: \/copied\/x: Read-only file system/);
    writeFileSync(join(place, 'big'), Buffer.alloc(2 << 20));
    await t.rejects(shell('true', { spec: { mounts } }), /ENOSPC/);
    rmSync(place, { recursive: true });
  });

  await t.test('names of a config that become paths lead nowhere else', async (t) => {
    const rows = [
      [{ cgroupsPath: '/../../../tmp/cgroup' }, /"linux.cgroupsPath" leads out of the cgroups/],
      [
        { resources: { hugepageLimits: [{ pageSize: '../../2MB', limit: 1 }] } },
        /Cannot set "hugepageLimits"/,
      ],
      [{ resources: { unified: { '../../../tmp/file': 'x' } } }, /Cannot set "unified/],
      [{ sysctl: { 'net/../../../tmp/file': 'x' } }, /sysctl .* not a parameter/],
    ] as const;
    for (const [linux, message] of rows) await t.rejects(shell('true', { linux }), message);
    t.same(engine.list(), []);
  });

  await t.test("without a cgroup namespace nothing is seen of others' cgroups", async (t) => {
    const neighbour = await create(['sleep', '1000']);
    await engine.start(neighbour);
    const namespaces = [{ type: 'pid' }, { type: 'mount' }, { type: 'uts' }] as const;
    const output = await shell(
      'find /sys/fs/cgroup -name "c[0-9]*"; find /sys/fs/cgroup -name cgroup.procs | wc -l; cat /sys/fs/cgroup/*/cgroup.procs /sys/fs/cgroup/cgroup.procs | grep -v "^[01]$" | grep -v "^[0-9]$"',
      { linux: { namespaces } },
    );
    t.match(output, /^\d+\n/);
    t.notMatch(output, /\/c\d/);
    await engine.delete(neighbour, { force: true });
  });

  for (const one of engine.list()) await engine.delete(one.id, { force: true });
  await engine.close();
  t.same(await remainingMonitors(fixture.directory), []);
  t.notOk(
    existsSync('/proc/self/mountinfo') &&
      readFileSync('/proc/self/mountinfo', 'utf8').includes(fixture.directory),
  );
  t.same(findMonitors(fixture.directory), []);
  fixture.removeCgroups();
  fixture.remove();
});
