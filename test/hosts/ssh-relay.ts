import { spawn } from 'node:child_process';
import { type AddressInfo, createServer } from 'node:net';
import type { Test } from 'tap';
import type { PrivateMachine } from './private-machine.ts';

/** A port of this machine whose connections each get an sshd of the other one, as inetd did. */
export async function relaySsh(t: Test, machine: PrivateMachine, configPath: string): Promise<number> {
  const [command = '', ...args] = machine.enter;
  const server = createServer((socket) => {
    const sshd = spawn(command, [...args, '/usr/sbin/sshd', '-i', '-f', configPath], {
      stdio: ['pipe', 'pipe', 'ignore'],
    });
    socket.pipe(sshd.stdin);
    sshd.stdout.pipe(socket);
    for (const stream of [socket, sshd.stdin, sshd.stdout]) stream.on('error', () => {});
  });
  t.teardown(() => server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return (server.address() as AddressInfo).port;
}
