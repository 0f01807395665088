import { chmod, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import t from 'tap';
import { createBatchedHost } from '../../preflight/batch.ts';
import type { Host } from '../../runtime/base/host.ts';
import { createLocalHost } from '../../runtime/host/local.ts';

t.test('createBatchedHost() answers as the machine does, with one command', async (t) => {
  const local = createLocalHost();
  let commands = 0;
  const counting: Host = {
    ...local,
    run: (argv, options) => {
      commands += 1;
      return local.run(argv, options);
    },
  };
  const batched = createBatchedHost(counting);
  const directory = t.testdir({
    full: 'a\nb\n\n',
    cut: 'no end',
    empty: '',
    "it's": 'x',
    sub: { b: '', '.a': '' },
  });
  await symlink('full', join(directory, 'link'));
  await writeFile(join(directory, 'odd\u00e9'), 'file\nrefused\n');
  await chmod(join(directory, 'full'), 0o640);
  const names = ['full', 'cut', 'empty', "it's", 'link', 'oddé', 'none', 'none/below', 'full/below'];
  const paths = names.map((name) => join(directory, name));
  const argvs = [
    ['sh', '-c', 'printf "a b\n\n%s" "$1"; echo "it\'s" >&2; exit 3', 'sh', "x' $y"],
    ['true'],
    ['no-such-command'],
  ];
  const started = performance.now();
  const [texts, stats, lists, results] = await Promise.all([
    Promise.all(paths.map((path) => batched.readFile(path))),
    Promise.all([...paths, directory].map((path) => batched.stat(path))),
    Promise.all(
      [directory, join(directory, 'sub'), join(directory, 'none')].map((path) => batched.list(path)),
    ),
    Promise.all([...argvs, ['sleep', '0.3'], ['sleep', '0.3']].map((argv) => batched.run(argv))),
    batched.run(['sleep', '60'], { timeoutMs: 400 }).then(({ exitCode }) => t.equal(exitCode, 124)),
  ]);
  t.ok(performance.now() - started < 5_000, 'commands run at the same time');
  const [first, ...others] = results;
  t.same(first, { exitCode: 3, stdout: "a b\n\nx' $y", stderr: "it's\n" });
  t.same(
    others.map((row) => row.exitCode),
    [0, 127, 0, 0],
  );
  t.equal(commands, 1);
  const readable = paths.slice(0, -1);
  t.same(texts.slice(0, -1), await Promise.all(readable.map((path) => local.readFile(path))));
  t.equal(texts.at(-1), undefined);
  t.same(stats, await Promise.all([...paths, directory].map((path) => local.stat(path))));
  t.same(lists[0], await local.list(directory));
  t.same(lists.slice(1), [['.a', 'b'], []]);
  await batched.readFile(paths[0]!);
  t.equal(commands, 2, 'what is asked later is another command');
  t.equal((await batched.run(['cat'], { input: 'in' })).stdout, 'in', 'input goes alone');
});

t.test('createBatchedHost() tells when the machine does not answer', async (t) => {
  const away: Host = {
    ...createLocalHost(),
    run: async () => ({ exitCode: 255, stdout: '', stderr: 'connection lost\n' }),
  };
  await t.rejects(createBatchedHost(away).readFile('/etc/hosts'), {
    code: 'FILE_READ',
    message: /connection lost/,
  });
});
