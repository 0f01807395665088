import type { Readable } from 'node:stream';
import { drained } from '../base/drained.ts';
import type { ProcessStreams } from '../container/engine.ts';
import type { TerminalSize } from './ctr-messages.ts';
import type { CtrConnection } from './ctr-socket.ts';

/** What of a client goes to a process and back. */
export type StreamClient = Pick<CtrConnection, 'input' | 'stdout' | 'stderr' | 'onResize'>;

export interface JoinOptions {
  readonly hasInput: boolean;
  readonly size?: TerminalSize | undefined;
}

/** Joins a process's streams and a client; resolves when the output has ended. */
export async function joinStreams(
  streams: ProcessStreams,
  client: StreamClient,
  { hasInput, size }: JoinOptions,
): Promise<void> {
  const resize = ({ columns, rows }: TerminalSize) => {
    try {
      streams.resize(columns, rows);
    } catch {
      // The process has ended.
    }
  };
  client.onResize(resize);
  if (size !== undefined) resize(size);
  if (hasInput) void feed(client.input, streams);
  await Promise.all([
    pump(streams.stdout, client.stdout),
    streams.stderr === undefined ? undefined : pump(streams.stderr, client.stderr),
  ]);
}

async function pump(stream: Readable, send: (bytes: Buffer) => Promise<void>): Promise<void> {
  try {
    for await (const chunk of stream as AsyncIterable<Buffer>) await send(chunk);
  } catch {
    // A client that could not keep up, or a terminal that has gone.
  }
}

async function feed(input: Readable, { stdin }: ProcessStreams): Promise<void> {
  if (stdin === undefined) return;
  stdin.on('error', () => {});
  try {
    for await (const chunk of input as AsyncIterable<Buffer>) {
      if (stdin.destroyed) return;
      if (!stdin.write(chunk)) await drained(stdin);
    }
  } catch {
    // The client has gone.
  }
  stdin.end();
}
