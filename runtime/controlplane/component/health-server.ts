import { createServer } from 'node:https';
import { createCa, validityFrom } from '../../../pki/issue.ts';
import { TkadmError } from '../../base/errors.ts';

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
  readonly rows: readonly HealthRow[];
  readonly now: Date;
  readonly signal: AbortSignal;
}

/**
 * Serves the rows over HTTPS, "ok" or 500, with a certificate made in memory; listens when it returns.
 * @throws COMPONENT_LISTEN when another process listens there.
 */
export async function startHealthServer(options: HealthServerOptions): Promise<void> {
  const { keyPem, certPem } = await createCa({
    ...validityFrom(options.now, CERTIFICATE_MS),
    commonName: options.name,
    algorithm: 'ECDSA-P256',
  });
  const server = createServer({ key: keyPem, cert: certPem }, (request, response) => {
    const path = new URL(request.url ?? '/', 'https://localhost').pathname;
    const row = options.rows.find((entry) => entry.path === path);
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
  options.signal.addEventListener(
    'abort',
    () => {
      server.close();
      server.closeAllConnections();
    },
    { once: true },
  );
}
