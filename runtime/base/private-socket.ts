import { chmod, mkdir, mkdtemp, rename, rm } from 'node:fs/promises';
import type { Server } from 'node:net';
import { dirname, join } from 'node:path';

/**
 * Listens on a unix socket that root alone may open (0600). It is made where nobody else can reach it and then moved to
 * its place: there is no moment in which others could connect, and none without a socket when one was there.
 */
export function listenPrivately(server: Server, socketPath: string): Promise<void> {
  const listen = (path: string) =>
    new Promise<void>((resolve, reject) => {
      server.once('error', reject);
      server.listen(path, resolve);
    });
  return placeSocket(socketPath, { mode: 0o600, listen });
}

/** The same for any server: `listen` makes the socket at a path that it is given. */
export async function placeSocket(
  socketPath: string,
  { mode, listen }: { readonly mode: number; readonly listen: (path: string) => Promise<void> },
): Promise<void> {
  const directory = dirname(socketPath);
  await mkdir(directory, { recursive: true, mode: 0o755 });
  const hidden = await mkdtemp(join(directory, '.'));
  try {
    const path = join(hidden, 's');
    await listen(path);
    await chmod(path, mode);
    await rename(path, socketPath);
  } finally {
    await rm(hidden, { recursive: true, force: true });
  }
}
