import type { EventEmitter } from 'node:events';

/** The writing side of a tar-stream stream: not Node's own kind, so Node's pipeline cannot join it. */
interface TarSink extends EventEmitter {
  write(chunk: Uint8Array): boolean;
  end(chunk?: undefined): unknown;
  destroy(error?: Error): unknown;
}

/** Writes a stream into tar-stream's `extract()` or a `pack()` entry and ends it; a failure destroys it. */
export async function feedTar(source: AsyncIterable<unknown>, sink: TarSink): Promise<void> {
  let isClosed = false;
  sink.once('close', () => {
    isClosed = true;
  });
  try {
    for await (const chunk of source) {
      if (isClosed) return;
      if (!sink.write(chunk as Uint8Array)) await drained(sink);
    }
    sink.end(undefined);
  } catch (error) {
    sink.destroy(error as Error);
    throw error;
  }
}

function drained(sink: TarSink): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      sink.off('drain', done);
      sink.off('close', done);
      resolve();
    };
    sink.once('drain', done);
    sink.once('close', done);
  });
}
