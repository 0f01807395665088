import { existsSync } from 'node:fs';
import type { CliContext } from '../../../bootstrap/commands/context.ts';

export interface CliFixture {
  readonly context: CliContext;
  /** What was written since the last call. */
  take(): { readonly out: string; readonly error: string };
}

/** A command's world: no environment, no input, and output that is kept. */
export function openCli(changes: Partial<CliContext> = {}): CliFixture {
  let out = '';
  let error = '';
  const context: CliContext = {
    env: {},
    cwd: '/',
    signal: new AbortController().signal,
    isTerminal: false,
    isInputTerminal: false,
    stdin: noInput(),
    entryPath: '/nowhere/tkadm.js',
    nodePath: process.execPath,
    uid: 0,
    pid: process.pid,
    now: () => new Date(),
    write: (text) => {
      out += text;
    },
    writeBytes: async (bytes) => {
      out += Buffer.from(bytes).toString('latin1');
    },
    writeError: (text) => {
      error += text;
    },
    ask: async () => undefined,
    terminal: {
      writeErrorBytes: async (bytes) => {
        error += Buffer.from(bytes).toString('latin1');
      },
      takeSignals: () => () => {},
      size: () => undefined,
      onResize: () => () => {},
      setRaw: () => {},
    },
    fileExists: async (path) => existsSync(path),
    ...changes,
  };
  return {
    context,
    take() {
      const taken = { out, error };
      out = '';
      error = '';
      return taken;
    },
  };
}

async function* noInput(): AsyncGenerator<string> {}
