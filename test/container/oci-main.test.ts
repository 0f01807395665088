import { execFile } from 'node:child_process';
import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import t from 'tap';
import type { OciSpec } from '../../runtime/container/oci-spec.ts';
import { buildProgram, createFixture, findProcesses, skipReason } from './fixture.ts';

const execute = promisify(execFile);

t.test('tkadm-oci', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const program = buildProgram(fixture.directory, 'oci-main');
  const bundle = join(fixture.directory, 'bundle');
  mkdirSync(bundle);
  renameSync(fixture.rootfs, join(bundle, 'rootfs'));
  const oci = async (...args: readonly string[]) => {
    try {
      const { stdout, stderr } = await execute(
        process.execPath,
        [program, '--root', fixture.stateDir, ...args],
        { timeout: 20000 },
      );
      return { code: 0, stdout, stderr };
    } catch (error) {
      const { code, stdout, stderr } = error as { code: number; stdout: string; stderr: string };
      return { code, stdout, stderr };
    }
  };
  const writeConfig = (args: readonly string[]) => {
    const base = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as OciSpec;
    const spec = {
      ...base,
      process: { ...base.process, args, terminal: false },
      linux: { ...base.linux, cgroupsPath: `${fixture.cgroupParent}/oci` },
    };
    writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  };

  await t.test('spec writes a bundle config, run returns output and code', async (t) => {
    t.equal((await oci('spec', '--bundle', bundle)).code, 0);
    writeConfig(['sh', '-c', 'echo hello; echo problem >&2; exit 9']);
    t.same(await oci('run', '--bundle', bundle, 'one'), { code: 9, stdout: 'hello\n', stderr: 'problem\n' });
    t.equal((await oci('list', '--format', 'json')).stdout, '[]\n');
  });

  await t.test('create, state, start, exec, kill and delete across processes', async (t) => {
    writeConfig(['sleep', '60']);
    const pidFile = join(fixture.directory, 'pid');
    // A detached container keeps its creator's streams: they must not be our pipes.
    await new Promise<void>((resolve) => {
      const args = [
        program,
        '--root',
        fixture.stateDir,
        'create',
        '-b',
        bundle,
        '--pid-file',
        pidFile,
        'two',
      ];
      import('node:child_process').then(({ spawn }) =>
        spawn(process.execPath, args, { stdio: 'ignore' }).on('exit', () => resolve()),
      );
    });
    const created = JSON.parse((await oci('state', 'two')).stdout);
    t.match(created, { id: 'two', status: 'created', bundle, pid: Number(readFileSync(pidFile, 'utf8')) });
    t.equal((await oci('start', 'two')).code, 0);
    t.match(JSON.parse((await oci('state', 'two')).stdout), { status: 'running' });
    t.same(
      await oci('exec', '--env', 'A=b', '--user', '1000:1000', 'two', 'sh', '-c', 'echo $A; id -u; exit 3'),
      {
        code: 3,
        stdout: 'b\n1000\n',
        stderr: '',
      },
    );
    t.match(await oci('delete', 'two'), { code: 1, stderr: /it is running/ });
    t.equal((await oci('kill', 'two', 'KILL')).code, 0);
    await new Promise((resolve) => setTimeout(resolve, 200));
    t.match(JSON.parse((await oci('state', 'two')).stdout), { status: 'stopped', pid: 0 });
    t.equal((await oci('delete', 'two')).code, 0);
    t.match(await oci('state', 'two'), { code: 1, stderr: /Cannot find container "two"/ });
  });

  await t.test('what is not supported is refused by name', async (t) => {
    t.match(await oci('checkpoint', 'x'), { code: 1, stderr: /checkpoint/ });
    t.match(await oci('run', '--no-such', 'x'), { code: 1, stderr: /--no-such/ });
    t.match(JSON.parse((await oci('features')).stdout), {
      ociVersionMax: '1.2.0',
      linux: { seccomp: { enabled: true } },
    });
  });

  t.same(findProcesses(fixture.directory), []);
  fixture.removeCgroups();
  fixture.remove();
});
