import { enumeration, type MessageType, message, repeated } from '../../base/protobuf.ts';

// Field numbers are those of etcd's api/etcdserverpb/rpc.proto and api/mvccpb/kv.proto, the same in 3.4, 3.5 and 3.6.

const ResponseHeader = message({ revision: [3, 'int64'] });

export const KeyValue = message({
  key: [1, 'bytes'],
  createRevision: [2, 'int64'],
  modRevision: [3, 'int64'],
  version: [4, 'int64'],
  value: [5, 'bytes'],
});

const RangeRequest = message({
  key: [1, 'bytes'],
  rangeEnd: [2, 'bytes'],
  limit: [3, 'int64'],
  revision: [4, 'int64'],
  keysOnly: [8, 'bool'],
});

const RangeResponse = message({
  header: [1, ResponseHeader],
  kvs: [2, repeated(KeyValue)],
  more: [3, 'bool'],
});

const PutRequest = message({ key: [1, 'bytes'], value: [2, 'bytes'], lease: [3, 'int64n'] });
const PutResponse = message({ header: [1, ResponseHeader] });
const DeleteRangeRequest = message({ key: [1, 'bytes'] });
const DeleteRangeResponse = message({ header: [1, ResponseHeader], deleted: [2, 'int64'] });

/** One comparison of a Txn; a number that is left out is 0, so that "mod 0" means "absent". */
const Compare = message({
  result: [1, enumeration('EQUAL', 'GREATER', 'LESS', 'NOT_EQUAL')],
  target: [2, enumeration('VERSION', 'CREATE', 'MOD', 'VALUE', 'LEASE')],
  key: [3, 'bytes'],
  version: [4, 'int64'],
  modRevision: [6, 'int64'],
  rangeEnd: [64, 'bytes'],
});

const RequestOp = message({
  range: [1, RangeRequest],
  put: [2, PutRequest],
  remove: [3, DeleteRangeRequest],
});
const ResponseOp = message({
  range: [1, RangeResponse],
  put: [2, PutResponse],
  remove: [3, DeleteRangeResponse],
});

const TxnRequest = message({
  compare: [1, repeated(Compare)],
  success: [2, repeated(RequestOp)],
  failure: [3, repeated(RequestOp)],
});

const TxnResponse = message({
  header: [1, ResponseHeader],
  succeeded: [2, 'bool'],
  responses: [3, repeated(ResponseOp)],
});

const Event = message({
  type: [1, enumeration('PUT', 'DELETE')],
  kv: [2, KeyValue],
  previous: [3, KeyValue],
});

export const WatchRequest = message({
  create: [
    1,
    message({
      key: [1, 'bytes'],
      rangeEnd: [2, 'bytes'],
      startRevision: [3, 'int64'],
      wantsProgress: [4, 'bool'],
      wantsPrevious: [6, 'bool'],
      mayFragment: [8, 'bool'],
    }),
  ],
});

export const WatchResponse = message({
  header: [1, ResponseHeader],
  created: [3, 'bool'],
  canceled: [4, 'bool'],
  compactRevision: [5, 'int64'],
  cancelReason: [6, 'string'],
  isFragment: [7, 'bool'],
  events: [11, repeated(Event)],
});

/** A call of etcd's v3 API with one request and one response. */
export interface EtcdRow<Q extends MessageType = MessageType, A extends MessageType = MessageType> {
  readonly path: string;
  readonly request: Q;
  readonly response: A;
}

/** The calls that the store makes. */
export const ETCD_CALLS = {
  range: { path: '/etcdserverpb.KV/Range', request: RangeRequest, response: RangeResponse },
  put: { path: '/etcdserverpb.KV/Put', request: PutRequest, response: PutResponse },
  txn: { path: '/etcdserverpb.KV/Txn', request: TxnRequest, response: TxnResponse },
  compact: {
    path: '/etcdserverpb.KV/Compact',
    request: message({ revision: [1, 'int64'] }),
    response: message({ header: [1, ResponseHeader] }),
  },
  leaseGrant: {
    path: '/etcdserverpb.Lease/LeaseGrant',
    request: message({ ttlSeconds: [1, 'int64'] }),
    response: message({ id: [2, 'int64n'], ttlSeconds: [3, 'int64'] }),
  },
  status: {
    path: '/etcdserverpb.Maintenance/Status',
    request: message({}),
    response: message({
      version: [2, 'string'],
      sizeBytes: [3, 'int64'],
      leader: [4, 'uint64'],
      problems: [8, repeated('string')],
    }),
  },
} as const satisfies Readonly<Record<string, EtcdRow>>;

/** Path of the one call that is a stream both ways. */
export const WATCH_PATH = '/etcdserverpb.Watch/Watch';

/** The end of the range of all keys that start with a prefix: its last byte plus one. */
export function rangeEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return end;
}
