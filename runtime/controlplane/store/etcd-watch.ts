import { TkadmError } from '../../base/errors.ts';
import type { Logger } from '../../base/log.ts';
import type { MessageOf } from '../../base/protobuf.ts';
import type { EtcdClient, EtcdWatchStream } from './etcd-client.ts';
import { type KeyValue, rangeEnd, type WatchResponse } from './etcd-messages.ts';
import type { StoredValue, StoreEvent } from './types.ts';

type Response = MessageOf<typeof WatchResponse>;

export interface EtcdWatchOptions {
  readonly client: EtcdClient;
  /** As etcd has it. */
  readonly prefix: string;
  readonly afterRevision: number;
  readonly toKey: (etcdKey: string) => string;
  readonly onEvents: (events: readonly StoreEvent[]) => void;
  /** The changes that come next are forgotten or cannot be read: this watch has come to its end. */
  readonly onLost: (error: TkadmError) => void;
  readonly logger: Logger;
}

interface Waiter {
  readonly revision: number;
  readonly resolve: () => void;
}

const FIRST_PAUSE_MS = 50;
const LONGEST_PAUSE_MS = 2000;

/**
 * Every change below a prefix, in order and none twice, over as many streams as it takes: a new one begins behind
 * the last change that was told.
 */
export class EtcdWatch {
  readonly #options: EtcdWatchOptions;
  #revision: number;
  #fragments: StoreEvent[] = [];
  #waiters: Waiter[] = [];
  #stream: EtcdWatchStream | undefined;
  #member = 0;
  #retry: NodeJS.Timeout | undefined;
  #pauseMs = FIRST_PAUSE_MS;
  #isEnded = false;

  constructor(options: EtcdWatchOptions) {
    this.#options = options;
    this.#revision = options.afterRevision;
    this.#open();
  }

  /** Every change up to this revision was told. */
  get revision(): number {
    return this.#revision;
  }

  covers(etcdKey: string): boolean {
    return etcdKey.startsWith(this.#options.prefix);
  }

  /** Resolves once a revision is told, or the watch has ended. */
  async told(revision: number): Promise<void> {
    if (this.#revision >= revision || this.#isEnded) return;
    await new Promise<void>((resolve) => this.#waiters.push({ revision, resolve }));
  }

  /** Opens the stream anew, by another member: the one in use says nothing any more. */
  reopen(): void {
    this.#options.client.skip(this.#member);
    this.#close();
    this.#openSoon();
  }

  stop(): void {
    this.#isEnded = true;
    clearTimeout(this.#retry);
    this.#close();
    for (const waiter of this.#waiters.splice(0)) waiter.resolve();
  }

  #open(): void {
    const { client, prefix, logger } = this.#options;
    const { stream, member } = client.watch();
    this.#stream = stream;
    this.#member = member;
    this.#fragments = [];
    const fail = (reason: string) => {
      if (this.#stream !== stream) return;
      // Once for each interruption, however often the stream is tried.
      if (this.#pauseMs === FIRST_PAUSE_MS)
        logger.warn('watch of etcd was interrupted', { reason, revision: this.#revision });
      this.reopen();
    };
    stream.on('data', (response: Response) => {
      if (this.#stream === stream) this.#take(response, fail);
    });
    stream.on('error', (error) => fail(error.message));
    stream.on('end', () => fail('the stream has ended'));
    stream.write({
      create: {
        key: Buffer.from(prefix),
        rangeEnd: rangeEnd(prefix),
        startRevision: this.#revision + 1,
        wantsProgress: true,
        wantsPrevious: true,
        mayFragment: true,
      },
    });
  }

  #openSoon(): void {
    if (this.#isEnded) return;
    clearTimeout(this.#retry);
    this.#retry = setTimeout(() => this.#open(), this.#pauseMs);
    this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
  }

  #close(): void {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.cancel();
  }

  #take(response: Response, fail: (reason: string) => void): void {
    if (response.canceled) {
      if (response.compactRevision > 0) this.#lose(response.compactRevision);
      else fail(response.cancelReason || 'etcd cancelled the watch');
      return;
    }
    this.#pauseMs = FIRST_PAUSE_MS;
    try {
      for (const event of response.events) this.#fragments.push(this.#toEvent(event));
    } catch (error) {
      this.stop();
      this.#options.onLost(error as TkadmError);
      return;
    }
    if (response.isFragment || this.#fragments.length === 0) return;
    const events = this.#fragments;
    this.#fragments = [];
    this.#options.onEvents(events);
    this.#revision = events.at(-1)!.revision;
    this.#wake();
  }

  #wake(): void {
    const ready = this.#waiters.filter((waiter) => waiter.revision <= this.#revision);
    if (ready.length === 0) return;
    this.#waiters = this.#waiters.filter((waiter) => waiter.revision > this.#revision);
    for (const waiter of ready) waiter.resolve();
  }

  #lose(compactRevision: number): void {
    this.stop();
    this.#options.onLost(
      new TkadmError(
        'STORE_COMPACTED',
        `Cannot go on watching etcd behind revision ${this.#revision}: it was compacted to ${compactRevision}`,
      ),
    );
  }

  #toEvent({ type, kv, previous }: Response['events'][number]): StoreEvent {
    const { key, value, createRevision, modRevision } = toStored(kv!, this.#options.toKey);
    const before = previous && toStored(previous, this.#options.toKey);
    const isPut = type === 'PUT';
    return {
      type,
      key,
      revision: modRevision,
      createRevision: isPut ? createRevision : (before?.createRevision ?? 0),
      value: isPut ? value : undefined,
      previous: before,
    };
  }
}

/** What a stored `runtime.Unknown` begins with. */
const PROTOBUF = Buffer.from('k8s\0', 'latin1');

/**
 * A value as the store gives it out; its bytes are no longer part of the message that they came in.
 * @throws UNSUPPORTED for a value that kube-apiserver wrote in its own form
 */
export function toStored(kv: MessageOf<typeof KeyValue>, toKey: (etcdKey: string) => string): StoredValue {
  const key = toKey(Buffer.from(kv.key.buffer, kv.key.byteOffset, kv.key.byteLength).toString('utf8'));
  const value = Buffer.from(kv.value);
  if (PROTOBUF.equals(value.subarray(0, PROTOBUF.length))) {
    throw new TkadmError(
      'UNSUPPORTED',
      `Cannot read "${key}" in etcd: it is in kube-apiserver's binary form`,
      {
        hint: 'Have kube-apiserver write every object once with --storage-media-type=application/json',
      },
    );
  }
  return {
    key,
    value,
    createRevision: kv.createRevision,
    modRevision: kv.modRevision,
  };
}
