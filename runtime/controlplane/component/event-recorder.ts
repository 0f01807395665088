import { createHash } from 'node:crypto';
import type { Event } from 'kubernetes-types/core/v1.d.ts';
import type { ApiClient } from '../../api/client.ts';
import { EVENTS } from '../../api/kinds.ts';
import { formatApiVersion } from '../../api/resources.ts';
import { formatTime } from '../../api/time.ts';
import type { EventAction } from './action.ts';

const MAX_PENDING = 1_000;
const MAX_REMEMBERED = 512;
const MAX_PARALLEL = 4;

export interface EventRecorderOptions {
  readonly client: ApiClient;
  /** `source.component` of the Events. */
  readonly component: string;
  readonly now: () => Date;
}

/** Writes Events behind the work: never waited for, counted up when they repeat, dropped when too many. */
export class EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #pending: EventAction[] = [];
  readonly #known = new Map<string, { readonly name: string; count: number }>();
  #running = 0;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
  }

  /** Takes an Event and returns at once. */
  record(event: EventAction): void {
    if (this.#pending.length >= MAX_PENDING) return;
    this.#pending.push(event);
    if (this.#running < MAX_PARALLEL) {
      this.#running += 1;
      // Behind the work that is under way in this turn of the loop.
      setImmediate(() => void this.#drain());
    }
  }

  async #drain(): Promise<void> {
    for (let next = this.#pending.shift(); next; next = this.#pending.shift()) {
      await this.#write(next).catch(() => {});
    }
    this.#running -= 1;
  }

  async #write(event: EventAction): Promise<void> {
    const { client, now } = this.#options;
    const { uid, namespace = 'default' } = event.object.metadata ?? {};
    const identity = `${event.kind.plural} ${uid} ${event.type} ${event.reason} ${event.message}`;
    const known = this.#known.get(identity);
    if (known) {
      known.count += 1;
      const body = { count: known.count, lastTimestamp: formatTime(now()) };
      await client.patch(EVENTS, { name: known.name, namespace }, { type: 'merge', body });
      return;
    }
    const created = await client.create(EVENTS, this.#build(event, identity));
    this.#known.set(identity, { name: created.metadata?.name ?? '', count: 1 });
    if (this.#known.size > MAX_REMEMBERED) this.#known.delete(this.#known.keys().next().value!);
  }

  #build(event: EventAction, identity: string): Event {
    const { component, now } = this.#options;
    const { name = '', namespace, uid = '', resourceVersion = '' } = event.object.metadata ?? {};
    const time = now();
    const digest = createHash('sha1').update(`${identity} ${time.getTime()}`).digest('hex').slice(0, 16);
    return {
      metadata: { name: `${name}.${digest}`, namespace: namespace ?? 'default' },
      involvedObject: {
        apiVersion: formatApiVersion(event.kind),
        kind: event.kind.kind,
        name,
        uid,
        resourceVersion,
        ...(namespace ? { namespace } : {}),
      },
      reason: event.reason,
      message: event.message.slice(0, 1024),
      type: event.type,
      source: event.source ?? { component },
      reportingComponent: component,
      reportingInstance: '',
      firstTimestamp: formatTime(time),
      lastTimestamp: formatTime(time),
      count: 1,
    };
  }
}
