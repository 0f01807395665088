import type { RpcHandlers } from '../base/rpc-rows.ts';
import type { CriRpc } from './rpcs.ts';

export type { CallContext } from '../base/rpc-rows.ts';

/** A handler for each RPC of CRI v1; TkadmErrors become gRPC statuses. */
export type CriHandlers = RpcHandlers<CriRpc>;
