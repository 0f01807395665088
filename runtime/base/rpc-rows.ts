import type { InitOf, MessageOf, MessageType } from './protobuf.ts';

/** One gRPC method; clients and servers derive from lists of these. */
export interface RpcRow {
  /** "runtime.v1.RuntimeService" */
  readonly service: string;
  readonly name: string;
  readonly request: MessageType;
  readonly response: MessageType;
  /** True when the server answers with a stream. */
  readonly isStream: boolean;
}

export interface RpcCallOptions {
  /** Fails with DEADLINE_EXCEEDED after this time; without it the call waits. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** One method for each row, its name with a small first letter; streaming ones return an async iterable. */
export type RpcClient<R extends RpcRow> = {
  readonly [Row in R as Uncapitalize<Row['name']>]: Row['isStream'] extends true
    ? (request: InitOf<Row['request']>, options?: RpcCallOptions) => AsyncIterable<MessageOf<Row['response']>>
    : (request: InitOf<Row['request']>, options?: RpcCallOptions) => Promise<MessageOf<Row['response']>>;
};

/** What a handler knows of its call. */
export interface CallContext {
  /** Aborted when the client has gone or its deadline has passed. */
  readonly signal: AbortSignal;
}

/** A handler for each row. */
export type RpcHandlers<R extends RpcRow> = {
  readonly [Row in R as Uncapitalize<Row['name']>]: Row['isStream'] extends true
    ? (request: MessageOf<Row['request']>, call: CallContext) => AsyncIterable<InitOf<Row['response']>>
    : (request: MessageOf<Row['request']>, call: CallContext) => Promise<InitOf<Row['response']>>;
};

/** The method name of a row: "RunPodSandbox" → "runPodSandbox". */
export function methodOf(row: Pick<RpcRow, 'name'>): string {
  return `${row.name.charAt(0).toLowerCase()}${row.name.slice(1)}`;
}

/** "/runtime.v1.RuntimeService/Version" */
export function pathOf(row: RpcRow): string {
  return `/${row.service}/${row.name}`;
}
