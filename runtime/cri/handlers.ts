import type { CriMethod, CriRequest, CriResponseInit, CriRow } from './rpcs.ts';

/** What a handler knows of its call. */
export interface CallContext {
  /** Aborted when the client has gone or its deadline has passed. */
  readonly signal: AbortSignal;
}

export type CriHandler<M extends CriMethod> = CriRow<M>['isStream'] extends true
  ? (request: CriRequest<M>, call: CallContext) => AsyncIterable<CriResponseInit<M>>
  : (request: CriRequest<M>, call: CallContext) => Promise<CriResponseInit<M>>;

/** A handler for each RPC of CRI v1; TkadmErrors become gRPC statuses. */
export type CriHandlers = { readonly [M in CriMethod]: CriHandler<M> };
