import type { Host } from '../runtime/base/host.ts';

/** More processes at a time end no sooner. */
const CONCURRENCY = 16;
const COMMAND_TIMEOUT_MS = 20_000;

/**
 * A machine that many checks look at: what two of them want to see is looked at once, at most sixteen
 * commands run at a time, and one that hangs ends after twenty seconds (exit code 124). Changes are refused.
 */
export function createObserver(host: Host, signal?: AbortSignal): Host {
  const seen = new Map<string, Promise<unknown>>();
  const limit = createLimit(CONCURRENCY);
  const once = <T>(key: string, look: () => Promise<T>): Promise<T> => {
    const known = seen.get(key) ?? look();
    seen.set(key, known);
    return known as Promise<T>;
  };
  const refuse = async () => {
    throw new Error('preflight only looks');
  };
  return {
    name: host.name,
    run: (argv, options = {}) =>
      once(JSON.stringify([argv, options.input]), () =>
        limit(() =>
          host.run(argv, { timeoutMs: COMMAND_TIMEOUT_MS, ...options, ...(signal ? { signal } : {}) }),
        ),
      ),
    readFile: (path) => once(`file ${path}`, () => host.readFile(path)),
    stat: (path) => once(`stat ${path}`, () => host.stat(path)),
    list: (path) => once(`list ${path}`, () => host.list(path)),
    writeFile: refuse,
    mkdir: refuse,
    remove: refuse,
  };
}

/** Runs a POSIX sh script with arguments and returns its standard output; what it could not do is "". */
export async function readScript(host: Host, script: string, ...args: readonly string[]): Promise<string> {
  return (await host.run(['sh', '-c', `PATH=$PATH:/usr/sbin:/sbin\n${script}`, 'sh', ...args])).stdout;
}

/** At most `size` of the given functions run at a time; the others wait in their order. */
function createLimit(size: number): <T>(work: () => Promise<T>) => Promise<T> {
  let running = 0;
  const waiting: (() => void)[] = [];
  return async (work) => {
    if (running >= size) await new Promise<void>((resolve) => waiting.push(resolve));
    else running += 1;
    try {
      return await work();
    } finally {
      const next = waiting.shift();
      if (next) next();
      else running -= 1;
    }
  };
}
