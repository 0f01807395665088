import { createSocket } from 'node:dgram';
import { createConnection } from 'node:net';
import { TkadmError } from '../../base/errors.ts';

const TIMEOUT_MS = 2_000;

export interface Upstream {
  readonly host: string;
  readonly port: number;
}

/**
 * The nameservers of resolv.conf text. Those on the loopback are left out, and told to `onLoop`: the query would
 * come back here.
 */
export function parseResolvConf(
  text: string,
  onLoop: (host: string) => void = () => {},
): readonly Upstream[] {
  return text.split('\n').flatMap((line) => {
    const host = /^\s*nameserver\s+(\S+)/.exec(line)?.[1];
    if (!host) return [];
    const isLoop = host.startsWith('127.') || host === '::1';
    if (isLoop) onLoop(host);
    return isLoop ? [] : [{ host, port: 53 }];
  });
}

/** Parses "1.1.1.1", "1.1.1.1:53", "dns://1.1.1.1". @throws COREFILE_INVALID for other transports. */
export function parseUpstream(text: string): Upstream {
  const match = /^(?:dns:\/\/)?(?:\[([^\]]+)\]|([\d.]+)|([0-9a-fA-F:]+))(?::(\d+))?$/.exec(text);
  const host = match?.[1] ?? match?.[2] ?? match?.[3];
  if (!host)
    throw new TkadmError(
      'COREFILE_INVALID',
      `Cannot forward to "${text}": only plain DNS addresses are supported`,
    );
  return { host, port: Number(match?.[4] ?? 53) };
}

/** Sends a query to the first upstream that answers, over UDP, or TCP when the query came so or the answer was cut. */
export async function forwardQuery(
  query: Buffer,
  upstreams: readonly Upstream[],
  isTcp: boolean,
): Promise<Buffer> {
  let lastError: unknown = new Error('no upstream nameserver');
  for (const upstream of upstreams) {
    try {
      if (isTcp) return await askTcp(query, upstream);
      const answer = await askUdp(query, upstream);
      return answer;
    } catch (error) {
      lastError = error;
    }
  }
  throw lastError;
}

function askUdp(query: Buffer, { host, port }: Upstream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createSocket(host.includes(':') ? 'udp6' : 'udp4');
    const finish = (error: Error | undefined, answer?: Buffer) => {
      clearTimeout(timer);
      socket.close();
      if (answer) resolve(answer);
      else reject(error);
    };
    const timer = setTimeout(() => finish(new Error(`no answer from ${host}:${port}`)), TIMEOUT_MS);
    socket.on('error', (error) => finish(error));
    socket.on('message', (answer) => {
      if (answer.length >= 12 && answer.readUInt16BE(0) === query.readUInt16BE(0)) finish(undefined, answer);
    });
    // A connected socket takes answers from its peer alone, and learns of a closed port.
    socket.connect(port, host, () => socket.send(query));
  });
}

function askTcp(query: Buffer, { host, port }: Upstream): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const socket = createConnection({ host, port, timeout: TIMEOUT_MS });
    let received = Buffer.alloc(0);
    socket.on('connect', () => {
      const length = Buffer.alloc(2);
      length.writeUInt16BE(query.length);
      socket.write(Buffer.concat([length, query]));
    });
    socket.on('data', (chunk: Buffer) => {
      received = Buffer.concat([received, chunk]);
      if (received.length < 2 || received.length < 2 + received.readUInt16BE(0)) return;
      resolve(received.subarray(2, 2 + received.readUInt16BE(0)));
      socket.destroy();
    });
    socket.on('timeout', () => socket.destroy(new Error(`no answer from ${host}:${port}`)));
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`${host}:${port} closed the connection`)));
  });
}
