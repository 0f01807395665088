import { once } from 'node:events';
import {
  type Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { placeSocket } from './private-socket.ts';
import { decodeMessage, encodeMessage } from './protobuf.ts';
import { type CallContext, methodOf, pathOf, type RpcHandlers, type RpcRow } from './rpc-rows.ts';

/** The gRPC status of a handler's error. */
export type RpcStatus = (row: RpcRow, error: unknown) => { readonly code: number; readonly details: string };

/** Adds the services of the rows to a gRPC server. */
export function addServices<R extends RpcRow>(
  server: Server,
  options: { readonly rows: readonly R[]; readonly handlers: RpcHandlers<R>; readonly toStatus: RpcStatus },
): void {
  const { handlers, toStatus } = options;
  const methods = handlers as Readonly<Record<string, unknown>>;
  for (const service of new Set(options.rows.map((row) => row.service))) {
    const rows = options.rows.filter((row) => row.service === service);
    const implementation: UntypedServiceImplementation = {};
    for (const row of rows) {
      const handle = methods[methodOf(row)];
      implementation[row.name] = row.isStream
        ? streamHandler(row, handle as StreamFunction, toStatus)
        : unaryHandler(row, handle as UnaryFunction, toStatus);
    }
    server.addService(Object.fromEntries(rows.map((row) => [row.name, definition(row)])), implementation);
  }
}

/** Lets the server listen on a unix socket for root alone (0660); an old socket file is replaced. */
export function bindSocket(server: Server, socketPath: string): Promise<void> {
  const listen = (path: string) =>
    new Promise<void>((resolve, reject) => {
      server.bindAsync(`unix:${path}`, ServerCredentials.createInsecure(), (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  return placeSocket(socketPath, { mode: 0o660, listen });
}

function definition(row: RpcRow) {
  return {
    path: pathOf(row),
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

function unaryHandler(row: RpcRow, handle: UnaryFunction, toStatus: RpcStatus) {
  return (call: ServerUnaryCall<object, object>, done: sendUnaryData<object>): void => {
    const abort = new AbortController();
    call.on('cancelled', () => abort.abort());
    // Also what a handler throws before it has a promise.
    const answer = async () => handle(call.request, { signal: abort.signal });
    answer().then(
      (response) => done(null, response),
      (error: unknown) => done(toStatus(row, error)),
    );
  };
}

function streamHandler(row: RpcRow, handle: StreamFunction, toStatus: RpcStatus) {
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
      if (!abort.signal.aborted) call.emit('error', toStatus(row, error));
    }
  };
}
