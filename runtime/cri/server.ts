import { once } from 'node:events';
import { chmod, mkdir, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import type {
  ServerUnaryCall,
  ServerWritableStream,
  sendUnaryData,
  UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { status as grpcStatus, Server, ServerCredentials } from '@grpc/grpc-js';
import { type ErrorCode, formatError, TkadmError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { decodeMessage, encodeMessage } from '../base/protobuf.ts';
import { MAX_MESSAGE_BYTES } from './client.ts';
import type { CallContext, CriHandlers } from './handlers.ts';
import type { RpcRow } from './rpcs.ts';
import { CRI_RPCS, methodOf } from './rpcs.ts';

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
  for (const service of new Set(CRI_RPCS.map((row) => row.service))) {
    const rows: readonly RpcRow[] = CRI_RPCS.filter((row) => row.service === service);
    const implementation: UntypedServiceImplementation = {};
    for (const row of rows) {
      implementation[row.name] = row.isStream
        ? streamHandler(row, handlers, log)
        : unaryHandler(row, handlers, log);
    }
    server.addService(Object.fromEntries(rows.map((row) => [row.name, definition(row)])), implementation);
  }
  await mkdir(dirname(socketPath), { recursive: true, mode: 0o755 });
  await rm(socketPath, { force: true });
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix:${socketPath}`, ServerCredentials.createInsecure(), (error) => {
      if (error) reject(error);
      else resolve();
    });
  });
  await chmod(socketPath, 0o660);
  return {
    async close() {
      server.forceShutdown();
      await rm(socketPath, { force: true });
    },
  };
}

function definition(row: RpcRow) {
  return {
    path: `/${row.service}/${row.name}`,
    requestStream: false,
    responseStream: row.isStream,
    requestSerialize: (value: object) => Buffer.from(encodeMessage(row.request, value)),
    requestDeserialize: (bytes: Buffer) => decodeMessage(row.request, bytes),
    responseSerialize: (value: object) => Buffer.from(encodeMessage(row.response, value)),
    responseDeserialize: (bytes: Buffer) => decodeMessage(row.response, bytes),
  };
}

type UnaryFunction = (request: object, call: CallContext) => Promise<object>;
type StreamFunction = (request: object, call: CallContext) => AsyncIterable<object>;

function unaryHandler(row: RpcRow, handlers: CriHandlers, log: Logger) {
  const handle = handlers[methodOf(row)] as unknown as UnaryFunction;
  return (call: ServerUnaryCall<object, object>, done: sendUnaryData<object>): void => {
    const abort = new AbortController();
    call.on('cancelled', () => abort.abort());
    handle(call.request, { signal: abort.signal }).then(
      (response) => done(null, response),
      (error: unknown) => done(toStatus(row, error, log)),
    );
  };
}

function streamHandler(row: RpcRow, handlers: CriHandlers, log: Logger) {
  const handle = handlers[methodOf(row)] as unknown as StreamFunction;
  return async (call: ServerWritableStream<object, object>): Promise<void> => {
    const abort = new AbortController();
    call.on('cancelled', () => abort.abort());
    try {
      for await (const response of handle(call.request, { signal: abort.signal })) {
        // A client that does not read must not fill this process's memory.
        if (!call.write(response)) await once(call, 'drain', { signal: abort.signal });
      }
      call.end();
    } catch (error) {
      if (!abort.signal.aborted) call.emit('error', toStatus(row, error, log));
    }
  };
}

function toStatus(row: RpcRow, error: unknown, log: Logger) {
  const code =
    error instanceof TkadmError ? (GRPC_STATUS[error.code] ?? grpcStatus.UNKNOWN) : grpcStatus.UNKNOWN;
  if (code !== grpcStatus.NOT_FOUND) log.warn(`${row.name} failed`, { error: formatError(error) });
  return { code, details: formatError(error) };
}
