import type { Duplex } from 'node:stream';
import { PassThrough } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { WebSocket } from 'ws';
import { formatError } from '../../base/errors.ts';
import type { SpdyConnection, SpdyStream } from './spdy.ts';
import { openChannel } from './websocket-channels.ts';

/** The protocol of port-forward streams, over SPDY/3.1. */
export const PORT_FORWARD_PROTOCOL = 'portforward.k8s.io';
/** The same SPDY/3.1 bytes inside WebSocket messages. */
export const PORT_FORWARD_TUNNEL = 'SPDY/3.1+portforward.k8s.io';
/** Two channels for each port: data and error. */
export const PORT_FORWARD_CHANNELS = 'v4.channel.k8s.io';

/** Connects to a port of the pod. */
export type Dial = (port: number) => Promise<Duplex>;

interface StreamPair {
  error?: SpdyStream;
  data?: SpdyStream;
}

/**
 * Forwards over SPDY: for each connection the client opens a stream "error" and a stream "data" with the same
 * "requestid". Resolves when the client has gone.
 */
export async function forwardSpdy(connection: SpdyConnection, dial: Dial): Promise<void> {
  const pairs = new Map<string, StreamPair>();
  for await (const stream of connection.accept()) {
    const id = stream.headers['requestid'] ?? stream.headers['port'] ?? '';
    const pair = pairs.get(id) ?? {};
    pairs.set(id, pair);
    if (stream.headers['streamtype'] === 'error') pair.error = stream;
    else pair.data = stream;
    const { data, error } = pair;
    if (data === undefined || error === undefined) continue;
    pairs.delete(id);
    forwardPair(data, error, Number(data.headers['port']), dial).catch(() => {
      data.destroy();
      error.destroy();
    });
  }
}

async function forwardPair(data: SpdyStream, error: SpdyStream, port: number, dial: Dial): Promise<void> {
  error.resume();
  try {
    const target = await dial(port);
    await join(data, target);
  } catch (failure) {
    error.write(failureText(port, failure));
  }
  if (!data.writableEnded) data.end();
  error.end();
}

/**
 * Copies both ways, each side's end to the other, until one of them has closed. How a pod closes, be it with a
 * reset, is no failure: kubectl would give up the whole forward.
 */
async function join(client: Duplex, target: Duplex): Promise<void> {
  for (const stream of [client, target]) stream.on('error', () => {});
  client.pipe(target);
  target.pipe(client);
  await new Promise<void>((resolve) => {
    for (const stream of [client, target]) stream.once('close', resolve);
  });
  target.destroy();
}

/**
 * Forwards over WebSocket channels: port i has the channels 2i (data) and 2i+1 (error); the first message of
 * each is the port's number, two bytes, low first.
 */
export async function forwardChannels(
  socket: WebSocket,
  ports: readonly number[],
  dial: Dial,
): Promise<void> {
  const inputs = ports.map(() => new PassThrough());
  socket.on('error', () => {});
  socket.on('message', (data: Buffer) => {
    const input = inputs[(data[0] ?? 0) / 2];
    if (input === undefined || input.write(data.subarray(1))) return;
    socket.pause();
    input.once('drain', () => socket.resume());
  });
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      for (const input of inputs) input.destroy();
      resolve();
    });
  });
  for (const [index, port] of ports.entries()) {
    const number = Buffer.alloc(2);
    number.writeUInt16LE(port);
    const data = openChannel(socket, 2 * index);
    const error = openChannel(socket, 2 * index + 1);
    data.write(number);
    error.write(number);
    forwardChannel(inputs[index]!, data, port, dial).catch((failure: unknown) => {
      error.write(failureText(port, failure));
    });
  }
  await closed;
}

async function forwardChannel(
  input: PassThrough,
  output: NodeJS.WritableStream,
  port: number,
  dial: Dial,
): Promise<void> {
  const target = await dial(port);
  try {
    await Promise.race([pipeline(input, target), pipeline(target, output)]);
  } finally {
    target.destroy();
  }
}

function failureText(port: number, error: unknown): string {
  return `error forwarding port ${port} to pod: ${formatError(error)}`;
}
