import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { createLocalHost } from '../../../runtime/host/local.ts';
import { createPlannedHost } from '../../../runtime/host/planned.ts';

t.test('createPlannedHost() shows its changes over the machine and makes none', async (t) => {
  const dir = t.testdir({ a: 'old', b: { c: 'c', d: 'd' } });
  const host = createPlannedHost(createLocalHost());
  const path = (name: string) => join(dir, name);
  t.equal(await host.readFile(path('a')), 'old');
  await host.writeFile(path('a'), 'new', { mode: 0o600 });
  await host.writeFile(path('x/y'), Buffer.from('y'));
  t.equal(await host.readFile(path('a')), 'new');
  t.same(await host.stat(path('a')), { kind: 'file', mode: 0o600, sizeBytes: 3 });
  t.match(await host.stat(path('x')), { kind: 'directory' });
  t.same(await host.list(dir), ['a', 'b', 'x']);
  t.same(await host.list(path('x')), ['y']);

  await host.remove(path('b'));
  t.equal(await host.stat(path('b')), undefined);
  t.equal(await host.readFile(path('b/c')), undefined);
  t.same(await host.list(path('b')), []);
  t.same(await host.list(dir), ['a', 'x']);
  await host.mkdir(path('b'), { mode: 0o700 });
  await host.writeFile(path('b/e'), 'e');
  t.same(await host.list(path('b')), ['e'], 'what was removed stays so');
  t.match(await host.stat(path('b')), { kind: 'directory', mode: 0o700 });
  await host.remove(path('x'));
  t.equal(await host.readFile(path('x/y')), undefined);
  t.match(await host.run(['echo', 'hi']), { stdout: 'hi\n', exitCode: 0 });

  t.equal(readFileSync(path('a'), 'utf8'), 'old');
  t.ok(existsSync(path('b/c')));
  t.notOk(existsSync(path('x')));
});
