import { Client, credentials, status as grpcStatus, type ServiceError } from '@grpc/grpc-js';
import { TkadmError } from '../base/errors.ts';
import { createCalls } from '../base/grpc-client.ts';
import type { RpcClient, RpcRow } from '../base/rpc-rows.ts';
import { CRI_RPCS, type CriRpc } from './rpcs.ts';

/** One method for each row of CRI_RPCS. */
export type CriClient = RpcClient<CriRpc> & { close(): void };

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
  return { ...createCalls(client, CRI_RPCS, callError), close: () => client.close() };
}

/** The gRPC status name of a failed CRI call, "NOT_FOUND"; undefined for any other error. */
export function criErrorCode(error: unknown): string | undefined {
  if (!(error instanceof TkadmError) || error.code !== 'CRI_CALL') return undefined;
  return error.details?.['grpcCode'] as string | undefined;
}

function callError(row: RpcRow, error: ServiceError): TkadmError {
  const grpcCode = grpcStatus[error.code] ?? String(error.code);
  const state = error.details || error.message;
  return new TkadmError('CRI_CALL', `Cannot call ${row.name} of the container runtime: ${state}`, {
    cause: error,
    details: { rpc: row.name, grpcCode, message: state },
  });
}
