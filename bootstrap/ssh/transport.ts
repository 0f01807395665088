import { spawn } from 'node:child_process';
import { connect, isIP, type Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { TkadmError } from '../../runtime/base/errors.ts';

/** Of the TCP connection alone; an address that is mistyped shows within seconds. */
const CONNECT_TIMEOUT_MS = 5_000;

/** A byte stream to an sshd. */
export interface Transport {
  readonly stream: Duplex;
  readonly close: () => void;
}

/** What is written in one turn goes in one call: ssh2 writes length, body and tag of each packet for itself. */
function gatherWrites(socket: Socket): Socket {
  const write = socket.write.bind(socket) as (...args: readonly unknown[]) => boolean;
  let isGathering = false;
  const flush = () => {
    isGathering = false;
    socket.uncork();
  };
  return Object.assign(socket, {
    write(...args: readonly unknown[]) {
      if (!isGathering) {
        isGathering = true;
        socket.cork();
        queueMicrotask(flush);
      }
      return write(...args);
    },
  });
}

/** What system errors mean to somebody who typed an address. */
const REASONS: Readonly<Record<string, string>> = {
  ENOTFOUND: 'the name is not known',
  EAI_AGAIN: 'the name service does not answer',
  ECONNREFUSED: 'nothing listens there',
  EHOSTUNREACH: 'there is no way to the address',
  ENETUNREACH: 'there is no way to the address',
  ETIMEDOUT: 'the address does not answer',
};

/** Where to connect, and for messages the line of ssh_config(5) that the address is from. */
export interface TcpAddress {
  readonly host: string;
  readonly port: number;
  readonly hostPlace?: string | undefined;
}

/** "\"10.0.0.9\" (HostName at /root/.ssh/config:3)", for messages. */
export function formatAddress({ host, hostPlace }: Omit<TcpAddress, 'port'>): string {
  return hostPlace === undefined ? `"${host}"` : `"${host}" (HostName at ${hostPlace})`;
}

/**
 * A TCP connection.
 * @throws SSH_CONNECT within `timeoutMs`
 */
export async function openTcp(address: TcpAddress, timeoutMs = CONNECT_TIMEOUT_MS): Promise<Transport> {
  const { host, port } = address;
  const socket = await new Promise<Socket>((resolve, reject) => {
    const fail = (reason: string, cause?: Error) => {
      opened.destroy();
      reject(
        new TkadmError('SSH_CONNECT', `Cannot connect to ${formatAddress(address)} port ${port}: ${reason}`, {
          ...(cause ? { cause } : {}),
          hint: `Compare the address; then try: ssh -p ${port} ${host} true`,
        }),
      );
    };
    const opened = connect({ host, port, noDelay: true, autoSelectFamilyAttemptTimeout: 1_000 });
    let silent = isIP(host) === 0 ? 'the name service does not answer' : 'no answer';
    opened.once('lookup', () => {
      silent = 'no answer';
    });
    const timer = setTimeout(() => fail(`${silent} within ${timeoutMs / 1000} s`), timeoutMs);
    opened.once('error', (error: NodeJS.ErrnoException) => {
      clearTimeout(timer);
      fail(REASONS[error.code ?? ''] ?? error.message, error);
    });
    opened.once('connect', () => {
      clearTimeout(timer);
      resolve(opened);
    });
  });
  return { stream: gatherWrites(socket), close: () => socket.destroy() };
}

/** The standard input and output of a `ProxyCommand`; what it says on standard error is kept for `explain`. */
export function openProxyCommand(commandLine: string): Transport & { readonly explain: () => string } {
  const child = spawn('/bin/sh', ['-c', `exec ${commandLine}`], { stdio: ['pipe', 'pipe', 'pipe'] });
  let errors = '';
  child.stderr.on('data', (chunk: Buffer) => {
    errors = `${errors}${chunk}`.slice(-500);
  });
  child.stdin.on('error', () => {});
  const stream = Duplex.from({ readable: child.stdout, writable: child.stdin });
  child.on('error', (error) => stream.destroy(error));
  return {
    stream,
    close: () => {
      stream.destroy();
      child.kill();
    },
    explain: () => errors.trim() || `exit code ${child.exitCode}`,
  };
}
