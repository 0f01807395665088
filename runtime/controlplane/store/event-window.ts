import type { StoreEvent } from './types.ts';

/** The newest events, bounded in number and in bytes, so that a watch can start a little in the past. */
export class EventWindow {
  readonly #maxEvents: number;
  readonly #maxBytes: number;
  #events: StoreEvent[] = [];
  #bytes = 0;
  #oldest: number;

  constructor(options: { readonly maxEvents: number; readonly maxBytes: number; readonly revision: number }) {
    this.#maxEvents = options.maxEvents;
    this.#maxBytes = options.maxBytes;
    this.#oldest = options.revision;
  }

  /** Changes behind this revision are all known. */
  get oldestRevision(): number {
    return this.#oldest;
  }

  push(event: StoreEvent): void {
    this.#events.push(event);
    this.#bytes += sizeOf(event);
    if (this.#events.length > this.#maxEvents || this.#bytes > this.#maxBytes) this.#trim();
  }

  /** Events behind a revision that is not older than `oldestRevision`. */
  after(revision: number): readonly StoreEvent[] {
    let start = this.#events.length;
    while (start > 0 && this.#events[start - 1]!.revision > revision) start -= 1;
    return this.#events.slice(start);
  }

  /** Forgets events up to this revision. */
  compact(revision: number): void {
    const kept = this.#events.findIndex((event) => event.revision > revision);
    this.#drop(kept < 0 ? this.#events.length : kept);
    this.#oldest = Math.max(this.#oldest, revision);
  }

  // A quarter at a time, so that a full window does not move its array on every event.
  #trim(): void {
    let count = Math.min(this.#events.length, Math.ceil(this.#maxEvents / 4));
    let bytes = this.#bytes;
    for (let i = 0; i < count; i += 1) bytes -= sizeOf(this.#events[i]!);
    while (bytes > this.#maxBytes && count < this.#events.length) bytes -= sizeOf(this.#events[count++]!);
    this.#drop(count);
  }

  #drop(count: number): void {
    const dropped = this.#events.splice(0, count);
    for (const event of dropped) this.#bytes -= sizeOf(event);
    const last = dropped.at(-1);
    if (last) this.#oldest = Math.max(this.#oldest, last.revision);
  }
}

function sizeOf(event: StoreEvent): number {
  return 200 + event.key.length + (event.value?.length ?? 0) + (event.previous?.value.length ?? 0);
}
