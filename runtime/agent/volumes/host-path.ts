import { mkdir, open, stat } from 'node:fs/promises';
import { isSystemError, TkadmError } from '../../base/errors.ts';

type Stats = Awaited<ReturnType<typeof stat>>;

/** hostPath type → what must be there, and what is made when nothing is. */
const TYPES: Readonly<
  Record<string, { readonly is: (found: Stats) => boolean; readonly make?: (path: string) => Promise<void> }>
> = {
  '': { is: () => true },
  DirectoryOrCreate: {
    is: (found) => found.isDirectory(),
    make: async (path) => void (await mkdir(path, { recursive: true, mode: 0o755 })),
  },
  Directory: { is: (found) => found.isDirectory() },
  FileOrCreate: {
    is: (found) => found.isFile(),
    make: async (path) => await (await open(path, 'a', 0o644)).close(),
  },
  File: { is: (found) => found.isFile() },
  Socket: { is: (found) => found.isSocket() },
  CharDevice: { is: (found) => found.isCharacterDevice() },
  BlockDevice: { is: (found) => found.isBlockDevice() },
};

/**
 * Checks a hostPath by its type, and makes what "...OrCreate" asks for.
 * @throws AGENT_VOLUME naming the path and the type.
 */
export async function prepareHostPath(path: string, type = ''): Promise<void> {
  const row = TYPES[type];
  if (!row) throw new TkadmError('AGENT_VOLUME', `Cannot use hostPath type "${type}": it is unknown`);
  const found = await find(path);
  if (!found && row.make) return row.make(path);
  // Without a type the runtime makes the directory at mount time, as others do.
  if (!found && type === '') return void (await mkdir(path, { recursive: true }));
  if (!found || !row.is(found)) {
    throw new TkadmError('AGENT_VOLUME', `hostPath type check failed: ${path} is not a ${type}`);
  }
}

async function find(path: string): Promise<Stats | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return undefined;
    throw error;
  }
}
