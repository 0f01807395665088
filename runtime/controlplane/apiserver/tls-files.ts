import { type FSWatcher, watch } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { Logger } from '../../base/log.ts';

const SETTLE_MS = 200;

export interface TlsFiles {
  readonly certFile: string;
  readonly keyFile: string;
}

export interface KeyPair {
  readonly cert: string;
  readonly key: string;
}

/** Reads a certificate and its key. */
export async function readKeyPair(files: TlsFiles): Promise<KeyPair> {
  const [cert, key] = await Promise.all([readFile(files.certFile, 'utf8'), readFile(files.keyFile, 'utf8')]);
  return { cert, key };
}

/** Calls back with the new pair when the files have changed; returns what ends that. */
export function watchKeyPair(
  files: TlsFiles,
  current: KeyPair,
  onChange: (pair: KeyPair) => void,
  logger: Logger,
): () => void {
  let timer: NodeJS.Timeout | undefined;
  let last = current.cert + current.key;
  const reload = async () => {
    try {
      const pair = await readKeyPair(files);
      const text = pair.cert + pair.key;
      if (text === last) return;
      onChange(pair);
      last = text;
      logger.info('serving certificate was read again', { file: files.certFile });
    } catch (error) {
      // Certificate and key are replaced one after the other: the next event finds them matching.
      logger.warn('serving certificate cannot be read', { file: files.certFile, error: String(error) });
    }
  };
  const directories = new Set([dirname(files.certFile), dirname(files.keyFile)]);
  const watchers = [...directories].map(
    (directory): FSWatcher =>
      watch(directory, { persistent: false }, () => {
        clearTimeout(timer);
        timer = setTimeout(() => void reload(), SETTLE_MS);
      }),
  );
  return () => {
    clearTimeout(timer);
    for (const watcher of watchers) watcher.close();
  };
}
