import { PassThrough, Writable } from 'node:stream';
import { finished } from 'node:stream/promises';
import type { WebSocket } from 'ws';
import { EventHub } from '../../base/event-hub.ts';
import { sleep } from '../../base/time.ts';
import type { RemoteChannels, RemoteStatus, TerminalSize } from './remote-command.ts';
import { parseResizes } from './remote-command.ts';

/** Protocols in the order of preference; v5 adds the CLOSE channel. */
export const CHANNEL_PROTOCOLS = ['v5.channel.k8s.io', 'v4.channel.k8s.io'] as const;

/** First byte of every message. */
const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

/** kubectl up to 1.32 reads before its streams are registered, and drops output that comes that early. */
const CLIENT_SETTLE_MS = 15;

export interface ChannelWishes {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

/** The channels of exec and attach over a WebSocket. */
export function openWebSocketChannels(socket: WebSocket, wishes: ChannelWishes): RemoteChannels {
  const stdin = wishes.stdin ? new PassThrough() : undefined;
  const resizes = new EventHub<TerminalSize>();
  const gone = new AbortController();
  const closed = new Promise<void>((resolve) => {
    socket.once('close', () => {
      gone.abort();
      stdin?.end();
      resolve();
    });
  });
  socket.on('error', () => {});
  socket.on('message', (data: Buffer) => {
    const [channel] = data;
    const payload = data.subarray(1);
    if (channel === CHANNEL.stdin && stdin !== undefined && !stdin.writableEnded) {
      if (!stdin.write(payload)) {
        socket.pause();
        stdin.once('drain', () => socket.resume());
      }
    } else if (channel === CHANNEL.close && payload[0] === CHANNEL.stdin) stdin?.end();
    else if (channel === CHANNEL.resize) {
      for (const size of parseSizes(payload)) resizes.publish(size);
    }
  });
  const ready = sleep(CLIENT_SETTLE_MS);
  // The client waits for a first message to know that the connection stands.
  const first = wishes.stdout ? CHANNEL.stdout : wishes.stderr ? CHANNEL.stderr : CHANNEL.error;
  void ready.then(() => socket.send(Buffer.from([first])));
  const stdout = wishes.stdout ? openChannel(socket, CHANNEL.stdout, ready) : undefined;
  const stderr = wishes.stderr ? openChannel(socket, CHANNEL.stderr, ready) : undefined;
  return {
    stdin,
    stdout,
    stderr,
    resizes: resizes.subscribe(gone.signal),
    closed,
    async finish(status: RemoteStatus) {
      await Promise.all([flush(stdout), flush(stderr)]);
      const message = Buffer.concat([Buffer.from([CHANNEL.error]), Buffer.from(JSON.stringify(status))]);
      await new Promise<void>((resolve) => socket.send(message, () => resolve()));
      socket.close(1000);
      stdin?.destroy();
    },
  };
}

/** Resolves when all that was written is sent, or cannot be. */
async function flush(channel: Writable | undefined): Promise<void> {
  if (channel === undefined || channel.destroyed) return;
  const sent = finished(channel).catch(() => {});
  channel.end();
  await sent;
}

/** A sink whose writes are messages of one channel, from when `ready` resolves. */
export function openChannel(socket: WebSocket, channel: number, ready = Promise.resolve()): Writable {
  return new Writable({
    write(chunk: Buffer, _encoding, done) {
      const message = Buffer.concat([Buffer.from([channel]), chunk]);
      void ready.then(() => socket.send(message, (error) => done(error ?? null)));
    },
  });
}

function parseSizes(payload: Buffer): readonly TerminalSize[] {
  try {
    return parseResizes(payload.toString('utf8')).sizes;
  } catch {
    return [];
  }
}
