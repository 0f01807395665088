import { spawn } from 'node:child_process';
import { hostname } from 'node:os';
import { PassThrough } from 'node:stream';
import type { ClientChannel } from 'ssh2';
import { createLocalHost } from '../../runtime/host/local.ts';
import { sendInput } from './channel.ts';
import type { SshHost } from './host.ts';

/** This machine, worked on as one behind SSH is; commands are those of this process's user. */
export function createLocalMachine(): SshHost {
  return {
    ...createLocalHost(),
    name: hostname(),
    lossReason: () => undefined,
    async openStream([program = '', ...args], { input } = {}) {
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'], detached: true });
      child.stdin.on('error', () => {});
      const channel = new PassThrough();
      child.stdout.pipe(channel, { end: false });
      child.on('error', () => channel.end());
      child.on('close', (code, signal) => {
        channel.emit('exit', code, signal);
        channel.end();
      });
      sendInput(child.stdin, input);
      return Object.assign(channel, {
        stderr: child.stderr,
        close: () => child.kill(),
      }) as unknown as ClientChannel;
    },
  };
}
