import { rm } from 'node:fs/promises';
import { status as grpcStatus, Server } from '@grpc/grpc-js';
import { type ErrorCode, formatError, TkadmError } from '../base/errors.ts';
import { addServices, bindSocket } from '../base/grpc-server.ts';
import type { Logger } from '../base/log.ts';
import type { RpcRow } from '../base/rpc-rows.ts';
import { MAX_MESSAGE_BYTES } from './client.ts';
import type { CriHandlers } from './handlers.ts';
import { CRI_RPCS, type CriRpc } from './rpcs.ts';

/** The gRPC status of an error code; every other error is UNKNOWN, as in Go. */
const GRPC_STATUS: Partial<Record<ErrorCode, number>> = {
  CRI_NOT_FOUND: grpcStatus.NOT_FOUND,
  CRI_INVALID: grpcStatus.INVALID_ARGUMENT,
  SECCOMP_PROFILE: grpcStatus.INVALID_ARGUMENT,
  CRI_STATE: grpcStatus.FAILED_PRECONDITION,
  CRI_EXISTS: grpcStatus.ALREADY_EXISTS,
  CRI_TIMEOUT: grpcStatus.DEADLINE_EXCEEDED,
  IMAGE_NOT_FOUND: grpcStatus.NOT_FOUND,
  IMAGE_REFERENCE_INVALID: grpcStatus.INVALID_ARGUMENT,
  REGISTRY_DENIED: grpcStatus.PERMISSION_DENIED,
  UNSUPPORTED: grpcStatus.UNIMPLEMENTED,
};

export interface CriServer {
  /** Stops listening and ends the connections. */
  close(): Promise<void>;
}

/** Serves CRI v1 on a unix socket (0660, root alone); an old socket file is replaced. */
export async function serveCri(socketPath: string, handlers: CriHandlers, log: Logger): Promise<CriServer> {
  const server = new Server({
    'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
    'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
  });
  addServices<CriRpc>(server, {
    rows: CRI_RPCS,
    handlers,
    toStatus: (row, error) => toStatus(row, error, log),
  });
  await bindSocket(server, socketPath);
  return {
    async close() {
      server.forceShutdown();
      await rm(socketPath, { force: true });
    },
  };
}

function toStatus(row: RpcRow, error: unknown, log: Logger) {
  const code =
    error instanceof TkadmError ? (GRPC_STATUS[error.code] ?? grpcStatus.UNKNOWN) : grpcStatus.UNKNOWN;
  if (code !== grpcStatus.NOT_FOUND) log.warn(`${row.name} failed`, { error: formatError(error) });
  return { code, details: formatError(error) };
}
