import type { ProcessStreams } from '../engine.ts';

const FORWARDED = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** Hands on the signals that this process gets. */
export function forwardSignals(send: (signal: NodeJS.Signals) => void): void {
  for (const signal of FORWARDED) process.on(signal, send);
}

/** Connects this process's terminal; resolves when the output has ended. */
export function connectTerminal(streams: ProcessStreams): Promise<void> {
  const { stdin, stdout } = process;
  if (stdin.isTTY) stdin.setRawMode(true);
  const resize = () => {
    if (stdout.isTTY) streams.resize(stdout.columns, stdout.rows);
  };
  resize();
  stdout.on('resize', resize);
  if (streams.stdin) stdin.pipe(streams.stdin);
  return forwardOutput(streams.stdout, stdout).finally(() => {
    if (stdin.isTTY) stdin.setRawMode(false);
  });
}

async function forwardOutput(source: AsyncIterable<Buffer>, target: NodeJS.WriteStream): Promise<void> {
  for await (const chunk of source) {
    await new Promise<void>((done) => {
      target.write(chunk, () => done());
    });
  }
}
