import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { execa } from 'execa';
import t from 'tap';
import { planUndo } from '../../../bootstrap/journal/undo.ts';
import type { Host } from '../../../runtime/base/host.ts';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { createPrivateMachine } from '../../hosts/private-machine.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';

/** Debian packages with nothing in them: names, and what each depends on. */
async function buildPackages(directory: string, packages: Readonly<Record<string, string>>): Promise<void> {
  for (const [name, depends] of Object.entries(packages)) {
    const root = join(directory, name);
    mkdirSync(join(root, 'DEBIAN'), { recursive: true });
    const control = `Package: ${name}\nVersion: 1\nArchitecture: all\nMaintainer: a <a@b.c>\n${depends ? `Depends: ${depends}\n` : ''}Description: x\n`;
    writeFileSync(join(root, 'DEBIAN/control'), control);
    await execa('dpkg-deb', ['--build', root, `${root}.deb`]);
  }
}

t.test(
  'planUndo() removes the packages that a repair brought, but for those that others need',
  { skip, timeout: 60_000 },
  async (t) => {
    const directory = t.testdir({});
    await buildPackages(directory, {
      'tk-wanted': 'tk-needed, tk-shared',
      'tk-needed': '',
      'tk-shared': '',
      'tk-users': 'tk-shared',
    });
    const machine = await createPrivateMachine({
      setup:
        'mkdir -p /var/lib/dpkg/info /var/lib/dpkg/updates; : > /var/lib/dpkg/status; : > /var/lib/dpkg/available',
    });
    t.teardown(() => machine.close());
    const { host } = machine;
    const install = async (...names: readonly string[]) => {
      const { exitCode, stderr } = await host.run([
        'dpkg',
        '-i',
        ...names.map((name) => join(directory, `${name}.deb`)),
      ]);
      t.equal(exitCode, 0, stderr);
    };
    const added = ['tk-needed', 'tk-shared', 'tk-wanted'];
    const plan = () =>
      planUndo(host, { changes: [{ kind: 'packages', wanted: 'tk-wanted', added }], snapshot: undefined });
    await install(...added);
    t.match(await plan(), { actions: [{ argv: ['dpkg', '--purge', ...added] }], kept: [] });

    await install('tk-users');
    const { actions, kept } = await plan();
    t.same(
      kept.map(({ name }) => name),
      ['tk-shared'],
    );
    for (const action of actions) if (action.kind === 'run') await host.run(action.argv);
    // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg's own
    const { stdout } = await host.run(['dpkg-query', '-W', '-f', '${Package} ']);
    t.equal(stdout.trim(), 'tk-shared tk-users');
    t.match(await plan(), { actions: [], kept: [{ name: 'tk-shared' }] }, 'again: nothing more to do');
  },
);

t.test('planUndo() turns the swap on that a repair turned off, with its priority', async (t) => {
  const host: Host = {
    ...createLocalHost(),
    readFile: async () => 'Filename Type Size Used Priority\n/on file 9 0 -2\n',
    stat: async (path) => (path === '/gone' ? undefined : { kind: 'file', mode: 0o600, sizeBytes: 9 }),
  };
  const before = { '/on': -2, '/auto': -3, '/first': 7, '/gone': 1 };
  const { actions, kept } = await planUndo(host, {
    changes: [{ kind: 'swap', before }],
    snapshot: undefined,
  });
  t.same(
    actions.map((action) => action.kind === 'run' && action.argv),
    [
      ['swapon', '/auto'],
      ['swapon', '-p', '7', '/first'],
    ],
  );
  t.same(kept, [{ name: '/gone', reason: 'the swap is gone' }]);
});
