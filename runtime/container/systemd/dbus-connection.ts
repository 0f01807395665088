import { connect, type Socket } from 'node:net';
import { TkadmError } from '../../base/errors.ts';
import { EventHub } from '../../base/event-hub.ts';
import { type DBusMessage, decodeMessage, encodeMessage, MESSAGE, messageSize } from './dbus-message.ts';
import type { DBusValue } from './dbus-values.ts';

/**
 * EXTERNAL of the user 0, whom the socket's credentials prove; D-Bus specification "Authentication Protocol". In one
 * piece: systemd does not look at a message that it has read together with BEGIN before the next one comes.
 */
const AUTH = `\0AUTH EXTERNAL ${Buffer.from('0').toString('hex')}\r\nBEGIN\r\n`;
const LINE_END = '\r\n';

/** A method, and what it is called with. */
export interface DBusCall {
  /** Who is called; nobody without a bus. */
  readonly destination?: string;
  readonly path: string;
  readonly interface: string;
  readonly member: string;
  readonly signature?: string;
  readonly body?: readonly DBusValue[];
}

interface Waiting {
  readonly call: DBusCall;
  readonly resolve: (body: readonly DBusValue[]) => void;
  readonly reject: (error: Error) => void;
}

/**
 * A D-Bus connection over a unix socket, as root:
 *
 *     client: NUL, AUTH EXTERNAL 30, BEGIN     server: OK GUID     messages from then on
 */
export class DBusConnection {
  readonly #socket: Socket;
  readonly #signals = new EventHub<DBusMessage>();
  readonly #waiting = new Map<number, Waiting>();
  readonly #ended = new AbortController();
  #bytes = Buffer.alloc(0);
  #serial = 0;
  #accept: (() => void) | undefined;
  #failure: Error | undefined;
  #fail: (error: Error) => void = () => {};

  private constructor(socket: Socket) {
    this.#socket = socket;
  }

  /**
   * Connects; aborting the signal ends the connection.
   * @throws the socket's error (ENOENT, ECONNREFUSED), Error when root is not let in, the signal's reason
   */
  static async open(path: string, signal: AbortSignal): Promise<DBusConnection> {
    const connection = new DBusConnection(connect(path));
    await connection.#authenticate(signal);
    return connection;
  }

  /** What the method returns. @throws SYSTEMD_REFUSED with the error's name as `details.name`; the connection's failure */
  async call(call: DBusCall): Promise<readonly DBusValue[]> {
    if (this.#failure !== undefined) throw this.#failure;
    this.#serial += 1;
    const serial = this.#serial;
    return await new Promise((resolve, reject) => {
      this.#waiting.set(serial, { call, resolve, reject });
      this.#socket.write(encodeMessage({ ...call, body: call.body ?? [], type: MESSAGE.call, serial }));
    });
  }

  /** Signals from this call on. @throws the connection's failure, when it ends before `signal` is aborted */
  signals(signal: AbortSignal): AsyncIterable<DBusMessage> {
    return this.#followed(this.#signals.subscribe(AbortSignal.any([signal, this.#ended.signal])));
  }

  async *#followed(signals: AsyncIterable<DBusMessage>): AsyncGenerator<DBusMessage> {
    yield* signals;
    if (this.#failure !== undefined) throw this.#failure;
  }

  close(): void {
    this.#fail(new Error('the connection is closed'));
  }

  async #authenticate(signal: AbortSignal): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      const abort = () => this.#fail(signal.reason as Error);
      this.#accept = resolve;
      this.#fail = (error) => {
        this.#failure ??= error;
        signal.removeEventListener('abort', abort);
        reject(error);
        for (const { reject: refuse } of this.#waiting.values()) refuse(this.#failure);
        this.#waiting.clear();
        this.#ended.abort();
        this.#socket.destroy();
      };
      signal.addEventListener('abort', abort, { once: true });
      this.#socket.on('error', this.#fail);
      this.#socket.on('close', () => this.#fail(new Error('the other side has closed the connection')));
      this.#socket.on('data', (chunk) => this.#receive(chunk));
      this.#socket.write(AUTH);
    });
  }

  #receive(chunk: Buffer): void {
    this.#bytes = Buffer.concat([this.#bytes, chunk]);
    try {
      if (this.#accept !== undefined && !this.#begin()) return;
      this.#takeMessages();
    } catch (error) {
      this.#fail(error as Error);
    }
  }

  /** Reads the answer to AUTH; false when it is not complete. */
  #begin(): boolean {
    const end = this.#bytes.indexOf(LINE_END);
    if (end < 0) return false;
    const line = this.#bytes.toString('latin1', 0, end);
    this.#bytes = this.#bytes.subarray(end + LINE_END.length);
    if (!line.startsWith('OK')) throw new Error(`root is not let in: "${line}"`);
    this.#accept?.();
    this.#accept = undefined;
    return true;
  }

  #takeMessages(): void {
    for (;;) {
      const size = messageSize(this.#bytes);
      if (size === undefined || this.#bytes.length < size) return;
      const message = decodeMessage(this.#bytes.subarray(0, size));
      this.#bytes = this.#bytes.subarray(size);
      if (message.type === MESSAGE.signal) this.#signals.publish(message);
      else this.#answer(message);
    }
  }

  #answer({ type, replySerial = 0, errorName, body }: DBusMessage): void {
    const waiting = this.#waiting.get(replySerial);
    if (waiting === undefined) return;
    this.#waiting.delete(replySerial);
    if (type === MESSAGE.reply) waiting.resolve(body);
    else waiting.reject(refusal(waiting.call, String(errorName), body[0]));
  }
}

function refusal({ member }: DBusCall, name: string, text: DBusValue | undefined): TkadmError {
  const reason = typeof text === 'string' ? text.replace(/\.$/, '') : name;
  return new TkadmError('SYSTEMD_REFUSED', `Cannot call systemd's "${member}": ${reason}`, {
    details: { name },
  });
}
