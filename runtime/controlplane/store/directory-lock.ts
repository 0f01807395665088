import { stat } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { isSystemError, TkadmError } from '../../base/errors.ts';

/**
 * An abstract socket named by the directory's inode: the kernel frees it when the process dies.
 * @throws STORE_LOCKED when another process has it
 */
export async function lockDirectory(directory: string): Promise<Server> {
  const { dev, ino } = await stat(directory);
  const server = createServer((socket) => socket.destroy());
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) =>
      reject(
        isSystemError(error, 'EADDRINUSE')
          ? new TkadmError('STORE_LOCKED', `Cannot open store "${directory}": another process has it open`)
          : error,
      ),
    );
    server.listen(`\0tkadm-store-${dev}-${ino}`, resolve);
  });
  server.unref();
  return server;
}
