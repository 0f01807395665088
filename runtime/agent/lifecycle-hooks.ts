import type * as core from 'kubernetes-types/core/v1.d.ts';
import { TkadmError } from '../base/errors.ts';
import { sleep } from '../base/time.ts';
import type { CriClient } from '../cri/client.ts';
import { HOOK_USER_AGENT, HttpGetter } from './http-get.ts';
import type { Container } from './pod.ts';

export interface HookOptions {
  readonly container: Container;
  readonly containerId: string;
  readonly podIp: string;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

type Handler = core.LifecycleHandler & { readonly sleep?: { readonly seconds: number } };

/**
 * Runs a postStart or preStop handler: exec, httpGet or sleep.
 * @throws AGENT_HOOK when it fails or is of another kind.
 */
export async function runHook(cri: CriClient, handler: Handler, options: HookOptions): Promise<void> {
  if (handler.exec) return runExec(cri, handler.exec.command ?? [], options);
  if (handler.sleep) {
    await sleep(Math.min(handler.sleep.seconds * 1000, options.timeoutMs), options.signal);
    return;
  }
  if (handler.httpGet) {
    const { container, podIp, timeoutMs } = options;
    try {
      await new HttpGetter().get(handler.httpGet, {
        container,
        podIp,
        timeoutMs,
        userAgent: HOOK_USER_AGENT,
      });
    } catch (error) {
      throw failed(options, (error as Error).message, error);
    }
    return;
  }
  throw failed(options, `handler "${Object.keys(handler)[0] ?? ''}" is not supported`);
}

async function runExec(cri: CriClient, command: readonly string[], options: HookOptions): Promise<void> {
  const result = await cri.execSync(
    { containerId: options.containerId, cmd: [...command], timeout: Math.ceil(options.timeoutMs / 1000) },
    { timeoutMs: options.timeoutMs + 2000, signal: options.signal },
  );
  if (result.exitCode === 0) return;
  const output = Buffer.concat([result.stdout, result.stderr]).toString('utf8').trim().slice(0, 1024);
  throw failed(options, `command '${command.join(' ')}' exited with ${result.exitCode}: ${output}`);
}

function failed(options: HookOptions, state: string, cause?: unknown): TkadmError {
  return new TkadmError('AGENT_HOOK', `Cannot run hook of container "${options.container.name}": ${state}`, {
    cause,
  });
}
