import { request as httpRequest, type RequestOptions } from 'node:http';
import { request as httpsRequest } from 'node:https';
import type * as core from 'kubernetes-types/core/v1.d.ts';
import { VERSION } from '../base/version.ts';
import type { Container } from './pod.ts';

export interface HttpResult {
  readonly status: number;
  readonly body: string;
}

const MAX_BODY = 10 * 1024;

/**
 * The number of a port given as number or as the name of a container port.
 * @throws Error when the container has no such port.
 */
export function resolvePort(port: number | string, container: Container): number {
  const value = Number(port);
  const found = Number.isInteger(value)
    ? value
    : container.ports?.find(({ name }) => name === port)?.containerPort;
  if (found === undefined || found < 1 || found > 65535) throw new Error(`couldn't find port: ${port}`);
  return found;
}

/** Performs the GET of a probe or hook against a pod; certificates are not verified, as in the kubelet. */
export function performHttpGet(
  action: core.HTTPGetAction,
  options: {
    readonly container: Container;
    readonly podIp: string;
    readonly timeoutMs: number;
    readonly userAgent: string;
  },
): Promise<HttpResult> {
  const isHttps = action.scheme === 'HTTPS';
  const headers: Record<string, string> = {
    'user-agent': options.userAgent,
    accept: '*/*',
    connection: 'close',
  };
  for (const { name, value } of action.httpHeaders ?? []) headers[name.toLowerCase()] = value;
  const settings: RequestOptions = {
    host: action.host || options.podIp,
    port: resolvePort(action.port, options.container),
    path: (action.path ?? '/').startsWith('/') ? (action.path ?? '/') : `/${action.path}`,
    headers,
    agent: false,
  };
  return new Promise((resolve, reject) => {
    const send = isHttps ? httpsRequest({ ...settings, rejectUnauthorized: false }) : httpRequest(settings);
    const timer = setTimeout(
      () =>
        send.destroy(new Error('context deadline exceeded (Client.Timeout exceeded while awaiting headers)')),
      options.timeoutMs,
    );
    send.on('response', (response) => {
      let body = '';
      response.setEncoding('utf8');
      response.on('data', (chunk: string) => {
        if (body.length < MAX_BODY) body += chunk;
      });
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: body.slice(0, MAX_BODY) }));
    });
    send.on('error', reject);
    send.on('close', () => clearTimeout(timer));
    send.end();
  });
}

/** "kube-probe/1.36" as servers know it from the kubelet. */
export const PROBE_USER_AGENT = 'kube-probe/1.36';
/** The user agent of lifecycle hooks. */
export const HOOK_USER_AGENT = `kube-lifecycle/1.36 tkadm/${VERSION}`;
