import { createConnection, createServer, type Server } from 'node:net';
import { TkadmError } from '../../runtime/base/errors.ts';
import { sleep } from '../../runtime/base/time.ts';

/**
 * The name of the lock among abstract unix sockets (unix(7)): as long as the kernel takes, so that every version of
 * Node.js means the same by it. It ends with its process, however that ends, so there are no locks of the dead.
 */
const NAME_BYTES = 107;
const ANSWER_TIMEOUT_MS = 3_000;
const RETRY_MS = 100;

/** Who changes the machine. */
interface Holder {
  readonly pid: number;
  readonly command: string;
}

export interface MachineLock {
  release(): Promise<void>;
}

interface LockOptions {
  /** How long another command may take to end; default: it is not waited for. */
  readonly waitMs?: number | undefined;
  /** Default: "tkadm-machine". */
  readonly lockName?: string | undefined;
}

/**
 * Takes the machine for one command that changes it.
 * @throws MACHINE_BUSY naming the command that has it, and its pid
 */
export async function lockMachine(
  holder: Holder,
  { waitMs = 0, lockName = 'tkadm-machine' }: LockOptions = {},
): Promise<MachineLock> {
  const address = `\0${lockName.padEnd(NAME_BYTES, '-')}`;
  const endsAt = performance.now() + waitMs;
  const server = createServer((socket) => {
    socket.on('error', () => {});
    socket.end(JSON.stringify({ pid: holder.pid, command: holder.command }));
  });
  let isTaken = !(await listen(server, address));
  while (isTaken && performance.now() < endsAt) {
    await sleep(RETRY_MS);
    isTaken = !(await listen(server, address));
  }
  if (!isTaken) {
    // The command ends when its work is done.
    server.unref();
    return { release: () => new Promise((resolve) => server.close(() => resolve())) };
  }
  const other = await askHolder(address);
  throw new TkadmError(
    'MACHINE_BUSY',
    other
      ? `Cannot ${holder.command}: "tkadm ${other.command}" changes this machine, pid ${other.pid}`
      : `Cannot ${holder.command}: another tkadm changes this machine and does not answer`,
    { hint: other ? `Wait for it, or end it: kill ${other.pid}` : 'ss -xlp | grep tkadm-machine' },
  );
}

/** False when the address is taken. */
function listen(server: Server, address: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    server.removeAllListeners('error').removeAllListeners('listening');
    server.once('error', (error: NodeJS.ErrnoException) =>
      error.code === 'EADDRINUSE' ? resolve(false) : reject(error),
    );
    server.listen(address, () => resolve(true));
  });
}

/** What the holder says of itself; undefined when it says nothing in time. */
function askHolder(address: string): Promise<Holder | undefined> {
  return new Promise((resolve) => {
    let text = '';
    const socket = createConnection(address);
    const timer = setTimeout(() => socket.destroy(), ANSWER_TIMEOUT_MS);
    socket.on('data', (chunk) => {
      text += chunk;
    });
    socket.on('error', () => {});
    socket.on('close', () => {
      clearTimeout(timer);
      resolve(parseHolder(text));
    });
  });
}

function parseHolder(text: string): Holder | undefined {
  try {
    const { pid, command } = JSON.parse(text) as Holder;
    return { pid: Number(pid), command: String(command) };
  } catch {
    return undefined;
  }
}
