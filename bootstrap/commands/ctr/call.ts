import { formatError, isTkadmError, TkadmError } from '../../../runtime/base/errors.ts';
import { callImages, type ImageCallRequest } from '../../../runtime/cri/image-client.ts';
import { IMAGE_SOCKET, type ImageCall, type ImageResults } from '../../../runtime/cri/image-messages.ts';
import { CTR_SOCKET, type CtrCallOptions, callCtr } from '../../../runtime/ctr/ctr-client.ts';
import type { CtrBody, CtrCall, CtrResult } from '../../../runtime/ctr/ctr-messages.ts';
import type { CliContext } from '../context.ts';

/** One call at the runtime; TKADM_CTR_SOCKET names another runtime's socket. */
export function ctr<C extends CtrCall>(
  context: CliContext,
  call: C,
  body: CtrBody<C>,
  options: CtrCallOptions<C> = {},
): Promise<CtrResult<C>> {
  const socketPath = context.env['TKADM_CTR_SOCKET'] || CTR_SOCKET;
  return callCtr(socketPath, call, body, { signal: context.signal, ...options });
}

/** One call about images; what it tells on the way goes to standard error. */
export async function image<C extends ImageCall>(
  context: CliContext,
  call: C,
  request: ImageCallRequest = {},
): Promise<ImageResults[C]> {
  const socketPath = context.env['TKADM_IMAGE_SOCKET'] || IMAGE_SOCKET;
  const onProgress = (line: string) => context.writeError(`${line}\n`);
  try {
    return await callImages(socketPath, call, { onProgress, signal: context.signal, ...request });
  } catch (error) {
    // The services of a machine without a cluster are one.
    if (!isTkadmError(error, 'IMAGE_RUNTIME_UNREACHABLE')) throw error;
    throw new TkadmError(error.code, error.message, { hint: 'tkadm service start runtime', cause: error });
  }
}

/**
 * Does something with each of several things, as docker does: what succeeds is named on standard output, a failure is
 * told and keeps the others from nothing. Returns the exit code, 1 after a failure.
 */
export async function forEach(
  context: CliContext,
  names: readonly string[],
  action: (name: string) => Promise<string | undefined>,
): Promise<number> {
  let exitCode = 0;
  for (const name of names) {
    try {
      const text = await action(name);
      if (text !== undefined) context.write(`${text}\n`);
    } catch (error) {
      context.signal.throwIfAborted();
      if (!isTkadmError(error) || error.code === 'CTR_RUNTIME_UNREACHABLE') throw error;
      context.writeError(`error: ${formatError(error)}\n${error.hint ? `  try: ${error.hint}\n` : ''}`);
      exitCode = 1;
    }
  }
  return exitCode;
}
