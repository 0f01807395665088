import { execFile } from 'node:child_process';
import { access, constants } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { TkadmError } from '../base/errors.ts';

const run = promisify(execFile);

/** A runtime that RuntimeClass can name (CRI `runtime_handler`). */
export interface RuntimeHandler {
  /** "" is the default. */
  readonly name: string;
  /** The program that makes containers; the engine itself when undefined. */
  readonly runtimePath?: string;
  readonly features: HandlerFeatures;
}

/** CRI RuntimeHandlerFeatures. */
export interface HandlerFeatures {
  readonly recursiveReadOnlyMounts: boolean;
  readonly userNamespaces: boolean;
}

/** Handlers of the engine, and programs with runc's command line. */
const OWN_NAMES = ['', 'tkadm'] as const;
const FOREIGN_NAMES = ['runc', 'crun'] as const;
const DIRECTORIES = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'] as const;
/** Linux 6.3: file systems in memory take mapped ids as well, which Kubernetes asks for. */
const USER_NAMESPACE_KERNEL = [6, 3] as const;

/** Every handler of this machine: those whose program is not there are left out. */
export async function readHandlers(
  directories: readonly string[] = DIRECTORIES,
): Promise<readonly RuntimeHandler[]> {
  const features = { recursiveReadOnlyMounts: true, userNamespaces: isKernelAtLeast(USER_NAMESPACE_KERNEL) };
  const own = OWN_NAMES.map((name) => ({ name, features }));
  const foreign = await Promise.all(
    FOREIGN_NAMES.map(async (name) => {
      const runtimePath = await findProgram(name, directories);
      return runtimePath === undefined
        ? []
        : [{ name, runtimePath, features: await readFeatures(runtimePath) }];
    }),
  );
  return [...own, ...foreign.flat()];
}

/** @throws CRI_NOT_FOUND for a handler that is not there. */
export function findHandler(handlers: readonly RuntimeHandler[], name: string): RuntimeHandler {
  const handler = handlers.find((row) => row.name === name);
  if (handler !== undefined) return handler;
  const isKnown = (FOREIGN_NAMES as readonly string[]).includes(name);
  throw new TkadmError(
    'CRI_NOT_FOUND',
    `Cannot find runtime handler "${name}": ${isKnown ? 'its program is not installed' : 'it is unknown'}`,
    { hint: `There are ${handlers.map((row) => `"${row.name}"`).join(', ')}` },
  );
}

async function findProgram(name: string, directories: readonly string[]): Promise<string | undefined> {
  for (const directory of directories) {
    const path = join(directory, name);
    const isThere = await access(path, constants.X_OK).then(
      () => true,
      () => false,
    );
    if (isThere) return path;
  }
  return undefined;
}

/** What `runc features` prints (runtime-spec features.md); a program without that command has none of them. */
async function readFeatures(path: string): Promise<HandlerFeatures> {
  try {
    const { stdout } = await run(path, ['features'], { timeout: 5000 });
    const { mountOptions = [], linux } = JSON.parse(stdout) as {
      readonly mountOptions?: readonly string[];
      readonly linux?: { readonly mountExtensions?: { readonly idmap?: { readonly enabled?: boolean } } };
    };
    return {
      recursiveReadOnlyMounts: mountOptions.includes('rro'),
      userNamespaces: linux?.mountExtensions?.idmap?.enabled ?? false,
    };
  } catch {
    return { recursiveReadOnlyMounts: false, userNamespaces: false };
  }
}

function isKernelAtLeast([major, minor]: readonly [number, number]): boolean {
  const [ownMajor = 0, ownMinor = 0] = release().split('.').map(Number);
  return ownMajor > major || (ownMajor === major && ownMinor >= minor);
}
