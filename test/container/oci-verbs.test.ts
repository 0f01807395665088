import { type ChildProcess, execFile, spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import { sleep } from '../../runtime/base/time.ts';
import type { OciHook, OciSpec } from '../../runtime/container/oci-spec.ts';
import { loadInodes } from '../../runtime/image/inodes.ts';
import {
  buildProgram,
  cgroupDirectories,
  createFixture,
  findProcesses,
  type SpecChanges,
  skipReason,
} from './fixture.ts';

const execute = promisify(execFile);
/** Listens at a path, takes a terminal's master and prints what it shows. */
const RECEIVER = `
import os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print('listening', flush=True)
connection, _ = server.accept()
name, fds, _, _ = socket.recv_fds(connection, 100, 1)
os.write(fds[0], b'typed\\n')
try:
    while True:
        data = os.read(fds[0], 4096)
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
except OSError:
    pass
`;

t.test('verbs and flags of tkadm-oci', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const program = buildProgram(fixture.directory, 'oci-main');
  const bundle = join(fixture.directory, 'bundle');
  mkdirSync(bundle);
  renameSync(fixture.rootfs, join(bundle, 'rootfs'));
  const command = [program, '--root', fixture.stateDir];
  const oci = async (...args: readonly string[]) => {
    try {
      const { stdout, stderr } = await execute(process.execPath, [...command, ...args], { timeout: 60_000 });
      return { code: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, stdout, stderr };
    }
  };
  /** A container in the background keeps the streams of who made it: they must not be our pipes. */
  const detached = async (stdio: 'ignore' | readonly ('ignore' | number)[], ...args: readonly string[]) => {
    const child = spawn(process.execPath, [...command, ...args], {
      stdio: stdio === 'ignore' ? stdio : [...stdio],
    });
    return await new Promise<number | null>((resolve) => child.on('exit', resolve));
  };
  const write = (args: readonly string[], changes: SpecChanges = {}) => {
    const spec = fixture.buildSpec(args, { ...changes, spec: { root: { path: 'rootfs' }, ...changes.spec } });
    const { linux } = spec;
    writeFileSync(
      join(bundle, 'config.json'),
      JSON.stringify({ ...spec, linux: { ...linux, cgroupsPath: `${fixture.cgroupParent}/c` } }),
    );
  };
  const state = async (id: string) =>
    JSON.parse((await oci('state', id)).stdout) as { readonly status: string; readonly pid: number };
  const stopped = async (id: string) => {
    for (let tries = 0; tries < 200 && (await state(id)).status !== 'stopped'; tries += 1) await sleep(20);
  };

  await t.test(
    'create, start, pause, resume, kill --all and delete show in state, list and ps',
    async (t) => {
      write(['sh', '-c', 'sleep 1000 & sleep 1000 & wait'], { spec: { annotations: { a: 'b' } } });
      t.equal(await detached('ignore', 'create', '--bundle', bundle, 'one'), 0);
      t.match(await state('one'), {
        status: 'created',
        ociVersion: '1.2.0',
        annotations: { a: 'b' },
        bundle,
        rootfs: join(bundle, 'rootfs'),
      });
      t.match(await oci('create', '--bundle', bundle, 'one'), {
        code: 1,
        stderr: /Cannot create container "one": it exists/,
      });
      t.match(await oci('exec', 'one', 'hostname'), { code: 0, stdout: /./ }, 'before the program runs');
      t.equal((await oci('start', 'one')).code, 0);
      t.match(await oci('start', 'one'), { code: 1, stderr: /Cannot start container "one": it is running/ });
      const { pid } = await state('one');
      t.match(
        (await oci('list')).stdout,
        new RegExp(`^ID .*\\none +${pid} +running +${bundle} +\\S+ +root\\n$`),
      );
      t.equal((await oci('list', '-q')).stdout, 'one\n');
      t.match(JSON.parse((await oci('list', '-f', 'json')).stdout), [{ id: 'one', status: 'running' }]);
      let pids: readonly number[] = [];
      for (let tries = 0; tries < 100 && pids.length < 3; tries += 1) {
        pids = JSON.parse((await oci('ps', '-f', 'json', 'one')).stdout) as readonly number[];
      }
      t.equal(pids.length, 3);
      t.match((await oci('ps', 'one')).stdout, /PID[\s\S]*sleep 1000/);
      t.match((await oci('ps', 'one', '-o', 'pid,comm')).stdout, new RegExp(`${pid} sh`));
      t.equal((await oci('pause', 'one')).code, 0);
      t.match(await state('one'), { status: 'paused' });
      t.match(await oci('pause', 'one'), { code: 1, stderr: /Cannot pause container "one": it is paused/ });
      t.match(await oci('exec', 'one', 'true'), { code: 255, stderr: /it is paused/ });
      t.equal((await oci('resume', 'one')).code, 0);
      t.match(await oci('resume', 'one'), { code: 1, stderr: /it is not paused/ });
      t.match(await oci('delete', 'one'), {
        code: 1,
        stderr: /Cannot delete container "one": it is running/,
      });
      t.equal((await oci('kill', 'one', '0')).code, 0, 'signal 0 asks');
      for (const [flags, message] of [
        [['--cwd', 'tmp'], /"--cwd=tmp": it is no absolute path/],
        [['--env', 'BAD'], /"--env=BAD": it is not NAME=VALUE/],
        [['-g', 'x'], /"--additional-gids=x": it is no number/],
      ] as const)
        t.match(await oci('exec', ...flags, 'one', 'true'), { code: 255, stderr: message });
      t.match(await oci('exec', '--user', '', '--cap', 'CAP_X', 'one', 'true'), {
        code: 0,
        stderr: /not: CAP_X/,
      });
      t.equal((await oci('kill', '--all', 'one', 'KILL')).code, 0);
      await stopped('one');
      t.match(await state('one'), { status: 'stopped', pid: 0 });
      t.equal((await oci('delete', 'one')).code, 0);
      t.match(await oci('delete', 'one'), { code: 1, stderr: /Cannot find container "one"/ });
      t.equal((await oci('delete', '--force', 'one')).code, 0);
    },
  );

  await t.test('run --detach, --pid-file and exec with its flags', async (t) => {
    write(['sleep', '1000']);
    const pidFile = join(fixture.directory, 'pid');
    t.equal(await detached('ignore', 'run', '-d', '-b', bundle, '--pid-file', pidFile, 'two'), 0);
    t.equal(Number(readFileSync(pidFile, 'utf8')), (await state('two')).pid);
    const shown = await oci(
      'exec',
      '-e',
      'A=b',
      '-u',
      '1000:7',
      '-g',
      '8',
      '--cwd',
      '/tmp',
      '--cap',
      'CAP_NET_RAW',
      '--no-new-privs',
      'two',
      'sh',
      '-c',
      'echo $A; id; pwd; grep -E "CapBnd|NoNew" /proc/self/status; exit 3',
    );
    t.match(shown, {
      code: 3,
      stdout: /^b\nuid=1000\(web\) gid=7 groups=8\n\/tmp\nCapBnd:\t0000000000002021\nNoNewPrivs:\t1\n$/,
    });
    const file = join(fixture.directory, 'process.json');
    writeFileSync(
      file,
      JSON.stringify({ args: ['sh', '-c', 'echo from a file'], cwd: '/', env: ['PATH=/bin'] }),
    );
    t.match(await oci('exec', '--process', file, 'two'), { code: 0, stdout: 'from a file\n' });
    t.equal(await detached('ignore', 'exec', '-d', '--pid-file', pidFile, 'two', 'sleep', '1001'), 0);
    t.match(readFileSync(`/proc/${readFileSync(pidFile, 'utf8')}/cmdline`, 'utf8'), /^sleep\x001001/);
    t.match(await oci('exec', 'two', 'no-such-program'), {
      code: 255,
      stderr: /executable file not found in \$PATH/,
    });
    t.match(await oci('exec', 'two'), { code: 255, stderr: /the command is missing/ });
    t.equal((await oci('delete', '-f', 'two')).code, 0);
  });

  await t.test('scheduling, personality, CPUs, attributes of copied files, and cgroups below', async (t) => {
    const place = join(bundle, 'rootfs/copied');
    mkdirSync(place);
    writeFileSync(join(place, 'program'), '', { mode: 0o755 });
    const inodes = loadInodes();
    // VFS_CAP_REVISION_2 with CAP_NET_RAW, permitted (capabilities(7)).
    const capability = Buffer.from('0000000200200000000000000000000000000000', 'hex');
    inodes.setxattr(join(place, 'program'), 'security.capability', capability);
    write(['sleep', '1000'], {
      process: {
        scheduler: { policy: 'SCHED_BATCH', nice: 5 },
        ioPriority: { class: 'IOPRIO_CLASS_IDLE', priority: 0 },
        execCPUAffinity: { initial: '0', final: '0-0' },
      },
      linux: { personality: { domain: 'LINUX32' } },
      spec: {
        mounts: [{ destination: '/copied', type: 'tmpfs', source: 'tmpfs', options: ['tmpcopyup'] }],
      },
    });
    t.equal(await detached('ignore', 'run', '-d', '-b', bundle, 'five'), 0);
    const { pid } = await state('five');
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
    t.equal(stat[16], '5', 'nice');
    t.equal(stat[38], '3', 'SCHED_BATCH');
    t.equal((await execute('ionice', ['-p', String(pid)])).stdout.trim(), 'idle');
    t.equal(readFileSync(`/proc/${pid}/personality`, 'utf8').trim(), '00000008');
    const attributes = inodes.attributes(`/proc/${pid}/root/copied/program`);
    t.same(attributes.get('security.capability'), capability);
    const cpus = await oci('exec', 'five', 'grep', 'Cpus_allowed_list', '/proc/self/status');
    t.equal(cpus.stdout, 'Cpus_allowed_list:\t0\n');

    for (const directory of cgroupDirectories(`${fixture.cgroupParent}/c`)) {
      mkdirSync(join(directory, 'sub'));
      for (const file of ['cpuset.cpus', 'cpuset.mems'])
        if (existsSync(join(directory, file)))
          writeFileSync(join(directory, 'sub', file), readFileSync(join(directory, file), 'utf8'));
    }
    const { stdout } = await oci('exec', '--cgroup', 'sub', 'five', 'cat', '/proc/self/cgroup');
    const memory = /^(?:\d+:memory|0:):(.*)$/m.exec(stdout)?.[1];
    t.match(memory, /\/c\/sub$|^\/sub$/, stdout);
    t.match(await oci('exec', '--cgroup', '../..', 'five', 'true'), { code: 255, stderr: /leads out of/ });
    t.match(await oci('exec', '--cgroup', 'none', 'five', 'true'), { code: 255, stderr: /none.*ENOENT/ });
    t.match(await oci('exec', '--cgroup', 'nothing:sub', 'five', 'true'), {
      code: 255,
      stderr: /controller/,
    });
    t.equal((await oci('delete', '-f', 'five')).code, 0);
    t.same(cgroupDirectories(`${fixture.cgroupParent}/c`), []);
    rmSync(place, { recursive: true });
  });

  await t.test('update and events', async (t) => {
    write(['sleep', '1000']);
    await detached('ignore', 'run', '-d', '-b', bundle, 'three');
    t.equal(
      (await oci('update', '--memory', '32m', '--pids-limit', '20', '--cpu-share', '512', 'three')).code,
      0,
    );
    const limits = cgroupDirectories(`${fixture.cgroupParent}/c`).flatMap((directory) =>
      ['memory.limit_in_bytes', 'memory.max', 'pids.max', 'cpu.shares']
        .map((name) => join(directory, name))
        .filter((path) => existsSync(path))
        .map((path) => readFileSync(path, 'utf8').trim()),
    );
    for (const value of ['33554432', '20', ...(limits.length === 3 ? ['512'] : [])])
      t.ok(limits.includes(value), `${value} of ${limits.join()}`);
    const file = join(fixture.directory, 'resources.json');
    writeFileSync(file, JSON.stringify({ pids: { limit: 30 } }));
    t.equal((await oci('update', '-r', file, 'three')).code, 0);
    const stats = JSON.parse((await oci('events', '--stats', 'three')).stdout);
    t.match(stats, {
      type: 'stats',
      id: 'three',
      data: {
        pids: { current: 1, limit: 30 },
        memory: { usage: { usage: Number } },
        cpu: { usage: { total: Number } },
      },
    });
    t.match(await oci('update', 'three'), { code: 1, stderr: /no limit is given/ });
    t.match(await oci('update', '--memory', 'much', 'three'), {
      code: 1,
      stderr: /"--memory=much": it is no size/,
    });
    t.match(await oci('update', '--l3-cache-schema', 'x', 'three'), {
      code: 1,
      stderr: /Intel RDT is not supported/,
    });
    // Events end with the container; a process that the kernel kills for its memory is one.
    const watcher = spawn(process.execPath, [...command, 'events', '--interval', '50ms', 'three'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    let isFilled = false;
    const hasBoth = new Promise<void>((resolve) => {
      watcher.stdout.on('data', (chunk: Buffer) => {
        output += chunk.toString();
        if (!isFilled && output.includes('"stats"')) {
          isFilled = true;
          void oci('exec', 'three', 'dd', 'if=/dev/zero', 'of=/dev/null', 'bs=64M', 'count=1');
        }
        if (output.includes('"oom"')) resolve();
      });
    });
    const ended = new Promise((resolve) => watcher.on('exit', resolve));
    await hasBoth;
    t.match(await oci('delete', '-f', 'three'), { code: 0, stderr: '' });
    t.equal(await ended, 0);
    const lines = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { readonly type: string });
    t.match(
      lines.find(({ type }) => type === 'stats'),
      { id: 'three' },
    );
    t.match(
      lines.find(({ type }) => type === 'oom'),
      { id: 'three' },
    );
  });

  await t.test('hooks run at their time, with the state; a failure stops the creation', async (t) => {
    const log = join(fixture.directory, 'hooks.log');
    const inside = join(bundle, 'rootfs/hooks.log');
    const hook = (name: string, file: string): OciHook => ({
      path: '/bin/sh',
      args: ['sh', '-c', `read state; echo "${name} $N $(hostname) $state" >> ${file}`],
      env: [`N=${name}`, 'PATH=/bin:/usr/bin'],
      timeout: 60,
    });
    const hooks = {
      prestart: [hook('prestart', log)],
      createRuntime: [hook('createRuntime', log)],
      createContainer: [hook('createContainer', log)],
      startContainer: [hook('startContainer', '/hooks.log')],
      poststart: [hook('poststart', log)],
      poststop: [hook('poststop', log)],
    };
    write(['sh', '-c', 'echo main >> /hooks.log'], { spec: { hooks, annotations: { k: 'v' } } });
    t.match(await oci('run', '-b', bundle, 'four'), { code: 0, stderr: '' });
    const seen = readFileSync(log, 'utf8')
      .trim()
      .split('\n')
      .map((line) => line.split(' '));
    t.same(
      seen.map(([name]) => name),
      ['prestart', 'createRuntime', 'createContainer', 'poststart', 'poststop'],
    );
    const host = readFileSync('/proc/sys/kernel/hostname', 'utf8').trim();
    // The container's name is set later: what is before is its own namespace's.
    t.same(
      seen.map(([, , name]) => name),
      [host, host, host, host, host],
    );
    const statuses = seen.map((words) => JSON.parse(words.slice(3).join(' ')));
    t.match(statuses[0], {
      ociVersion: '1.2.0',
      id: 'four',
      status: 'creating',
      bundle,
      annotations: { k: 'v' },
    });
    t.same(
      statuses.map(({ status }) => status),
      ['creating', 'creating', 'creating', 'running', 'stopped'],
    );
    t.equal(
      new Set(statuses.slice(0, -1).map(({ pid }) => pid)).size,
      1,
      'the same pid, whether it has ended',
    );
    t.equal(statuses.at(-1).pid, 0);
    t.match(
      readFileSync(inside, 'utf8'),
      /^startContainer startContainer box \{.*"status":"created".*\}\nmain\n$/,
    );
    for (const [kind, message] of [
      [
        'createRuntime',
        /Cannot run hook "\/bin\/sh" \(createRuntime\) of container "five": exit code 9: reason/,
      ],
      ['createContainer', /\(createContainer\) of container "five": exit code 9/],
    ] as const) {
      write(['true'], {
        spec: { hooks: { [kind]: [{ path: '/bin/sh', args: ['sh', '-c', 'echo reason >&2; exit 9'] }] } },
      });
      t.match(await oci('run', '-b', bundle, 'five'), { code: 1, stderr: message });
    }
    write(['true'], {
      spec: { hooks: { prestart: [{ path: '/bin/sleep', args: ['sleep', '1000'], timeout: 1 }] } },
    });
    t.match(await oci('run', '-b', bundle, 'five'), { code: 1, stderr: /not done after 1 s/ });
    t.same(JSON.parse((await oci('list', '-f', 'json')).stdout), []);
    rmSync(inside);
  });

  await t.test(
    '--console-socket gets the master of the terminal',
    { skip: !existsSync('/usr/bin/python3') && 'needs python3' },
    async (t) => {
      const socket = join(fixture.directory, 'console.sock');
      const changes = { process: { terminal: true, consoleSize: { width: 66, height: 22 } } };
      write(['sh', '-c', 'read line; echo got $line; tty; stty size; sleep 1000'], changes);
      const create = await receive(socket, /22 66/, () =>
        detached('ignore', 'run', '-d', '-b', bundle, '--console-socket', socket, 'six'),
      );
      t.match(create, /got typed\r\n\/dev\/console\r\n22 66/);
      const exec = await receive(socket, /\/dev\/pts/, () =>
        detached(
          'ignore',
          'exec',
          '-d',
          '-t',
          '--console-socket',
          socket,
          'six',
          'sh',
          '-c',
          'read line; echo exec $line; tty',
        ),
      );
      t.match(exec, /exec typed\r\n\/dev\/pts\/\d/);
      t.match(await oci('create', '-b', bundle, 'seven'), {
        code: 1,
        stderr: /"process.terminal" needs a console socket/,
      });
      t.match(await oci('run', '-d', '-b', bundle, '--console-socket', '/no/such', 'seven'), {
        code: 1,
        stderr: /connect to the console socket "\/no\/such": ENOENT/,
      });
      await oci('delete', '-f', 'six');
    },
  );

  await t.test('--preserve-fds hands descriptors on; no other one is there', async (t) => {
    const path = join(fixture.directory, 'handed');
    write([
      'sh',
      '-c',
      'echo three >&3; echo four >&4; readlink /proc/self/fd/5 >&3; ls /proc/self/fd | tr "\\n" " " >&4',
    ]);
    const [three, four] = [openSync(`${path}3`, 'w'), openSync(`${path}4`, 'w')];
    t.equal(
      await detached(
        ['ignore', 'ignore', 'ignore', three, four],
        'run',
        '-b',
        bundle,
        '--preserve-fds',
        '2',
        'eight',
      ),
      0,
    );
    t.equal(readFileSync(`${path}3`, 'utf8'), 'three\n');
    t.equal(readFileSync(`${path}4`, 'utf8'), 'four\n0 1 2 3 4 5 ', 'the last is of ls itself');
    for (const args of [['/no-such'], ['no-such']]) {
      write(args);
      const stderr = openSync(`${path}err`, 'w');
      t.equal(
        await detached(
          ['ignore', 'ignore', stderr, three, four],
          'run',
          '-b',
          bundle,
          '--preserve-fds',
          '2',
          'eight',
        ),
        1,
      );
      t.match(readFileSync(`${path}err`, 'utf8'), /exec: "(\/)?no-such"/, 'a failure is still reported');
    }
  });

  await t.test('--no-pivot moves the root; a session keyring is new unless --no-new-keyring', async (t) => {
    write(['sh', '-c', 'ls /; head -1 /proc/keys'], { linux: { maskedPaths: [] } });
    const usual = await oci('run', '-b', bundle, 'nine');
    const moved = await oci('run', '-b', bundle, '--no-pivot', 'nine');
    t.match(moved, { code: 0 });
    t.equal(moved.stdout.split('\n')[0], usual.stdout.split('\n')[0]);
    t.equal((await oci('run', '-b', bundle, '--no-new-keyring', 'nine')).code, 0);
  });

  await t.test('messages: --log and --log-format, help, and what is mistyped or missing', async (t) => {
    const log = join(fixture.directory, 'log');
    await oci('--log', log, '--log-format', 'json', 'state', 'nobody');
    t.match(JSON.parse(readFileSync(log, 'utf8')), {
      level: 'error',
      msg: /Cannot find container "nobody"/,
      time: String,
    });
    const config = readFileSync(join(bundle, 'config.json'), 'utf8');
    const wrong = (name: string, change: (spec: OciSpec) => object): string => {
      const path = join(fixture.directory, name);
      writeFileSync(path, JSON.stringify(change(JSON.parse(config))));
      return path;
    };
    const rootless = wrong('rootless.json', (spec) => ({ ...spec, root: undefined }));
    const twice = wrong('twice.json', ({ linux, ...spec }) => ({
      ...spec,
      linux: { ...linux, namespaces: [...(linux?.namespaces ?? []), { type: 'pid' }] },
    }));
    const small = wrong('small.json', ({ linux, ...spec }) => ({
      ...spec,
      linux: { ...linux, resources: { memory: { limit: 4096 } } },
    }));
    const rows: readonly (readonly [readonly string[], RegExp])[] = [
      [['run', '-b', bundle, '-f', rootless, 'x'], /"root.path" is missing/],
      [['run', '-b', bundle, '-f', twice, 'x'], /"linux.namespaces" has "pid" twice/],
      [['run', '-b', bundle, '-f', small, 'x'], /"memory.limit" is too low/],
      [['--rootless=true', 'list'], /it needs|runs as root/],
      [['--log-format', 'xml', 'list'], /neither "text" nor "json"/],
      [['run', '--bundel', bundle, 'x'], /Cannot use "--bundel": "tkadm-oci run" has no such flag/],
      [['run', '--bundle'], /the value is missing/],
      [['run', '-b', bundle], /the container id is missing/],
      [['run', '-b', '/no/such', 'x'], /Cannot read "\/no\/such\/config.json"/],
      [['run', '-b', bundle, '../x'], /the id is no file name/],
      [['kill', 'nobody', 'KILL'], /Cannot find container "nobody"/],
      [['list', '-f', 'xml'], /neither "table" nor "json"/],
      [['spec', '--rootless'], /runs as root/],
      [['spec', '--bundle', bundle], /Cannot write ".*config.json": it exists/],
      [['run', '-b', bundle, 'x', 'y'], /Cannot use "y": it is one argument too many/],
      [['features', 'x'], /one argument too many/],
      [['run', '-b', '/no/such', 'x'], /Cannot read ".*": there is no such file/],
      [['checkpoint', 'x'], /Cannot run "checkpoint": containers are not checkpointed/],
      [['frobnicate'], /Cannot run "frobnicate": no such command/],
    ];
    for (const [args, message] of rows)
      t.match(await oci(...args), { code: 1, stderr: message }, args.join(' '));
    t.match(await oci('--help'), { code: 0, stdout: /checkpoint|create ID/ });
    t.match(await oci('exec', '--help'), { code: 0, stdout: /--console-socket VALUE/ });
    t.match(await oci('--version'), { code: 0, stdout: /^tkadm-oci version .*\nspec: 1\.2\.0\n$/ });
    t.match(JSON.parse((await oci('features')).stdout), {
      hooks: ['prestart'],
      linux: { namespaces: /./, mountExtensions: { idmap: { enabled: true } } },
    });
  });

  t.same(readdirSync(join(fixture.stateDir, 'containers')), []);
  for (let tries = 0; tries < 200 && findProcesses(fixture.directory).length > 0; tries += 1) await sleep(20);
  t.same(findProcesses(fixture.directory), []);
  fixture.removeCgroups();
  fixture.remove();
});

/** What a terminal shows until it fits; `act` makes the process that sends it. */
async function receive(path: string, wanted: RegExp, act: () => Promise<number | null>): Promise<string> {
  rmSync(path, { force: true });
  const receiver: ChildProcess = spawn('/usr/bin/python3', ['-c', RECEIVER, path], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let output = '';
  const has = (pattern: RegExp) =>
    new Promise<void>((resolve) => {
      receiver.stdout!.on('data', () => pattern.test(output) && resolve());
      receiver.on('exit', () => resolve());
    });
  receiver.stdout!.on('data', (chunk: Buffer) => {
    output += chunk.toString();
  });
  await has(/listening/);
  const shown = has(wanted);
  await act();
  await shown;
  receiver.kill('SIGKILL');
  return output;
}
