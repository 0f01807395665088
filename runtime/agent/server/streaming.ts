import type { IncomingMessage } from 'node:http';
import { connect } from 'node:net';
import type { Duplex } from 'node:stream';
import type { CriClient } from '../../cri/client.ts';
import type { PodManager } from '../pod-manager.ts';
import { isTrue, RequestError, requireContainerId, requirePod } from './container-logs.ts';

export interface StreamRequest {
  readonly verb: 'exec' | 'attach' | 'portForward';
  readonly namespace: string;
  readonly pod: string;
  readonly container: string;
}

/**
 * Parses "/exec/NS/POD[/UID]/CONTAINER", "/attach/..." and "/portForward/NS/POD[/UID]"; undefined for
 * any other path.
 */
export function parseStreamPath(path: string): StreamRequest | undefined {
  const [, verb, namespace, pod, ...rest] = path.split('/').map(decodeURIComponent);
  if (!namespace || !pod) return undefined;
  if (verb === 'portForward' && rest.length <= 1) return { verb, namespace, pod, container: '' };
  const container = rest.at(-1);
  if ((verb !== 'exec' && verb !== 'attach') || !container || rest.length > 2) return undefined;
  return { verb, namespace, pod, container };
}

/** Asks the runtime for the URL at which it serves this stream. @throws RequestError, CRI_CALL */
export async function requestStreamUrl(
  services: { readonly cri: CriClient; readonly manager: PodManager },
  request: StreamRequest,
  query: URLSearchParams,
): Promise<URL> {
  const worker = requirePod(services.manager, request.namespace, request.pod);
  if (request.verb === 'portForward') {
    const sandbox = worker.state?.sandboxes.find(({ isReady }) => isReady);
    if (!sandbox) throw new RequestError(404, `pod "${request.pod}" has no running sandbox`);
    const port = query
      .getAll('port')
      .flatMap((text) => text.split(','))
      .map(Number);
    return new URL((await services.cri.portForward({ podSandboxId: sandbox.id, port })).url);
  }
  const containerId = requireContainerId(worker, request.container);
  const streams = {
    stdin: isTrue(query.get('input')),
    stdout: isTrue(query.get('output')),
    stderr: isTrue(query.get('error')),
    tty: isTrue(query.get('tty')),
  };
  // With a terminal both outputs come in one stream.
  const options = { containerId, ...streams, stderr: streams.stderr && !streams.tty };
  if (!options.stdin && !options.stdout && !options.stderr) {
    throw new RequestError(400, 'you must specify at least 1 of stdin, stdout, stderr');
  }
  if (request.verb === 'attach') return new URL((await services.cri.attach(options)).url);
  return new URL((await services.cri.exec({ ...options, cmd: query.getAll('command') })).url);
}

/** Headers that belong to the connection to us, not to the one behind. */
const DROPPED = new Set(['host', 'authorization']);

/** Sends the upgrade request on to the runtime and joins the two connections byte by byte. */
export function tunnel(
  request: IncomingMessage,
  client: Duplex,
  options: { readonly head: Buffer; readonly url: URL },
): void {
  const { head, url } = options;
  const backend = connect({ host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || 80) });
  const end = () => {
    client.destroy();
    backend.destroy();
  };
  backend.on('error', end);
  client.on('error', end);
  backend.on('close', () => client.end());
  client.on('close', () => backend.end());
  backend.setNoDelay(true);
  backend.on('connect', () => {
    const lines = [`${request.method} ${url.pathname}${url.search} HTTP/1.1`, `Host: ${url.host}`];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      const name = request.rawHeaders[i]!;
      if (!DROPPED.has(name.toLowerCase())) lines.push(`${name}: ${request.rawHeaders[i + 1]}`);
    }
    backend.write(`${lines.join('\r\n')}\r\n\r\n`);
    if (head.length > 0) backend.write(head);
    backend.pipe(client);
    client.pipe(backend);
  });
}
