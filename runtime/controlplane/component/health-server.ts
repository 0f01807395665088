import { createServer } from 'node:https';
import { createCa, validityFrom } from '../../../pki/issue.ts';
import { TkadmError } from '../../base/errors.ts';
import { FileGroup } from '../../base/file-group.ts';
import { checkKeyPair } from '../../base/key-pair.ts';
import type { Logger } from '../../base/log.ts';

/** Nobody verifies the certificate: it lives and dies with the process. */
const CERTIFICATE_MS = 365 * 86_400_000;

/** One health endpoint, "/healthz", and whether the component is well. */
export interface HealthRow {
  readonly path: string;
  readonly isHealthy: () => boolean;
}

export interface HealthServerOptions {
  readonly name: string;
  readonly host: string;
  readonly port: number;
  /** Certificate and key to serve with and to follow; without them a pair is made in memory. */
  readonly certFile?: string | undefined;
  readonly keyFile?: string | undefined;
  readonly rows: readonly HealthRow[];
  readonly now: Date;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

/**
 * Serves the rows over HTTPS, "ok" or 500; listens when it returns.
 * @throws COMPONENT_LISTEN when another process listens there; FILE_READ, CERTIFICATE_FILE_INVALID
 */
export async function startHealthServer(options: HealthServerOptions): Promise<void> {
  const { rows, log, signal } = options;
  const files = await readPair(options);
  const pair = () => ({ cert: files.texts[0]!, key: files.texts[1]! });
  const server = createServer(pair(), (request, response) => {
    const path = new URL(request.url ?? '/', 'https://localhost').pathname;
    const row = rows.find((entry) => entry.path === path);
    if (!row) {
      response.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found\n');
      return;
    }
    const isHealthy = row.isHealthy();
    response
      .writeHead(isHealthy ? 200 : 500, { 'content-type': 'text/plain; charset=utf-8' })
      .end(isHealthy ? 'ok' : `${path} check failed\n`);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      const message = `Cannot listen on "${options.host}:${options.port}": ${error.message}`;
      reject(new TkadmError('COMPONENT_LISTEN', message, { cause: error }));
    });
    server.listen(options.port, options.host, resolve);
  });
  files.follow({ onChange: () => server.setSecureContext(pair()), log, signal });
  signal.addEventListener(
    'abort',
    () => {
      server.close();
      server.closeAllConnections();
    },
    { once: true },
  );
}

async function readPair({ certFile, keyFile, name, now }: HealthServerOptions): Promise<FileGroup> {
  const subject = 'serving certificate';
  const check = ([cert = '', key = '']: readonly string[]) => checkKeyPair(cert, key);
  if (certFile && keyFile) return FileGroup.read({ subject, paths: [certFile, keyFile], check });
  const made = await createCa({
    ...validityFrom(now, CERTIFICATE_MS),
    commonName: name,
    algorithm: 'ECDSA-P256',
  });
  return new FileGroup({ subject, paths: [], check }, [made.certPem, made.keyPem]);
}
