import { callImages, type ImageCallRequest } from '../../runtime/cri/image-client.ts';
import { IMAGE_SOCKET, type ImageCall, type ImageResults } from '../../runtime/cri/image-messages.ts';
import type { CliContext } from './context.ts';
import type { DocumentFormat } from './output.ts';

/** What every command about images has. */
export interface ImageFlags {
  readonly output: DocumentFormat;
}

/** TKADM_IMAGE_SOCKET names another runtime's socket. Progress goes to standard error beside a document. */
export async function callRuntime<C extends ImageCall>(
  context: CliContext,
  name: C,
  { output, ...request }: ImageCallRequest & ImageFlags,
): Promise<ImageResults[C]> {
  const socketPath = context.env['TKADM_IMAGE_SOCKET'] || IMAGE_SOCKET;
  const write = output === 'text' ? context.write : context.writeError;
  const onProgress = (line: string) => write(`${line}\n`);
  return callImages(socketPath, name, { ...request, onProgress, signal: context.signal });
}
