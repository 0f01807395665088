import type { Logger } from '../../base/log.ts';
import type { EtcdClient } from './etcd-client.ts';

/** kube-apiserver's, outside of the prefix: whatever servers there are, of whatever kind, compact once. */
const KEY = Buffer.from('compact_rev_key');

/** How often it was compacted (the key's version), and the revision that the next compaction keeps. */
export interface CompactionTurn {
  readonly time: number;
  readonly revision: number;
}

/**
 * One turn of kube-apiserver's protocol (apiserver `storage/etcd3/compact.go`): who counts the key up compacts to the
 * revision of the turn before; whoever finds it counted up only takes note. So history lasts one to two intervals.
 */
export async function takeTurn(client: EtcdClient, turn: CompactionTurn): Promise<CompactionTurn> {
  const { response } = await client.call('txn', {
    compare: [{ result: 'EQUAL', target: 'VERSION', key: KEY, version: turn.time }],
    success: [{ put: { key: KEY, value: Buffer.from(String(turn.revision)) } }],
    failure: [{ range: { key: KEY } }],
  });
  const revision = response.header?.revision ?? 0;
  if (!response.succeeded) {
    return { time: response.responses[0]?.range?.kvs[0]?.version ?? turn.time, revision };
  }
  if (turn.revision > 0) await client.call('compact', { revision: turn.revision });
  return { time: turn.time + 1, revision };
}

/** Has etcd forget what is older than the interval; returns what ends that. */
export function startCompactor(
  client: EtcdClient,
  { intervalMs, logger }: { readonly intervalMs: number; readonly logger: Logger },
): () => void {
  let turn: CompactionTurn = { time: 0, revision: 0 };
  const timer = setInterval(async () => {
    try {
      turn = await takeTurn(client, turn);
    } catch (error) {
      logger.warn('etcd was not compacted', { error: String(error) });
    }
  }, intervalMs);
  timer.unref();
  return () => clearInterval(timer);
}
