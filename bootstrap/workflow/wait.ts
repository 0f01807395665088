import { request as httpRequest } from 'node:http';
import { request as httpsRequest } from 'node:https';
import { ApiClient } from '../../runtime/api/client.ts';
import { NODES } from '../../runtime/api/kinds.ts';
import { loadClientConfig } from '../../runtime/api/kubeconfig.ts';
import { isNodeReady } from '../../runtime/api/node-ready.ts';
import { formatError, isTkadmError, TkadmError } from '../../runtime/base/errors.ts';
import type { Host } from '../../runtime/base/host.ts';
import { PATHS } from '../../runtime/base/paths.ts';
import { waitFor } from '../../runtime/base/time.ts';
import type { Finding } from '../diagnose/diagnosis.ts';
import type { Action, WaitTarget } from './action.ts';
import { areAddonPodsMoved, createCrashWatch, isStaticPodReady, refuseCrash } from './pods.ts';
import { createRequestWatch } from './unsigned-request.ts';

export interface WaitContext {
  readonly host: Pick<Host, 'stat' | 'list' | 'readFile'>;
  readonly api: () => Promise<ApiClient>;
  readonly signal: AbortSignal;
  /** Names what is wrong, the likeliest first, when the time is over. */
  readonly diagnose?: (() => Promise<readonly Finding[]>) | undefined;
  /** Told every few seconds of a wait. */
  readonly onProgress?: OnProgress | undefined;
  /** How often; default: 5 s. */
  readonly progressMs?: number;
}

/** Says what is waited for, what the last look has found, and how long it has been and may be. */
export type OnProgress = (
  message: string,
  times: { readonly elapsedMs: number; readonly timeoutMs: number },
) => void;

const PROGRESS_MS = 5_000;
/** Failures that no further waiting mends. */
const HOPELESS = ['CONTAINER_CRASHES', 'REQUEST_NOT_SIGNED'] as const;

/**
 * @throws WAIT_TIMEOUT, CONTAINER_CRASHES, REQUEST_NOT_SIGNED with what the last look found, and the likeliest cause with
 * its fix, else the action's hint.
 */
export async function waitForTarget(
  action: Extract<Action, { kind: 'wait' }>,
  context: WaitContext,
): Promise<void> {
  const { target, subject, timeoutMs } = action;
  const { signal } = context;
  let failure: TkadmError | undefined;
  const watch = watchOf(target, context);
  const look = async () => {
    try {
      await watch?.();
      return await probe(target, context);
    } catch (error) {
      // With some, waiting on is of no use.
      if (!HOPELESS.some((code) => isTkadmError(error, code))) throw error;
      failure = error as TkadmError;
      return true;
    }
  };
  const teller = startTeller(action, context);
  const wait = waitFor(look, { subject, timeoutMs, intervalMs: 25, signal, onMiss: teller.miss });
  await wait.finally(teller.stop).catch(async (error) => {
    throw isTkadmError(error, 'WAIT_TIMEOUT') ? await explain(error, action.hint, context) : error;
  });
  if (failure) throw await explain(failure, action.hint, context);
}

/** What makes a wait hopeless, looked at besides its target. */
function watchOf(target: WaitTarget, { host }: WaitContext): (() => Promise<void>) | undefined {
  if (target.kind === 'http') return target.staticPod && createCrashWatch(target.staticPod, host);
  if (target.kind !== 'node-client' || target.bootstrapKubeconfig === undefined) return undefined;
  return createRequestWatch({ kubeconfig: target.bootstrapKubeconfig, nodeName: target.nodeName });
}

/** The failure of a wait with what a diagnosis finds; one that has a hint of its own says enough. */
async function explain(
  error: TkadmError,
  hint: string | undefined,
  { diagnose }: WaitContext,
): Promise<TkadmError> {
  if (error.hint) return error;
  const findings = (await diagnose?.().catch(() => undefined)) ?? [];
  const [first] = findings;
  const next = first?.fix ?? hint;
  const lines = first
    ? [`most likely: ${first.cause}`, ...first.evidence.map((line) => `  seen  ${line}`)]
    : [];
  return new TkadmError(error.code, [error.message, ...lines].join('\n  '), {
    cause: error.cause,
    ...(next ? { hint: next } : {}),
    ...(first ? { details: { findings } } : {}),
  });
}

/** Tells of a wait every few seconds, also while a look has no answer. */
function startTeller(
  { subject, timeoutMs }: Extract<Action, { kind: 'wait' }>,
  { onProgress, progressMs = PROGRESS_MS }: WaitContext,
) {
  const startedAt = performance.now();
  let last: unknown;
  const tell = () => {
    const elapsedMs = Math.round(performance.now() - startedAt);
    const state = last === undefined ? '' : `: ${formatError(last)}`;
    const seconds = `${Math.round(elapsedMs / 1000)} of ${Math.round(timeoutMs / 1000)} s`;
    onProgress?.(`still waiting for ${subject}${state} (${seconds})`, { elapsedMs, timeoutMs });
  };
  const timer = setInterval(tell, progressMs);
  return {
    /** After each look that has found nothing, with why. */
    miss: (_elapsedMs: number, error: unknown) => {
      last = error;
    },
    stop: () => clearInterval(timer),
  };
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
  if (target.kind === 'runtime-ready') return probeRuntime();
  const { nodeName } = target;
  if (target.kind === 'static-pod') {
    await refuseCrash(target, context.host);
    return (await isStaticPodReady(await context.api(), target)) ? true : undefined;
  }
  if (target.kind === 'addon-pods')
    return (await areAddonPodsMoved(await context.api(), target)) ? true : undefined;
  if (target.kind === 'node-client') {
    const client = new ApiClient(await loadClientConfig(target.kubeconfig));
    const own = await client.find(NODES, { name: nodeName }).finally(() => client.close());
    return own && (!target.isReadyNeeded || isNodeReady(own)) ? true : undefined;
  }
  const node = await (await context.api()).find(NODES, { name: nodeName });
  if (target.kind === 'node-version') {
    const { kubeletVersion, containerRuntimeVersion } = node?.status?.nodeInfo ?? {};
    const isNew =
      kubeletVersion === target.kubeletVersion && containerRuntimeVersion === target.runtimeVersion;
    return node && isNew && isNodeReady(node) ? true : undefined;
  }
  return node && (target.kind === 'node-registered' || isNodeReady(node)) ? true : undefined;
}

/** gRPC is loaded for this alone. */
async function probeRuntime(): Promise<true | undefined> {
  const { createCriProbe } = await import('../phases/cri-probe.ts');
  const cri = createCriProbe(PATHS.runtimeSocket);
  try {
    return (await cri.status()).isReady ? true : undefined;
  } finally {
    cri.close();
  }
}

/** The status code of a GET; a connection that fails throws. */
function probeHttp(url: string, caPem: string | undefined): Promise<number> {
  return new Promise((resolve, reject) => {
    const send = url.startsWith('https:') ? httpsRequest : httpRequest;
    const request = send(url, {
      agent: false,
      // Given up, it costs a server that is slow another handshake.
      timeout: 20_000,
      ...(caPem ? { ca: caPem } : { rejectUnauthorized: false }),
    });
    request.on('response', (response) => {
      response.resume();
      resolve(response.statusCode ?? 0);
    });
    request.on('timeout', () => request.destroy(new Error('no answer within 20 s')));
    request.on('error', reject);
    request.end();
  });
}
