import type { ServiceError } from '@grpc/grpc-js';
import { Client, credentials, status as grpcStatus, Metadata } from '@grpc/grpc-js';
import { TkadmError } from '../base/errors.ts';
import { decodeMessage, encodeMessage } from '../base/protobuf.ts';
import type { CriMethod, CriRequestInit, CriResponse, CriRow, RpcRow } from './rpcs.ts';
import { CRI_RPCS, methodOf } from './rpcs.ts';

export interface CriCallOptions {
  /** Fails with grpcCode DEADLINE_EXCEEDED after this time; without it the call waits. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** One method for each row of CRI_RPCS; streaming RPCs return an async iterable. */
export type CriClient = {
  readonly [M in CriMethod]: CriRow<M>['isStream'] extends true
    ? (request: CriRequestInit<M>, options?: CriCallOptions) => AsyncIterable<CriResponse<M>>
    : (request: CriRequestInit<M>, options?: CriCallOptions) => Promise<CriResponse<M>>;
} & { close(): void };

/** gRPC messages may be this big: lists of a full node exceed gRPC's own 4 MiB (the kubelet's limit). */
export const MAX_MESSAGE_BYTES = 16 * 1024 * 1024;

/**
 * A client of any CRI v1 runtime. It connects at the first call and again whenever the connection is lost.
 * Calls fail with CRI_CALL; `details.grpcCode` is the gRPC status name, for example "NOT_FOUND".
 */
export function createCriClient(socketPath: string): CriClient {
  const client = new Client(`unix:${socketPath}`, credentials.createInsecure(), {
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
    'grpc.default_authority': 'localhost',
    'grpc.initial_reconnect_backoff_ms': 50,
    'grpc.max_reconnect_backoff_ms': 1000,
  });
  const methods = CRI_RPCS.map((row: RpcRow) => [
    methodOf(row),
    row.isStream ? streamCall(client, row) : unaryCall(client, row),
  ]);
  return { ...Object.fromEntries(methods), close: () => client.close() } as CriClient;
}

/** The gRPC status name of a failed CRI call, "NOT_FOUND"; undefined for any other error. */
export function criErrorCode(error: unknown): string | undefined {
  if (!(error instanceof TkadmError) || error.code !== 'CRI_CALL') return undefined;
  return error.details?.['grpcCode'] as string | undefined;
}

function unaryCall(client: Client, row: RpcRow) {
  return (request: object, options: CriCallOptions = {}): Promise<unknown> =>
    new Promise((resolve, reject) => {
      if (options.signal?.aborted) {
        reject(options.signal.reason);
        return;
      }
      const call = client.makeUnaryRequest(
        pathOf(row),
        (value: object) => Buffer.from(encodeMessage(row.request, value)),
        (bytes) => decodeMessage(row.response, bytes),
        request,
        new Metadata(),
        callOptions(options),
        (error, response) => {
          options.signal?.removeEventListener('abort', cancel);
          if (error) reject(callError(row, error));
          else resolve(response);
        },
      );
      const cancel = () => call.cancel();
      options.signal?.addEventListener('abort', cancel, { once: true });
    });
}

function streamCall(client: Client, row: RpcRow) {
  return async function* (request: object, options: CriCallOptions = {}): AsyncGenerator<unknown> {
    options.signal?.throwIfAborted();
    const call = client.makeServerStreamRequest(
      pathOf(row),
      (value: object) => Buffer.from(encodeMessage(row.request, value)),
      (bytes) => decodeMessage(row.response, bytes),
      request,
      new Metadata(),
      callOptions(options),
    );
    const cancel = () => call.cancel();
    options.signal?.addEventListener('abort', cancel, { once: true });
    try {
      for await (const response of call) yield response;
    } catch (error) {
      throw callError(row, error as ServiceError);
    } finally {
      options.signal?.removeEventListener('abort', cancel);
      call.cancel();
    }
  };
}

function pathOf(row: RpcRow): string {
  return `/${row.service}/${row.name}`;
}

function callOptions(options: CriCallOptions) {
  return options.timeoutMs === undefined ? {} : { deadline: Date.now() + options.timeoutMs };
}

function callError(row: RpcRow, error: ServiceError): TkadmError {
  const grpcCode = grpcStatus[error.code] ?? String(error.code);
  const state = error.details || error.message;
  return new TkadmError('CRI_CALL', `Cannot call ${row.name} of the container runtime: ${state}`, {
    cause: error,
    details: { rpc: row.name, grpcCode, message: state },
  });
}
