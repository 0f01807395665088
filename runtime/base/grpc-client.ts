import { type Client, Metadata, type ServiceError } from '@grpc/grpc-js';
import type { TkadmError } from './errors.ts';
import { decodeMessage, encodeMessage } from './protobuf.ts';
import { methodOf, pathOf, type RpcCallOptions, type RpcClient, type RpcRow } from './rpc-rows.ts';

/** Makes the error of a call that failed. */
export type RpcFailure = (row: RpcRow, error: ServiceError) => TkadmError;

/** The calls of the rows over a gRPC client. They fail with what `fail` makes. */
export function createCalls<const R extends RpcRow>(
  client: Client,
  rows: readonly R[],
  fail: RpcFailure,
): RpcClient<R> {
  const methods = rows.map((row) => [
    methodOf(row),
    row.isStream ? streamCall(client, row, fail) : unaryCall(client, row, fail),
  ]);
  return Object.fromEntries(methods) as RpcClient<R>;
}

function unaryCall(client: Client, row: RpcRow, fail: RpcFailure) {
  return (request: object, options: RpcCallOptions = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (options.signal?.aborted) {
        reject(options.signal.reason);
        return;
      }
      const call = client.makeUnaryRequest(...callArguments(row, request, options), (error, response) => {
        options.signal?.removeEventListener('abort', cancel);
        if (error) reject(fail(row, error));
        else resolve(response);
      });
      const cancel = () => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
    });
}

function streamCall(client: Client, row: RpcRow, fail: RpcFailure) {
  return async function* (request: object, options: RpcCallOptions = {}): AsyncGenerator<unknown> {
    options.signal?.throwIfAborted();
    const call = client.makeServerStreamRequest(...callArguments(row, request, options));
    const cancel = () => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
    try {
      for await (const response of call) yield response;
    } catch (error) {
      throw fail(row, error as ServiceError);
    } finally {
      options.signal?.removeEventListener('abort', cancel);
      call.cancel();
    }
  };
}

function callArguments(row: RpcRow, request: object, { timeoutMs }: RpcCallOptions) {
  return [
    pathOf(row),
    (value: object) => Buffer.from(encodeMessage(row.request, value)),
    (bytes: Buffer): unknown => decodeMessage(row.response, bytes),
    request,
    new Metadata(),
    timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs },
  ] as const;
}
