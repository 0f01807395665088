import { describeFileError } from '../../../runtime/base/errors.ts';

/** Looks at things that may hang or be forbidden, and remembers what could not be seen. */
export interface Looker {
  /** What `work` finds; `fallback` when it fails or takes too long: work of several looks may take as many times longer. */
  look<T>(what: string, work: () => Promise<T>, fallback: T, steps?: number): Promise<T>;
  /** Remembers what could not be seen. */
  note(line: string): void;
  /** "kubelet.conf: permission denied", in the order in which it was found out. */
  readonly unseen: readonly string[];
}

/** `timeoutMs` bounds each look: a collector that hangs takes nothing from the others. */
export function createLooker(timeoutMs: number): Looker {
  const unseen: string[] = [];
  return {
    unseen,
    note: (line) => unseen.push(line),
    async look(what, work, fallback, steps = 1) {
      const limitMs = timeoutMs * steps;
      let timer: NodeJS.Timeout | undefined;
      const late = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new Error(`no answer within ${limitMs} ms`)), limitMs);
      });
      try {
        return await Promise.race([work(), late]);
      } catch (error) {
        unseen.push(`${what}: ${describeFileError(error)}`);
        return fallback;
      } finally {
        clearTimeout(timer);
      }
    },
  };
}
