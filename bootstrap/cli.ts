import { fileURLToPath } from 'node:url';
import { addPhases, buildProgram, commandWords, dropHelpOfUnknown } from './command-line/program.ts';
import type { CliContext, Terminal } from './commands/context.ts';
import { requestedFormat } from './render/requested-format.ts';

const abort = new AbortController();

function loseReader(): void {
  if (!abort.signal.aborted) abort.abort(new Error('the connection was lost'));
}

/** Only this file touches `process`; every command gets what it needs through this context. */
function buildContext(): CliContext {
  const interrupt = () => {
    if (abort.signal.aborted) process.exit(130);
    abort.abort(new Error('interrupted'));
  };
  process.on('SIGINT', interrupt);
  process.on('SIGTERM', interrupt);
  return {
    env: process.env,
    cwd: process.cwd(),
    signal: abort.signal,
    isTerminal: process.stdout.isTTY === true,
    isInputTerminal: process.stdin.isTTY === true,
    stdin: process.stdin,
    entryPath: fileURLToPath(import.meta.url),
    nodePath: process.execPath,
    uid: process.getuid?.() ?? 0,
    pid: process.pid,
    now: () => new Date(),
    write: (text) => void process.stdout.write(text),
    writeBytes: (bytes) => new Promise((done) => process.stdout.write(bytes, () => done())),
    writeError: (text) => void process.stderr.write(text),
    ask: async (question, options) => {
      const { askAtTerminal } = await import('./render/prompt.ts');
      return askAtTerminal({ input: process.stdin, output: process.stderr }, question, options);
    },
    terminal: buildTerminal(interrupt),
    fileExists: async (path) => (await import('node:fs')).existsSync(path),
  };
}

/** What `ctr run` hands on to a container. */
const PROXIED_SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2'] as const;

/** `interrupt` is what SIGINT and SIGTERM do while no command has taken them. */
function buildTerminal(interrupt: () => void): Terminal {
  const { stdin, stdout, stderr } = process;
  return {
    writeErrorBytes: (bytes) => new Promise((done) => stderr.write(bytes, () => done())),
    takeSignals: (listener) => {
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupt);
      for (const signal of PROXIED_SIGNALS) process.on(signal, listener);
      return () => {
        for (const signal of PROXIED_SIGNALS) process.off(signal, listener);
        for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, interrupt);
      };
    },
    // One that nobody looks at, such as script(1)'s, may have no size.
    size: () =>
      stdout.isTTY && stdout.columns > 0 ? { columns: stdout.columns, rows: stdout.rows } : undefined,
    onResize: (listener) => {
      stdout.on('resize', listener);
      return () => stdout.off('resize', listener);
    },
    setRaw: (isRaw) => stdin.isTTY && stdin.setRawMode(isRaw),
  };
}

async function report(error: unknown): Promise<number> {
  const failure = await import('./render/failure.ts').catch(() => undefined);
  if (!failure) {
    context.writeError('error: Cannot tell what failed: the files of this command are gone\n');
    return 1;
  }
  return failure.tellFailure(error, { ...context, argv, command: commandWords(program, argv).join(' ') });
}

const argv = process.argv.slice(2);
const context = buildContext();
const program = buildProgram({
  context,
  isText: requestedFormat(argv) === 'text',
  setExitCode: (code) => {
    process.exitCode = code;
  },
});
// A reader that goes away, as `head` does, ends neither a run nor its effect; over SSH it is the one who has asked.
process.stdout.on('error', () => {
  if (context.env['TKADM_FOLLOWED']) loseReader();
});
process.stderr.on('error', () => {});
// Nothing else may print a crash: its stack can hold a secret.
for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
  process.on(event, (error: unknown) => {
    void report(error).then((code) => process.exit(code));
  });
}
void main();

async function main(): Promise<void> {
  try {
    const words = dropHelpOfUnknown(program, argv);
    await program.parseAsync(await addPhases(program, context, words), { from: 'user' });
  } catch (error) {
    // Help and version end the parser by an error with exit code 0.
    const isDone = error instanceof Error && 'exitCode' in error && error.exitCode === 0;
    if (!isDone) process.exitCode = await report(error);
  }
  // Kept-alive connections and the terminal's reader must not hold the process.
  await new Promise((resolve) => process.stdout.write('', resolve));
  process.exit(process.exitCode ?? 0);
}
