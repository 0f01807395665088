import { EventHub } from '../../base/event-hub.ts';
import type { RemoteChannels, RemoteStatus, TerminalSize } from './remote-command.ts';
import { parseResizes } from './remote-command.ts';
import type { SpdyConnection, SpdyStream } from './spdy.ts';
import type { ChannelWishes } from './websocket-channels.ts';

/** Protocols in the order of preference; v4 has Status as JSON on the error stream. */
export const SPDY_PROTOCOLS = ['v4.channel.k8s.io'] as const;

/**
 * The channels of exec and attach over SPDY: the client opens a stream for each, named by its header
 * "streamtype". Waits until all are there.
 * @throws Error when the connection ends before.
 */
export async function openSpdyChannels(
  connection: SpdyConnection,
  wishes: ChannelWishes & { readonly tty: boolean },
): Promise<RemoteChannels> {
  const names = [
    'error',
    ...(wishes.stdin ? ['stdin'] : []),
    ...(wishes.stdout ? ['stdout'] : []),
    ...(wishes.stderr ? ['stderr'] : []),
    ...(wishes.tty ? ['resize'] : []),
  ];
  const accepting = connection.accept();
  const streams = new Map<string, SpdyStream>();
  while (!names.every((name) => streams.has(name))) {
    const { value, done } = await accepting.next();
    if (done) throw new Error('Cannot set up the streams: the client has gone');
    streams.set(value.headers['streamtype'] ?? '', value);
  }
  const gone = new AbortController();
  const closed = drainAccept(accepting).finally(() => gone.abort());
  const resizes = new EventHub<TerminalSize>();
  const resizeEvents = resizes.subscribe(gone.signal);
  const resize = streams.get('resize');
  if (resize !== undefined) followSizes(resize, resizes).catch(() => {});
  const error = streams.get('error')!;
  error.resume();
  return {
    stdin: streams.get('stdin'),
    stdout: streams.get('stdout'),
    stderr: streams.get('stderr'),
    resizes: resizeEvents,
    closed,
    async finish(status: RemoteStatus) {
      for (const name of ['stdout', 'stderr']) streams.get(name)?.end();
      await new Promise<void>((resolve) => {
        error.once('close', resolve);
        error.end(JSON.stringify(status), resolve);
      });
      await connection.close().catch(() => {});
    },
  };
}

async function drainAccept(accepting: AsyncGenerator<SpdyStream>): Promise<void> {
  try {
    for await (const stream of accepting) stream.destroy();
  } catch {
    // The connection broke: the client has gone.
  }
}

async function followSizes(stream: SpdyStream, resizes: EventHub<TerminalSize>): Promise<void> {
  let text = '';
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    const { sizes, rest } = parseResizes(text + chunk.toString('utf8'));
    text = rest;
    for (const size of sizes) resizes.publish(size);
  }
}
