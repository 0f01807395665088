import {
  Client,
  type ClientDuplexStream,
  credentials,
  Metadata,
  type ServiceError,
  status,
} from '@grpc/grpc-js';
import { TkadmError } from '../../base/errors.ts';
import { decodeMessage, encodeMessage, type InitOf, type MessageOf } from '../../base/protobuf.ts';
import { ETCD_CALLS, type EtcdRow, WATCH_PATH, WatchRequest, WatchResponse } from './etcd-messages.ts';

/** PEM texts; without any of them the system's CAs are trusted and no certificate is shown. */
export interface EtcdCredentials {
  readonly ca: string | undefined;
  readonly cert: string | undefined;
  readonly key: string | undefined;
}

export interface EtcdClientOptions {
  /** "https://10.0.0.1:2379": each is a member of the same cluster. */
  readonly endpoints: readonly string[];
  readonly credentials: EtcdCredentials;
  /**
   * How long one member may take for one call, and how long calls are tried again, by every member at least once: an
   * election or a restart takes a second or two.
   */
  readonly attemptTimeoutMs: number;
}

type Calls = typeof ETCD_CALLS;
/** A call of ETCD_CALLS by name. */
export type EtcdCall = keyof Calls;
export type EtcdRequest<C extends EtcdCall> = InitOf<Calls[C]['request']>;
export type EtcdResponse<C extends EtcdCall> = MessageOf<Calls[C]['response']>;
export type EtcdWatchStream = ClientDuplexStream<
  InitOf<typeof WatchRequest>,
  MessageOf<typeof WatchResponse>
>;

/** An answer, and how often the call was sent: more than once, an earlier one may have had its effect. */
export interface EtcdAnswer<C extends EtcdCall> {
  readonly response: EtcdResponse<C>;
  readonly attempts: number;
}

const OPTIONS = {
  'grpc.max_receive_message_length': -1,
  'grpc.max_send_message_length': -1,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 1000,
  // As kube-apiserver's: a member that is gone without a word is noticed.
  'grpc.keepalive_time_ms': 30_000,
  'grpc.keepalive_timeout_ms': 10_000,
  // The proxies of the environment are for registries, not for the store.
  'grpc.enable_http_proxy': 0,
  // New credentials need connections of their own.
  'grpc.use_local_subchannel_pool': 1,
};
const PAUSE_MS = 100;
/** Failures of one member that another may not have. */
const MEMBER_FAILURES: readonly number[] = [status.UNAVAILABLE, status.DEADLINE_EXCEEDED, status.CANCELLED];

/** Unary calls and watches of an etcd cluster, by the member that answered last; when it fails, by the next. */
export class EtcdClient {
  readonly #options: EtcdClientOptions;
  #clients: readonly Client[];
  #current = 0;
  #isClosed = false;

  /** @throws FLAG_INVALID for an endpoint that is no http or https URL */
  constructor(options: EtcdClientOptions) {
    this.#options = options;
    this.#clients = createClients(options.endpoints, options.credentials);
  }

  /** Uses new certificates from the next call on; open streams end and have to be opened again. */
  setCredentials(credentials: EtcdCredentials): void {
    const old = this.#clients;
    this.#clients = createClients(this.#options.endpoints, credentials);
    for (const client of old) client.close();
  }

  /** @throws STORE_FAILED, STORE_COMPACTED, STORE_FUTURE_REVISION, STORE_FULL */
  async call<C extends EtcdCall>(name: C, request: EtcdRequest<C>): Promise<EtcdAnswer<C>> {
    const row: EtcdRow = ETCD_CALLS[name];
    const deadline = performance.now() + this.#options.attemptTimeoutMs;
    const isOver = (attempts: number) =>
      this.#isClosed || (attempts >= this.#clients.length && performance.now() > deadline);
    for (let attempts = 1; ; attempts += 1) {
      const index = this.#current;
      try {
        const response = await this.#send(this.#clients[index]!, row, request);
        return { response: response as EtcdResponse<C>, attempts };
      } catch (error) {
        const { code } = error as ServiceError;
        if (isOver(attempts) || !MEMBER_FAILURES.includes(code)) throw toStoreError(name, error);
        this.skip(index);
        await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
      }
    }
  }

  /** Opens a stream of watches with the member in use. */
  watch(): { readonly stream: EtcdWatchStream; readonly member: number } {
    const metadata = new Metadata();
    // Without it a member that has lost its cluster goes on being silent.
    metadata.set('hasleader', 'true');
    const stream = this.#clients[this.#current]!.makeBidiStreamRequest(
      WATCH_PATH,
      (value: InitOf<typeof WatchRequest>) => Buffer.from(encodeMessage(WatchRequest, value)),
      (bytes) => decodeMessage(WatchResponse, bytes),
      metadata,
    );
    return { stream, member: this.#current };
  }

  /** Goes on with the next member unless somebody already has. */
  skip(member: number): void {
    if (member === this.#current) this.#current = (member + 1) % this.#clients.length;
  }

  close(): void {
    this.#isClosed = true;
    for (const client of this.#clients) client.close();
  }

  #send(client: Client, row: EtcdRow, request: object): Promise<unknown> {
    const options = { deadline: Date.now() + this.#options.attemptTimeoutMs };
    return new Promise((resolve, reject) => {
      client.makeUnaryRequest(
        row.path,
        (value: object) => Buffer.from(encodeMessage(row.request, value)),
        (bytes) => decodeMessage(row.response, bytes),
        request,
        new Metadata(),
        options,
        (error, response) => (error ? reject(error) : resolve(response)),
      );
    });
  }
}

function createClients(endpoints: readonly string[], given: EtcdCredentials): readonly Client[] {
  return endpoints.map((endpoint) => {
    const { address, isSecure } = parseEndpoint(endpoint);
    return new Client(address, isSecure ? secureCredentials(given) : credentials.createInsecure(), OPTIONS);
  });
}

function secureCredentials({ ca, cert, key }: EtcdCredentials) {
  const bytes = (pem: string | undefined) => (pem === undefined ? null : Buffer.from(pem));
  return credentials.createSsl(bytes(ca), bytes(key), bytes(cert));
}

/** "https://etcd-1:2379/" → address "etcd-1:2379". */
function parseEndpoint(endpoint: string): { readonly address: string; readonly isSecure: boolean } {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  const isHttp = url?.protocol === 'https:' || url?.protocol === 'http:';
  if (!url || !isHttp || url.hostname === '') {
    throw new TkadmError(
      'FLAG_INVALID',
      `Cannot use etcd endpoint "${endpoint}": it is no http or https URL`,
      {
        hint: '--etcd-servers=https://ADDRESS:2379,...',
      },
    );
  }
  const isSecure = url.protocol === 'https:';
  return { address: `${url.hostname}:${url.port || (isSecure ? 443 : 80)}`, isSecure };
}

/** What etcd says when a call cannot be done, and what that means to the store. */
const REFUSALS = [
  { text: 'required revision has been compacted', code: 'STORE_COMPACTED' },
  { text: 'required revision is a future revision', code: 'STORE_FUTURE_REVISION' },
  { text: 'database space exceeded', code: 'STORE_FULL' },
] as const;

function toStoreError(name: EtcdCall, error: unknown): TkadmError {
  const { details, message, code } = error as ServiceError;
  const state = details || message;
  const refusal = REFUSALS.find(({ text }) => state.includes(text));
  return new TkadmError(refusal?.code ?? 'STORE_FAILED', `Cannot ${VERBS[name]} etcd: ${state}`, {
    cause: error,
    details: { grpcCode: status[code] ?? String(code) },
    ...(refusal ? {} : { hint: 'Look at the members of etcd: etcdctl endpoint health --cluster' }),
  });
}

const VERBS: Readonly<Record<EtcdCall, string>> = {
  range: 'read from',
  put: 'write to',
  txn: 'write to',
  compact: 'compact',
  leaseGrant: 'take a lease of',
  status: 'ask for the state of',
};
