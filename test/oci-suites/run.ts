import { mkdir, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { execa } from 'execa';
import { readTap, type TestResult } from './results.ts';

/** A program under test, and how it is called. */
export interface Runtime {
  readonly name: string;
  readonly command: readonly string[];
}

/** One program of a suite. */
interface Task {
  readonly name: string;
  readonly command: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
  /** Tests that the program consists of; without, it is one test. */
  readonly parts?: readonly string[];
}

const TIMEOUT_MS = 600_000;
/** Most of their time tests wait. */
const WORKERS = 4;
/** The namespaces of a run: what a test leaves there ends with it. */
const OWN = ['--mount', '--propagation=private', '--pid', '--fork', '--kill-child', '--mount-proc'];
const OTHERS = ['--net', '--ipc', '--uts'];
/** crun refuses cgroups of version 1 beside those of version 2, so they are taken away for all. */
const SETUP = [
  'umount /sys/fs/cgroup/unified 2>/dev/null',
  'ip link set lo up',
  // A test knows process ids by their five digits.
  'echo 20000 > /proc/sys/kernel/ns_last_pid',
  '"$@"',
  'exit $?',
].join('; ');

/** The results of every test with a runtime, by name. */
export async function runSuites(
  directory: string,
  runtime: Runtime,
  isLeftOut: (name: string) => boolean,
): Promise<ReadonlyMap<string, TestResult>> {
  const work = join(directory, 'work', runtime.name);
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true });
  const program = join(work, 'runtime');
  const quoted = [...runtime.command, '--root', join(work, 'state')].map((part) => `'${part}'`);
  await writeFile(program, `#!/bin/sh\nexec ${quoted.join(' ')} "$@"\n`, { mode: 0o755 });
  const tasks = [
    ...(await listValidation(directory, { program, work })),
    ...(await listCrunTests(directory, { program, work })),
  ];
  const results = new Map<string, TestResult>();
  // Those share the name of a cgroup.
  const isShared = ({ name }: Task) => name.includes(' linux_cgroups_');
  const lanes = [tasks.filter(isShared), ...tasks.filter((task) => !isShared(task)).map((task) => [task])];
  const queue = lanes[Symbol.iterator]();
  const worker = async () => {
    for (const lane of queue)
      for (const task of lane)
        for (const result of await runTask(task, isLeftOut)) results.set(result.name, result);
  };
  await Promise.all(Array.from({ length: WORKERS }, worker));
  return results;
}

interface Place {
  /** The runtime under test. */
  readonly program: string;
  /** For files of the tests. */
  readonly work: string;
}

async function listValidation(directory: string, { program, work }: Place): Promise<readonly Task[]> {
  const cwd = join(directory, 'runtime-tools');
  const names = await readdir(join(cwd, 'bin'));
  const env = { RUNTIME: program, TMPDIR: work };
  return names.map((name) => ({
    name: `runtime-tools ${name}`,
    command: [join(cwd, 'bin', name)],
    cwd,
    env,
  }));
}

async function listCrunTests(directory: string, { program, work }: Place): Promise<readonly Task[]> {
  const tests = join(directory, 'crun/tests');
  const files = (await readdir(tests)).filter((name) => /^test_\w+\.py$/.test(name));
  const env = { OCI_RUNTIME: program, INIT: join(tests, 'init'), TMPDIR: work };
  return await Promise.all(
    files.map(async (file) => {
      const [, table = ''] = (await readFile(join(tests, file), 'utf8')).split(/^all_tests = \{$/m);
      const parts = [...table.matchAll(/^\s+["']([^"']+)["']\s*:/gm)].map(([, name = '']) => name);
      const name = `crun ${basename(file, '.py').replace('test_', '')}`;
      // The tests name a folder after their process id, which is no other's in their own pid namespace only.
      const cwd = join(work, basename(file, '.py'));
      await mkdir(cwd, { recursive: true });
      await symlink(tests, join(cwd, 'tests'));
      return { name, command: ['python3', join(tests, file)], cwd, env, parts };
    }),
  );
}

async function runTask(
  { name, command, cwd, env, parts }: Task,
  isLeftOut: (name: string) => boolean,
): Promise<readonly TestResult[]> {
  if (parts === undefined)
    return isLeftOut(name) ? [] : [readTap(name, await runAlone(command, { cwd, env }))];
  const wanted = parts.filter((part) => !isLeftOut(`${name} ${part}`));
  if (wanted.length === 0) return [];
  const run = await runAlone(command, { cwd, env: { ...env, RUN_TESTS: wanted.join(' ') } });
  const { failures, passed } = readTap(name, run);
  const failed = wanted.filter((part) => failures.includes(part));
  const isBroken = failures.length !== failed.length || passed + failed.length !== wanted.length;
  return [
    ...wanted.map((part) => ({
      name: `${name} ${part}`,
      passed: failed.includes(part) ? 0 : 1,
      failures: failed.includes(part) ? [part] : [],
    })),
    ...(isBroken ? [{ name, passed: 0, failures: [`the program broke: ${failures.join('; ')}`] }] : []),
  ];
}

async function runAlone(
  command: readonly string[],
  { cwd, env }: Pick<Task, 'cwd' | 'env'>,
): Promise<{ readonly stdout: string; readonly stderr: string; readonly exitCode: number | undefined }> {
  const args = [...OWN, ...OTHERS, 'sh', '-c', SETUP, 'sh', ...command];
  const options = {
    cwd,
    env,
    stdin: 'ignore',
    reject: false,
    timeout: TIMEOUT_MS,
    killSignal: 'SIGKILL',
  } as const;
  const { stdout, stderr, exitCode } = await execa('unshare', args, options);
  return { stdout, stderr, exitCode };
}
