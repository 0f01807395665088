import koffi, { type LibraryHandle } from 'koffi';

/** Names of the C library, the first that loads is used: glibc, then musl. */
const NAMES = ['libc.so.6', 'libc.musl-x86_64.so.1', 'libc.musl-aarch64.so.1', 'libc.so'] as const;

/** A C function; failures are in lastErrno(). */
export type NativeFunction = ((...values: readonly unknown[]) => number) & {
  /** The same on another thread; the last value is a callback. */
  readonly async: (...values: readonly unknown[]) => void;
};

/** Names a function with koffi's types; it is looked up at the first call, since that takes longer than a call. */
export type Declare = (name: string, result: string, parameters: readonly string[]) => () => NativeFunction;

/**
 * Loads the C library, for what Node.js does not offer. Calls act on the calling thread.
 * @throws Error when there is no C library to load.
 */
export function openCLibrary(): Declare {
  const declare = openLibrary(NAMES);
  if (!declare) throw new Error(`Cannot load the C library: none of ${NAMES.join(', ')}`);
  return declare;
}

/** What Node.js itself is linked with: OpenSSL's libcrypto, for example. */
export function openOwnLibraries(): Declare {
  return declareIn(koffi.load(null));
}

/** A shared library by the first of its names that loads; undefined when the machine has none of them. */
export function openLibrary(names: readonly string[]): Declare | undefined {
  const library = load(names);
  return library && declareIn(library);
}

function declareIn(library: LibraryHandle): Declare {
  return (name, result, parameters) => {
    let native: NativeFunction | undefined;
    return () => {
      native ??= library.func(name, result, [...parameters]) as unknown as NativeFunction;
      return native;
    };
  };
}

/** The errno of the last call. */
export function lastErrno(): number {
  return koffi.errno();
}

/** Where a buffer lies, for structures that point to it; the caller keeps the buffer. */
export function addressOf(buffer: Buffer): bigint {
  return koffi.address(buffer);
}

function load(names: readonly string[]): LibraryHandle | undefined {
  for (const name of names) {
    try {
      return koffi.load(name);
    } catch {}
  }
  return undefined;
}
