import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { SILENT_LOGGER } from '../../runtime/base/log.ts';
import { waitFor } from '../../runtime/base/time.ts';
import { createContainerEngine } from '../../runtime/container/create-engine.ts';
import type { OciSeccomp } from '../../runtime/container/seccomp/oci-seccomp.ts';
import { createFixture, skipReason } from './fixture.ts';

/** Decides on the calls of each filter that it is sent: EXDEV. Tells what it was told. */
const AGENT = `
import fcntl, os, socket, struct, sys, threading
def serve(fd):
    while True:
        try:
            request = fcntl.ioctl(fd, 0xc0502100, bytes(80))
            fcntl.ioctl(fd, 0xc0182101, request[:8] + struct.pack('<qiI', 0, -18, 0))
        except FileNotFoundError:
            return
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
while True:
    connection, _ = server.accept()
    data, rights, _, _ = connection.recvmsg(65536, socket.CMSG_SPACE(4))
    fd = struct.unpack('i', rights[0][2])[0]
    print(os.readlink(f'/proc/self/fd/{fd}') + ' ' + data.decode(), flush=True)
    threading.Thread(target=serve, args=[fd], daemon=True).start()
`;

t.test('SCMP_ACT_NOTIFY hands calls to a listener', { skip: skipReason }, async (t) => {
  const fixture = createFixture();
  const { directory, stateDir } = fixture;
  const log = SILENT_LOGGER;
  const engine = await createContainerEngine({ stateDir, log, now: () => new Date() });
  t.teardown(async () => {
    for (const { id } of engine.list()) await engine.delete(id, { force: true });
    await engine.close();
    fixture.removeCgroups();
    fixture.remove();
  });
  const listenerPath = join(directory, 'listener.sock');
  const agent = spawn('python3', ['-c', AGENT, listenerPath], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.teardown(() => agent.kill());
  let told = '';
  agent.stdout.on('data', (text: Buffer) => {
    told += text;
  });
  let heard = 0;
  const nextMessage = async () => {
    heard += 1;
    const find = async () => told.split('\n').slice(0, -1)[heard - 1];
    const line = await waitFor(find, { subject: `message ${heard}`, timeoutMs: 30e3 });
    const [, link, state = '{}'] = /^([^{]*) (.*)$/.exec(line) ?? [];
    return { link, state: JSON.parse(state) as object };
  };
  await waitFor(async () => existsSync(listenerPath) || undefined, { subject: 'the agent', timeoutMs: 30e3 });
  const names = ['mkdir', 'mkdirat'];
  const syscalls = [{ names, action: 'SCMP_ACT_NOTIFY' }];
  const seccomp: OciSeccomp = {
    defaultAction: 'SCMP_ACT_ALLOW',
    listenerPath,
    listenerMetadata: 'm',
    syscalls,
  };
  let count = 0;
  const create = async (script: string, profile: OciSeccomp, isLocked = false) => {
    count += 1;
    const id = `listened${count}`;
    const changes = { linux: { seccomp: profile }, process: { noNewPrivileges: isLocked } };
    const spec = fixture.buildSpec(['sh', '-c', script], changes);
    const rootfs = { kind: 'path', path: fixture.rootfs } as const;
    await engine.create({ id, spec, rootfs, logPath: join(directory, `${id}.log`), bundle: '/the/bundle' });
    return id;
  };
  const run = async (id: string) => {
    const chunks: Buffer[] = [];
    engine.attach(id).stdout.on('data', (chunk: Buffer) => chunks.push(chunk));
    await engine.start(id);
    await engine.wait(id);
    return Buffer.concat(chunks).toString();
  };

  for (const isLocked of [false, true]) {
    const id = await create('mkdir /made 2>&1; echo $?', seccomp, isLocked);
    const { pid } = engine.status(id)!;
    t.match(await run(id), /cross-device link\n1\n$/i, `the listener's answer, no_new_privs: ${isLocked}`);
    const state = { id, status: 'created', pid, bundle: '/the/bundle' };
    t.match(await nextMessage(), {
      state: { fds: ['seccompFd'], pid, metadata: 'm', ociVersion: String, state },
      link: 'anon_inode:seccomp notify',
    });
  }

  const id = await create('sleep 1000', seccomp);
  await engine.start(id);
  await nextMessage();
  const process = { ...engine.spec(id).process!, args: ['sh', '-c', 'mkdir /made 2>&1'] };
  const session = await engine.exec(id, { process });
  let output = '';
  for await (const chunk of session.stdout) output += chunk;
  t.match(output, /cross-device link\n$/i, 'of a further process');
  t.equal(await session.exited, 1);
  t.match(await nextMessage(), { state: { pid: session.pid, state: { id, status: 'running' } } });

  const nobody = await create('true', { ...seccomp, listenerPath: join(directory, 'nobody.sock') });
  await t.rejects(engine.start(nobody), { code: 'CONTAINER_LAUNCH', message: /listenerPath.*ENOENT/ });
  const { listenerPath: _path, ...without } = seccomp;
  for (const [profile, message] of [
    [without, /without linux.seccomp.listenerPath/],
    [{ ...seccomp, defaultAction: 'SCMP_ACT_NOTIFY' }, /for every call/],
    [{ ...seccomp, syscalls: [{ names: ['write'], action: 'SCMP_ACT_NOTIFY' }] }, /for write/],
  ] as const) {
    await t.rejects(create('true', profile), { code: 'UNSUPPORTED', message });
  }
});
