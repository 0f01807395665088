import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ApiClient } from '../../runtime/api/client.ts';
import { NODES } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { waitFor } from '../../runtime/base/time.ts';
import type { Action, WaitTarget } from './action.ts';

export interface WaitContext {
  readonly host: Pick<Host, 'stat'>;
  readonly api: () => Promise<ApiClient>;
  readonly signal: AbortSignal;
}

/** @throws WAIT_TIMEOUT with what the last look found, and the action's hint. */
export async function waitForTarget(
  { target, subject, timeoutMs, hint }: Extract<Action, { kind: 'wait' }>,
  context: WaitContext,
): Promise<void> {
  const { signal } = context;
  const wait = waitFor(() => probe(target, context), { subject, timeoutMs, intervalMs: 25, signal });
  await wait.catch((error) => {
    if (!hint || !isTkadmError(error, 'WAIT_TIMEOUT')) throw error;
    throw new TkadmError('WAIT_TIMEOUT', error.message, { cause: error.cause, hint });
  });
}

/** True when there is nothing to wait for. */
export async function isReached(
  { target }: Extract<Action, { kind: 'wait' }>,
  context: WaitContext,
): Promise<boolean> {
  return (await probe(target, context).catch(() => undefined)) ?? false;
}

async function probe(target: WaitTarget, context: WaitContext): Promise<true | undefined> {
  if (target.kind === 'http') return (await probeHttp(target.url, target.caPem)) === 200 ? true : undefined;
  if (target.kind === 'file') return (await context.host.stat(target.path)) ? true : undefined;
  const { nodeName } = target;
  if (target.kind === 'node-client') {
    const client = new ApiClient(await loadClientConfig(target.kubeconfig));
    const own = await client.find(NODES, { name: nodeName }).finally(() => client.close());
    return own && (!target.isReadyNeeded || isNodeReady(own)) ? true : undefined;
  }
  const node = await (await context.api()).find(NODES, { name: nodeName });
  return node && (target.kind === 'node-registered' || isNodeReady(node)) ? true : undefined;
}

/** The status code of a GET; a connection that fails throws. */
function probeHttp(url: string, caPem: string | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    const request = send(url, {
      agent: false,
      timeout: 5_000,
      ...(caPem ? { ca: caPem } : { rejectUnauthorized: false }),
    });
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 5 s')));
    request.on('error', reject);
    request.end();
  });
}
