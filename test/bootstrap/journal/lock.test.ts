import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import t from 'tap';
import { lockMachine } from '../../../bootstrap/journal/lock.ts';

const lockName = `tkadm-test-${process.pid}`;
const LOCK = join(import.meta.dirname ?? '.', '../../../bootstrap/journal/lock.ts');

t.test('lockMachine() gives the machine to one command, and names it to the next', async (t) => {
  const lock = await lockMachine({ pid: 123, command: 'init' }, { lockName });
  await t.rejects(lockMachine({ pid: 4, command: 'join' }, { lockName }), {
    code: 'MACHINE_BUSY',
    message: 'Cannot join: "tkadm init" changes this machine, pid 123',
    hint: /kill 123/,
  });
  const waiting = lockMachine({ pid: 4, command: 'join' }, { lockName, waitMs: 60_000 });
  await lock.release();
  await (await waiting).release();
});

t.test('lockMachine() knows no lock of the dead', async (t) => {
  const script = `const { lockMachine } = await import(${JSON.stringify(LOCK)});
await lockMachine({ pid: process.pid, command: 'init' }, { lockName: ${JSON.stringify(lockName)} });
console.log('locked'); setInterval(() => {}, 1000);`;
  const holder = spawn(process.execPath, ['--import=tsx', '--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.teardown(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  await t.rejects(lockMachine({ pid: 1, command: 'join' }, { lockName }), {
    message: `Cannot join: "tkadm init" changes this machine, pid ${holder.pid}`,
  });
  holder.kill('SIGKILL');
  await once(holder, 'exit');
  await (await lockMachine({ pid: 1, command: 'join' }, { lockName })).release();
});
