import { spawn } from 'node:child_process';
import { readFileSync, readlinkSync } from 'node:fs';
import t from 'tap';
import type { OciLinux } from '../../runtime/container/oci-spec.ts';
import { createFixture, readOutput, skipReason } from './fixture.ts';

type Namespaces = NonNullable<OciLinux['namespaces']>;
const OTHERS: Namespaces = [{ type: 'pid' }, { type: 'ipc' }, { type: 'uts' }, { type: 'network' }];
const SCRIPT = 'readlink /proc/self/ns/mnt; ls /; cat /etc/passwd | head -1; touch /data/new 2>&1; pwd';

t.test('containers in a mount namespace that others are in', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const engine = await fixture.openEngine();
  // A namespace beside the machine's, whose process tells that it is there.
  const holder = spawn('unshare', ['--mount', 'sh', '-c', 'echo made; exec sleep 1000'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await new Promise((done) => holder.stdout.once('data', done));
  t.teardown(async () => {
    holder.kill('SIGKILL');
    await engine.close();
    fixture.removeCgroups();
    fixture.remove();
  });
  const joined = `/proc/${holder.pid}/ns/mnt`;
  const rows: readonly (readonly [string, string, Namespaces])[] = [
    ['joined', `/proc/${holder.pid}`, [...OTHERS, { type: 'mount', path: joined }]],
    ['kept', '/proc/self', OTHERS],
  ];
  for (const [id, member, namespaces] of rows) {
    await t.test(`${id}: the root is the container's, and nobody else sees its mounts`, async (t) => {
      const readMounts = () => readFileSync(`${member}/mountinfo`, 'utf8').split('\n').filter(isOurs);
      const isOurs = (line: string) => line.includes(fixture.directory);
      const before = readMounts();
      const start = async (name: string, args: readonly string[]) => {
        const { hostname: _hostname, ...spec } = fixture.buildSpec(args, {
          linux: { namespaces },
          spec: { mounts: [{ destination: '/data', type: 'tmpfs', source: 'tmpfs', options: ['ro'] }] },
        });
        const rootfs = { kind: 'path', path: fixture.rootfs } as const;
        await engine.create({ id: name, spec, rootfs, logPath: fixture.logPath(name) });
        return await engine.start(name);
      };
      const wanted = `${readlinkSync(`${member}/ns/mnt`)}\nbin\ndata\ndev\netc\nproc\nroot\nsys\ntmp\nroot:x:0:0:root:/root:/bin/sh\ntouch: /data/new: Read-only file system\n/\n`;
      await start(`${id}-script`, ['sh', '-c', SCRIPT]);
      await engine.wait(`${id}-script`);
      t.equal(readOutput(fixture.logPath(`${id}-script`)), wanted);
      await engine.delete(`${id}-script`);
      const { pid } = await start(id, ['sleep', '1000']);
      t.equal(readlinkSync(`/proc/${pid}/ns/mnt`), readlinkSync(`${member}/ns/mnt`));
      const process = { args: ['sh', '-c', SCRIPT], cwd: '/', env: ['PATH=/bin'] };
      const session = await engine.exec(id, { process });
      const chunks: Buffer[] = [];
      for await (const chunk of session.stdout) chunks.push(chunk);
      t.equal(await session.exited, 0);
      t.equal(Buffer.concat(chunks).toString(), wanted, 'exec() is in the same root');
      t.same(readMounts(), before);
      await engine.delete(id, { force: true });
      t.same(readMounts(), before);
    });
  }

  await t.test('create() refuses what a namespace cannot give', async (t) => {
    const mappings = [{ containerID: 0, hostID: 200000, size: 1000 }];
    const user = {
      namespaces: [...OTHERS, { type: 'user' }],
      uidMappings: mappings,
      gidMappings: mappings,
    } as const;
    const mount = { type: 'mount' } as const;
    const refusals = [
      [user, /a new user namespace needs a new mount namespace/],
      [{ namespaces: [mount], sysctl: { 'net.ipv4.ip_forward': '1' } }, /needs a network namespace/],
      [{ namespaces: [mount], sysctl: { 'fs/mqueue/queues_max': '1' } }, /needs a ipc namespace/],
      [{ namespaces: [mount, ...OTHERS], sysctl: { 'vm.swappiness': '1' } }, /is not one of a namespace/],
      [{ namespaces: [mount, ...OTHERS], sysctl: { 'kernel.hostname': 'x' } }, /is not one of a namespace/],
    ] as const;
    for (const [linux, message] of refusals) {
      const { hostname: _hostname, ...spec } = fixture.buildSpec(['true'], { linux });
      const rootfs = { kind: 'path', path: fixture.rootfs } as const;
      await t.rejects(engine.create({ id: 'refused', spec, rootfs }), { code: 'CONTAINER_STATE', message });
    }
  });
});
