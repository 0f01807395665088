import type { ProcessStreams } from '../engine.ts';
import type { Program } from './call.ts';

const FORWARDED = ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** Hands on the signals that this process gets. */
export function forwardSignals(program: Program, send: (signal: NodeJS.Signals) => void): void {
  for (const signal of FORWARDED) program.on(signal, send);
}

/** Connects this process's terminal; resolves when the output has ended. */
export function connectTerminal({ stdin, stdout }: Program, streams: ProcessStreams): Promise<void> {
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
