import type { Socket } from 'node:net';

/** JSON lines over a launcher's control socket. */
export class LineChannel<T> {
  readonly #socket: Socket;
  readonly #ready: T[] = [];
  readonly #waiting: ((message: T | undefined) => void)[] = [];
  #text = '';
  #isEnded = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => this.#receive(chunk));
    socket.on('error', () => this.#end());
    socket.on('close', () => this.#end());
    socket.on('end', () => this.#end());
  }

  get isEnded(): boolean {
    return this.#isEnded;
  }

  send(message: unknown): void {
    this.#socket.write(`${JSON.stringify(message)}\n`);
  }

  /** The next message, or undefined when the other side has gone. */
  next(): Promise<T | undefined> {
    const message = this.#ready.shift();
    if (message !== undefined || this.#isEnded) return Promise.resolve(message);
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  close(): void {
    this.#socket.destroy();
    this.#end();
  }

  #receive(chunk: string): void {
    const lines = (this.#text + chunk).split('\n');
    this.#text = lines.pop() ?? '';
    for (const line of lines) {
      const message = JSON.parse(line) as T;
      const waiting = this.#waiting.shift();
      if (waiting) waiting(message);
      else this.#ready.push(message);
    }
  }

  #end(): void {
    this.#isEnded = true;
    for (const waiting of this.#waiting.splice(0)) waiting(undefined);
  }
}
